//! Commands of any aggregate, in one batch.

use std::{any::Any, fmt};

use cqrs_es::{DomainEvent, event_sink::EventSink};
use domain::{Command, PersonalFields, Snapshot, Subject, command::Dispatch, personal::Visit};
use futures::FutureExt;

use crate::{Metadata, StoreError, read::decode, snapshot::state_version};

/// Which history: the aggregate's type and its id within the shop.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId {
    /// `order`, `shop` …
    pub aggregate_type: &'static str,
    /// Within the type.
    pub aggregate_id: String,
}

impl StreamId {
    /// Whose is what an order's history says without naming a customer.
    pub(crate) fn order(&self) -> Option<Subject> {
        Subject::of_order_stream(self.aggregate_type, &self.aggregate_id)
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.aggregate_type, self.aggregate_id)
    }
}

/// A command on its way to the log.
pub struct Envelope {
    pub(crate) stream: StreamId,
    pub(crate) metadata: Metadata,
    pub(crate) command: Box<dyn AnyCommand>,
}

impl Envelope {
    /// A command with what is to be remembered of its origin.
    #[must_use]
    pub fn new(command: Command, metadata: Metadata) -> Self {
        let (stream, command) = command.dispatch(Boxed);
        Self { stream, metadata, command }
    }
}

/// An event that was decided and is not stored yet.
pub(crate) struct Decided {
    pub event_type: String,
    pub event_version: String,
    pub payload: String,
}

/// An aggregate while a batch is decided: loaded once, whatever the number of commands that name it.
pub(crate) trait AnyState: Send {
    fn apply_stored(&mut self, event_type: &str, event_version: &str, payload: &str) -> Result<(), StoreError>;
    /// Of the form of the state and of the fold that makes it.
    fn version(&self) -> i64;
    fn to_json(&self) -> Result<Vec<u8>, serde_json::Error>;
    /// Takes the place of the state what [`Self::to_json`] wrote.
    fn restore(&mut self, json: &[u8]) -> Result<(), serde_json::Error>;
    fn as_any(&mut self) -> &mut dyn Any;
}

pub(crate) trait AnyCommand: Send + Sync {
    fn personal_fields(&mut self, visit: Visit<'_>);
    fn about(&self) -> Option<Subject>;
    /// How to begin a history of the aggregate.
    fn new_state(&self) -> fn() -> Box<dyn AnyState>;
    fn decide(self: Box<Self>, state: &mut dyn AnyState) -> Result<Vec<Decided>, StoreError>;
}

struct Boxed;

impl Dispatch for Boxed {
    type Output = (StreamId, Box<dyn AnyCommand>);

    fn dispatch<A>(self, id: String, command: A::Command) -> Self::Output
    where
        A: Snapshot<Services = ()> + 'static,
        A::Command: PersonalFields + Send + Sync + 'static,
        A::Error: Send + Sync + 'static,
    {
        let stream = StreamId { aggregate_type: A::TYPE, aggregate_id: id };
        (stream, Box::new(Typed::<A>(command)))
    }
}

struct Typed<A: Snapshot>(A::Command);
struct State<A>(A);

/// How to begin a history.
pub(crate) fn new_state<A: Snapshot + 'static>() -> Box<dyn AnyState> {
    Box::new(State(A::default()))
}

impl<A: Snapshot + 'static> AnyState for State<A> {
    fn apply_stored(&mut self, event_type: &str, event_version: &str, payload: &str) -> Result<(), StoreError> {
        self.0.apply(decode::<A::Event>(event_type, event_version, payload, 0)?);
        Ok(())
    }

    fn version(&self) -> i64 {
        state_version::<A>()
    }

    fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&self.0)
    }

    fn restore(&mut self, json: &[u8]) -> Result<(), serde_json::Error> {
        self.0 = serde_json::from_slice(json)?;
        Ok(())
    }

    fn as_any(&mut self) -> &mut dyn Any {
        &mut self.0
    }
}

impl<A> AnyCommand for Typed<A>
where
    A: Snapshot<Services = ()> + 'static,
    A::Command: PersonalFields + Send + Sync,
    A::Error: Send + Sync + 'static,
{
    fn personal_fields(&mut self, visit: Visit<'_>) {
        self.0.personal_fields(visit);
    }

    fn about(&self) -> Option<Subject> {
        self.0.about()
    }

    fn new_state(&self) -> fn() -> Box<dyn AnyState> {
        new_state::<A>
    }

    fn decide(self: Box<Self>, state: &mut dyn AnyState) -> Result<Vec<Decided>, StoreError> {
        let aggregate = state.as_any().downcast_mut::<A>().expect("a stream's state is of its aggregate's type");
        let sink = EventSink::<A>::default();
        // Decisions are pure and never wait. The sink's mutex would count against the task's budget, hence unconstrained.
        tokio::task::coop::unconstrained(aggregate.handle(self.0, &(), &sink))
            .now_or_never()
            .expect("a decision never waits")
            .map_err(|refusal| StoreError::Refused(Box::new(refusal)))?;
        let events = tokio::task::coop::unconstrained(sink.collect()).now_or_never().expect("only takes a vector out");
        events
            .iter()
            .map(|event| {
                let payload = serde_json::to_string(event).map_err(|source| StoreError::Unreadable {
                    event_type: event.event_type(),
                    position: 0,
                    source,
                })?;
                Ok(Decided { event_type: event.event_type(), event_version: event.event_version(), payload })
            })
            .collect()
    }
}

impl PersonalFields for Box<dyn AnyCommand> {
    fn personal_fields(&mut self, visit: Visit<'_>) {
        (**self).personal_fields(visit);
    }

    fn about(&self) -> Option<Subject> {
        (**self).about()
    }
}
