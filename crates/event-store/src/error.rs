//! What can go wrong with the log, each told apart by what the caller should do.

/// Why the log could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another writer was there first: load and decide again.
    #[error("another command changed the same history first")]
    Conflict(#[source] sqlx::Error),
    /// This very thing is stored already: nothing is left to do.
    #[error("already stored ({constraint})")]
    Duplicate {
        /// Which constraint says so.
        constraint: String,
    },
    /// The stored chain is not what was written.
    #[error("the log of shop {shop} is broken at position {position}: {what}")]
    BrokenChain {
        /// Whose log.
        shop: domain::ShopId,
        /// Where.
        position: i64,
        /// How.
        what: String,
    },
    /// The database is away, busy or shutting down: try again later.
    #[error("the database is not available")]
    Unavailable(#[source] sqlx::Error),
    /// Stored by a newer build: wait for it, do not park.
    #[error("{event_type} version {event_version} is newer than this build")]
    Newer {
        /// Which event.
        event_type: String,
        /// Which version of it.
        event_version: String,
    },
    /// A stored event does not have the shape of its type.
    #[error("event {event_type} at position {position} cannot be read")]
    Unreadable {
        /// Which event.
        event_type: String,
        /// Where, or 0 when it is not known.
        position: i64,
        /// Why; it never shows a value.
        #[source]
        source: serde_json::Error,
    },
    /// The shop has no log: it was never registered, or another shop's log was asked for.
    #[error("shop {0} has no log")]
    NoSuchShop(domain::ShopId),
    /// The shop's key is destroyed or cannot be opened with the ring at hand.
    #[error("the keys of shop {0} cannot be used: {1}")]
    Keys(domain::ShopId, #[source] vault::VaultError),
    /// The aggregate refused the command.
    #[error("the command was refused: {0}")]
    Refused(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Anything else that the database answers.
    #[error("the database refused a statement")]
    Database(#[source] sqlx::Error),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        if is_unavailable(&error) {
            return Self::Unavailable(error);
        }
        if matches!(error, sqlx::Error::Configuration(_)) {
            // Its own text quotes what it could not read, which may be a part of the password.
            let told =
                "the database's address cannot be read as one (a password's @, : / ? # and % are written as %40 …)";
            return Self::Database(sqlx::Error::Configuration(told.into()));
        }
        let Some(refusal) = error.as_database_error() else {
            return Self::Database(error);
        };
        match (refusal.code().as_deref(), refusal.constraint()) {
            // 40001 serialization failure, 40P01 deadlock
            (Some("40001" | "40P01"), _) => Self::Conflict(error),
            // Each constraint is its own error: a duplicate delivery is not a lost race.
            (Some("23505"), Some("events_pkey" | "events_stream_key" | "heads_pkey" | "subject_keys_pkey")) => {
                Self::Conflict(error)
            }
            (Some("23505"), Some(constraint)) => Self::Duplicate { constraint: constraint.to_owned() },
            _ => Self::Database(error),
        }
    }
}

impl StoreError {
    /// The connection died before the server answered: whether it did what was asked is not known.
    pub(crate) fn leaves_open(&self) -> bool {
        matches!(self, Self::Unavailable(source) if source.as_database_error().is_none())
    }

    /// What was to be stored is at fault, and trying again as it is will not help. Anything else is about the shop, its
    /// keys, the schema or the database.
    #[must_use]
    pub fn blames_the_input(&self) -> bool {
        match self {
            Self::Refused(_) | Self::Duplicate { .. } | Self::Unreadable { .. } => true,
            // 22 a value that does not fit, 23 a constraint, 54 a limit
            Self::Database(sqlx::Error::Database(refusal)) => {
                refusal.code().is_some_and(|code| ["22", "23", "54"].iter().any(|class| code.starts_with(class)))
            }
            _ => false,
        }
    }
}

/// Whether a statement failed because the database could not be reached or would not take work just now.
#[must_use]
pub fn is_unavailable(error: &sqlx::Error) -> bool {
    use sqlx::Error as E;
    match error {
        E::Io(_) | E::Tls(_) | E::PoolTimedOut | E::PoolClosed | E::WorkerCrashed | E::Protocol(_) | E::BeginFailed => {
            true
        }
        // 08 connection, 53 resources, 57 operator intervention, 55P03 lock timeout, 58 system, 25P03 idle too long
        E::Database(refusal) => refusal.code().is_some_and(|code| {
            ["08", "53", "57", "58"].iter().any(|class| code.starts_with(class)) || code == "55P03" || code == "25P03"
        }),
        _ => false,
    }
}
