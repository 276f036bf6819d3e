//! What Shopify asks about persons and shops, as it stands in deliveries: that somebody be erased, or be told what is kept.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    Command, Digest, Personal, Subject,
    compliance::{ComplianceKind, ComplianceRequest},
    customer::{Customer, CustomerCommand, MergeRole},
    document::{DocumentCommand, Observed},
    export::{Export, ExportCommand, ExportRequest},
    ids::{CustomerId, OrderId},
    order::Order,
    redaction::{Redaction, RedactionCommand, Request, WEBHOOK},
    shop::Shop,
};
use event_store::{Envelope, Metadata, ShopTx, StoreError};
use shopify::body_digest;
use vault::{ContactKey, ShopKey};

use crate::inbox::{first_sent_after, keeps_all_bodies};

/// The kind of work that is made by whoever asks that somebody be erased or told.
pub const REDACT: &str = "redact";

/// How long the erasure of a shop is waited with whose app nobody has seen removed.
const STILL_INSTALLED_WAIT: TimeDelta = TimeDelta::hours(24);

const ODD: &str = "the delivery was odd: see that it is Shopify's request, then release or cancel";

/// Leaves work of a kind for later, in the transaction that makes it.
///
/// # Errors
/// [`StoreError::Unavailable`].
pub async fn enqueue(tx: &mut ShopTx, kind: &str, in_s: f64) -> Result<(), StoreError> {
    let shop = tx.shop();
    sqlx::query!(
        "INSERT INTO work_queue (shop_id, kind, due_at) VALUES ($1, $2, now() + make_interval(secs => $3))",
        shop.0,
        kind,
        in_s,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// A request of Shopify's.
pub(crate) struct Asked {
    kind: ComplianceKind,
    /// Of the body. It holds an address, which whoever has the digest could guess: it goes nowhere.
    body: Digest,
    /// What tells it from others: its numbers, or the body where it names nobody by number.
    identity: Vec<u8>,
    /// By what the log knows the body.
    pub known_by: Digest,
    /// The history that says that it came.
    history: String,
    subjects: BTreeSet<Subject>,
    /// Where it names nobody by number.
    contacts: Vec<ContactKey>,
    /// Whoever is known by these.
    found: BTreeSet<Subject>,
    /// What was odd about the delivery.
    note: Option<String>,
    triggered_at: Option<DateTime<Utc>>,
    received_at: DateTime<Utc>,
}

/// Takes the requests out of commands. An address or a number by which nobody is named is not to be kept: sealed as the shop's
/// own, it would outlive whom it is of. And no digest of a body, which is little more than an address: in its place stands one
/// that takes the shop's key.
pub(crate) async fn requests_in(
    tx: &mut ShopTx,
    key: &ShopKey,
    commands: &mut [Command],
    body: &[u8],
    note: Option<&str>,
) -> Result<Vec<Asked>, StoreError> {
    let mut asked = Vec::new();
    for command in commands {
        let Command::Compliance(history, DocumentCommand::Observe { version, value }) = command else { continue };
        // What an earlier release took in is known by what it wrote: that was the body's bare digest.
        let body = body_digest(body);
        *history = history.replace(&version.digest.to_string(), &body.to_string());
        version.digest = body;
        let identity = identity_of(value, body);
        let known: Observed<ComplianceRequest> = tx.load(history).await?;
        if known.newest.is_none_or(|newest| newest.version.digest != body) {
            version.digest = Digest(key.pseudonym(&[b"request/", &*identity].concat()));
            *history = history.replace(&body.to_string(), &version.digest.to_string());
        }
        asked.push(Asked {
            kind: value.kind,
            body,
            identity,
            known_by: version.digest,
            history: history.clone(),
            contacts: if value.customer_id.is_none() { take_contacts(value) } else { Vec::new() },
            found: BTreeSet::new(),
            subjects: subjects_of(value),
            note: note.map(str::to_owned),
            triggered_at: version.triggered_at,
            received_at: value.received_at,
        });
    }
    Ok(asked)
}

fn identity_of(request: &ComplianceRequest, body: Digest) -> Vec<u8> {
    let ComplianceRequest { kind, data_request, customer_id, orders, received_at: _, contact: _ } = request;
    match (kind, customer_id) {
        (ComplianceKind::ShopRedaction, _) | (_, None) => body.0.to_vec(),
        (_, Some(customer)) => {
            let numbers = (kind, data_request, customer, orders);
            serde_json::to_vec(&numbers).expect("numbers have a JSON form")
        }
    }
}

fn subjects_of(request: &ComplianceRequest) -> BTreeSet<Subject> {
    if request.kind == ComplianceKind::ShopRedaction {
        return BTreeSet::from([Subject::Shop]);
    }
    let orders = request.orders.iter().copied().map(Subject::Order);
    orders.chain(request.customer_id.map(Subject::Customer)).collect()
}

fn take_contacts(request: &mut ComplianceRequest) -> Vec<ContactKey> {
    let Some(Personal::Clear(contact)) = request.contact.take() else { return Vec::new() };
    let email = contact.email.as_deref().and_then(ContactKey::of_email);
    email.into_iter().chain(contact.phone.as_deref().and_then(ContactKey::of_phone)).collect()
}

/// Asks for what Shopify asks. After the batch's other news, whose persons it may be about.
pub(crate) async fn ask(tx: &mut ShopTx, key: &ShopKey, asked: Vec<Asked>) -> Result<(), StoreError> {
    if asked.is_empty() {
        return Ok(());
    }
    tx.lock_log().await?;
    tx.name_subjects().await?;
    for mut request in asked {
        let named_by_number = request.contacts.is_empty() && !request.subjects.is_empty();
        request.found = tx.subjects_of_contacts(key, &request.contacts).await?;
        let commands = match request.kind {
            ComplianceKind::CustomerData => vec![request.export(tx, key).await?],
            ComplianceKind::CustomerRedaction => {
                request.subjects.append(&mut request.found);
                of_customer(tx, key, &request, named_by_number).await?
            }
            ComplianceKind::ShopRedaction => of_shop(tx, key, &request).await?,
        };
        let metadata = Metadata::from_source("webhook").with("actor", WEBHOOK).with("causation_id", &request.history);
        tx.execute(commands.into_iter().map(|command| Envelope::new(command, metadata.clone())).collect()).await?;
    }
    enqueue(tx, REDACT, 0.0).await
}

/// Two customers whom Shopify made into one.
pub(crate) struct Merged {
    kept: CustomerId,
    absorbed: CustomerId,
    seen_at: DateTime<Utc>,
}

/// The merges in commands.
pub(crate) fn merges_in(commands: &[Command], seen_at: DateTime<Utc>) -> impl Iterator<Item = Merged> {
    commands.iter().filter_map(move |command| match command {
        Command::Customer(kept, CustomerCommand::ObserveMerge { other, merge, .. })
            if merge.role == MergeRole::Kept && merge.is_completed() =>
        {
            Some(Merged { kept: *kept, absorbed: *other, seen_at })
        }
        _ => None,
    })
}

/// Whoever is merged with somebody who was erased may be the same person, whom the erasure meant, or one who came back since.
/// That is for somebody to tell: the redaction is asked for, and held. After the batch's own news.
pub(crate) async fn ask_about(tx: &mut ShopTx, key: &ShopKey, merges: Vec<Merged>) -> Result<(), StoreError> {
    if merges.is_empty() {
        return Ok(());
    }
    // Whoever erases one of both holds it, and then knows of the merge.
    tx.lock_log().await?;
    for Merged { kept, absorbed, seen_at: at } in merges {
        let (kept, absorbed) = (Subject::Customer(kept), Subject::Customer(absorbed));
        let redacted: Vec<Subject> = tx.redacted_among(&BTreeSet::from([kept, absorbed])).await?.into_iter().collect();
        let [erased] = redacted[..] else { continue };
        if kept == absorbed {
            continue;
        }
        let id = hex::encode(key.pseudonym(format!("merge/{kept}/{absorbed}").as_bytes()));
        if tx.load::<Redaction>(&id).await?.request.is_some() {
            continue;
        }
        let by = || WEBHOOK.to_owned();
        let asked = RedactionCommand::Request(Request {
            subjects: vec![if erased == kept { absorbed } else { kept }],
            reason: "customers/merge".to_owned(),
            by: by(),
            at,
            due_at: at,
            request: None,
            needs_confirmation: false,
            triggered_at: None,
        });
        let reason =
            format!("merged with {erased}, who was erased: see whether both are one person, then release or cancel");
        let hold = RedactionCommand::Hold { reason, by: by(), at };
        let metadata = Metadata::from_source("webhook").with("actor", WEBHOOK);
        let commands = [asked, hold].map(|command| Command::Redaction(id.clone(), command));
        tx.execute(commands.map(|command| Envelope::new(command, metadata.clone())).into()).await?;
    }
    Ok(())
}

/// An order goes with its buyer, also where nothing but a body says who that is of which nothing became an event: what a refund or
/// an edit says of the buyer is the order's. That is a redaction of its own, with a receipt, so that it is done again after a restore.
/// Under the log's lock.
pub(crate) async fn ask_for_orders_of(
    tx: &mut ShopTx,
    key: &ShopKey,
    buyers: &BTreeSet<(OrderId, CustomerId)>,
    redacted: &BTreeSet<Subject>,
) -> Result<(), StoreError> {
    for (number, customer) in buyers {
        let order = Subject::Order(*number);
        // What came of a body that was read has taken the order's key with it.
        if !redacted.contains(&Subject::Customer(*customer))
            || !tx.redacted_among(&BTreeSet::from([order])).await?.is_empty()
            || knows_a_buyer(tx, *number).await?
        {
            continue;
        }
        let id = hex::encode(key.pseudonym(format!("buyer/{customer}/{number}").as_bytes()));
        let at = tx.clock().await?;
        let asked = RedactionCommand::Request(Request {
            subjects: vec![order],
            reason: "its buyer was erased".to_owned(),
            by: WEBHOOK.to_owned(),
            at,
            due_at: at,
            request: None,
            needs_confirmation: false,
            triggered_at: None,
        });
        let metadata = Metadata::from_source("webhook").with("actor", WEBHOOK);
        tx.execute(vec![Envelope::new(Command::Redaction(id, asked), metadata)]).await?;
        enqueue(tx, REDACT, 0.0).await?;
    }
    Ok(())
}

/// Whether the log says who bought, or could: what cannot be read of an order may say it.
///
/// # Errors
/// [`StoreError`].
pub async fn knows_a_buyer(tx: &mut ShopTx, order: OrderId) -> Result<bool, StoreError> {
    match tx.load::<Order>(&order.to_string()).await {
        Ok(order) => Ok(order.customer.is_some()),
        Err(error) if error.blames_the_input() => Ok(true),
        Err(error) => Err(error),
    }
}

/// Due at once. One that names nobody by number, or came oddly, is held until somebody has looked: addresses and numbers are
/// shared, and what is erased cannot be had back.
async fn of_customer(
    tx: &mut ShopTx,
    key: &ShopKey,
    request: &Asked,
    named_by_number: bool,
) -> Result<Vec<Command>, StoreError> {
    let hold = match request.note {
        Some(_) => Some(ODD),
        None if request.subjects.is_empty() => Some("nobody is known by what it names: find who is meant, or cancel"),
        None if !named_by_number => Some("named by address or number alone: see who is meant, then release or cancel"),
        None => None,
    };
    request.redaction(tx, key, TimeDelta::zero(), hold).await
}

/// What it asks for is told by when it was triggered, which is not signed: so nothing that came since the app was last put in
/// is erased by a request from before, and nothing at once while the app is in.
async fn of_shop(tx: &mut ShopTx, key: &ShopKey, request: &Asked) -> Result<Vec<Command>, StoreError> {
    let shop: Shop = tx.load(Shop::ID).await?;
    let is_before = |installed: &DateTime<Utc>| request.triggered_at.is_some_and(|at| at < *installed);
    if shop.first_installed_at().is_some_and(|first| is_before(&first)) {
        return Ok(Vec::new()); // of an installation that nothing is kept of
    }
    let since = later_installation(tx, &shop, request.triggered_at).await?;
    let wait = match since {
        None if shop.is_installed() => STILL_INSTALLED_WAIT,
        _ => TimeDelta::zero(),
    };
    let hold = match (&request.note, since) {
        (Some(_), _) => Some(ODD),
        (None, Some(_)) if !shop.is_installed() => Some(
            "deliveries were sent after the app was removed: see whether it was put in again and register the shop if so, then \
             release or cancel",
        ),
        (None, Some(since)) if !keeps_all_bodies(tx, since).await? => Some(
            "the app was put in again since, and not all that came since is kept as it came: released, only what is kept stays",
        ),
        _ => None,
    };
    request.redaction(tx, key, wait, hold).await
}

/// Since when deliveries are of an installation that is later than a request. Who puts the app in again sends at once, and is
/// registered again a little later.
///
/// # Errors
/// [`StoreError::Unavailable`].
pub async fn later_installation(
    tx: &mut ShopTx,
    shop: &Shop,
    triggered_at: Option<DateTime<Utc>>,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    let Some(triggered_at) = triggered_at else { return Ok(None) };
    let registered = shop.installed_at().filter(|at| triggered_at < *at);
    let removed = shop.uninstalled_at().filter(|removed| registered.is_none_or(|at| *removed < at));
    let first = match removed {
        Some(removed) => first_sent_after(tx, removed).await?,
        None => None,
    };
    Ok(registered.into_iter().chain(first).min())
}

impl Asked {
    /// The redaction, unless it is asked for already.
    async fn redaction(
        &self,
        tx: &mut ShopTx,
        key: &ShopKey,
        wait: TimeDelta,
        hold: Option<&str>,
    ) -> Result<Vec<Command>, StoreError> {
        let Some(id) = self.redaction_id(tx, key).await? else { return Ok(Vec::new()) };
        let (at, by) = (self.received_at, || WEBHOOK.to_owned());
        let asked = RedactionCommand::Request(Request {
            subjects: self.subjects.iter().copied().collect(),
            reason: self.topic().to_owned(),
            by: by(),
            at,
            due_at: at + wait,
            request: Some(self.history.clone()),
            needs_confirmation: false,
            triggered_at: self.triggered_at,
        });
        let hold = hold.map(|reason| RedactionCommand::Hold { reason: reason.to_owned(), by: by(), at });
        Ok([asked].into_iter().chain(hold).map(|command| Command::Redaction(id.clone(), command)).collect())
    }

    /// The same request again is the same redaction, unless it came after that was cancelled. Keyed: what it says could be guessed.
    async fn redaction_id(&self, tx: &mut ShopTx, key: &ShopKey) -> Result<Option<String>, StoreError> {
        // As an earlier release named it.
        if self.free_id(tx, key, &self.body.0).await?.is_none() {
            return Ok(None);
        }
        self.free_id(tx, key, &self.identity).await
    }

    /// The id that is next for a request of this identity, unless it stands as it was asked for.
    async fn free_id(&self, tx: &mut ShopTx, key: &ShopKey, identity: &[u8]) -> Result<Option<String>, StoreError> {
        let mut seed = identity.to_vec();
        if self.kind == ComplianceKind::ShopRedaction {
            // A shop's body is always the same, and each removal of the app has its own request.
            seed.extend(self.triggered_at.map_or(0, |at| at.timestamp_micros()).to_be_bytes());
        }
        loop {
            let id = hex::encode(key.pseudonym(&seed));
            let known: Redaction = tx.load(&id).await?;
            match (known.request, known.cancelled_at) {
                (None, _) => return Ok(Some(id)),
                (_, Some(cancelled)) if cancelled < self.received_at => seed.push(0),
                _ => return Ok(None),
            }
        }
    }

    async fn export(&self, tx: &mut ShopTx, key: &ShopKey) -> Result<Command, StoreError> {
        let mut persons = self.found.clone();
        for subject in &self.found {
            // Under another number since they were merged.
            if let Subject::Customer(id) = subject
                && persons.contains(subject)
            {
                let customer: Customer = tx.load(&id.to_string()).await?;
                for other in customer.merged_with().map(Subject::Customer) {
                    persons.remove(&other);
                }
            }
        }
        let none = BTreeSet::new();
        let (found, several) = if persons.len() > 1 { (none, persons) } else { (persons, none) };
        let request = ExportRequest {
            subjects: self.subjects.union(&found).copied().collect(),
            several: several.into_iter().collect(),
            reason: self.topic().to_owned(),
            by: WEBHOOK.to_owned(),
            at: self.received_at,
            request: Some(self.history.clone()),
        };
        // As an earlier release named it, if it has asked for it.
        let earlier = hex::encode(key.pseudonym(&self.body.0));
        let id = match tx.load::<Export>(&earlier).await?.request {
            Some(_) => earlier,
            None => hex::encode(key.pseudonym(&self.identity)),
        };
        Ok(Command::Export(id, ExportCommand::Request(request)))
    }

    fn topic(&self) -> &'static str {
        match self.kind {
            ComplianceKind::CustomerData => "customers/data_request",
            ComplianceKind::CustomerRedaction => "customers/redact",
            ComplianceKind::ShopRedaction => "shop/redact",
        }
    }
}
