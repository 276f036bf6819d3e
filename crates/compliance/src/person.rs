//! Who is meant, and what is known of them.

use std::collections::BTreeSet;

use domain::{
    Command, Subject,
    customer::Customer,
    ids::{CustomerId, OrderId},
    lookup::{LookedUp, LookupCommand},
    order::Order,
    redaction::Said,
    shop::Shop,
};
use event_store::{ShopTx, StoreError, Streams, shop_key};
use ingest::{knows_a_buyer, orders_in_untold_bodies};
use uuid::Uuid;
use vault::ContactKey;

use crate::append;

/// Who is meant.
#[derive(Clone)]
pub enum Whom {
    /// By Shopify's number.
    Customer(CustomerId),
    /// By an order of theirs: its buyer, who may be a guest.
    Order(OrderId),
    /// By an e-mail address, in any spelling.
    Email(ContactKey),
    /// By a telephone number, in any spelling; its last nine digits count.
    Phone(ContactKey),
    /// Everybody in the shop, and the shop itself.
    Shop,
}

impl Whom {
    /// By what, in a word.
    fn by_what(&self) -> &'static str {
        match self {
            Self::Customer(_) => "customer",
            Self::Order(_) => "order",
            Self::Email(_) => "email",
            Self::Phone(_) => "phone",
            Self::Shop => "shop",
        }
    }
}

/// Records that somebody was told whom there is, or that there is nobody: who looked, for what purpose, by what, and why. The caller
/// commits before the answer is given.
pub(crate) async fn record_lookup(
    tx: &mut ShopTx,
    whom: &Whom,
    found: &[Match],
    purpose: &str,
    said: &Said,
) -> Result<(), StoreError> {
    let Said { by, reason, at } = said.clone();
    let made = LookedUp {
        by_what: whom.by_what().to_owned(),
        purpose: purpose.to_owned(),
        found: found.iter().map(|found| found.subject).collect(),
        reason: reason.unwrap_or_default(),
        by,
        at,
    };
    append(tx, Command::Lookup(Uuid::now_v7().to_string(), LookupCommand::Make(made)), &said.by).await
}

/// Whoever was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// The customer, the guest's order, or the shop.
    pub subject: Subject,
    /// Orders that name them.
    pub orders: usize,
    /// Their key is destroyed already.
    pub redacted: bool,
}

/// Subjects, with the orders that are theirs, and the histories that they stand in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Named {
    /// Customers, guests' orders and the orders of customers.
    pub subjects: BTreeSet<Subject>,
    /// By type and id.
    pub streams: Streams,
}

impl Named {
    /// All that hangs on some subjects. What a refund or an edit says of a buyer is sealed as the order's.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn of(tx: &mut ShopTx, subjects: impl IntoIterator<Item = Subject>) -> Result<Self, StoreError> {
        let mut subjects = with_merged(tx, subjects.into_iter().collect()).await?;
        subjects.extend(untold_orders(tx, &subjects).await?);
        let streams = tx.streams_of(&subjects).await?;
        subjects.extend(streams.iter().filter_map(|(kind, id)| Subject::of_order_stream(kind, id)));
        let streams = tx.streams_of(&subjects).await?;
        Ok(Self { subjects, streams })
    }
}

/// The same with whoever is one person with them, under another number.
pub(crate) async fn with_merged(
    tx: &mut ShopTx,
    mut subjects: BTreeSet<Subject>,
) -> Result<BTreeSet<Subject>, StoreError> {
    // Whoever was merged into them is the same person, under the number from before; so is whom they were merged into. Who is
    // erased leads no further: those who were one with them by then went with them, and about any other one it is asked.
    let mut to_look_at: Vec<Subject> = subjects.iter().copied().collect();
    while let Some(subject) = to_look_at.pop() {
        let Subject::Customer(id) = subject else { continue };
        if !tx.redacted_among(&BTreeSet::from([subject])).await?.is_empty() {
            continue;
        }
        let customer: Customer = tx.load(&id.to_string()).await?;
        for other in customer.merged_with().map(Subject::Customer) {
            if subjects.insert(other) {
                to_look_at.push(other);
            }
        }
    }
    Ok(subjects)
}

/// Orders of which the log does not know a buyer, while a body that nothing could be made of names one of these.
async fn untold_orders(tx: &mut ShopTx, subjects: &BTreeSet<Subject>) -> Result<BTreeSet<Subject>, StoreError> {
    let customers: BTreeSet<Subject> =
        subjects.iter().copied().filter(|subject| matches!(subject, Subject::Customer(_))).collect();
    let key = if customers.is_empty() { None } else { tx.living_shop_key().await? };
    let Some(key) = key else { return Ok(BTreeSet::new()) };
    let mut theirs = BTreeSet::new();
    for order in orders_in_untold_bodies(tx, &key, &customers).await? {
        if !knows_a_buyer(tx, order).await? {
            theirs.insert(Subject::Order(order));
        }
    }
    Ok(theirs)
}

/// Everybody who is meant: by address or number there may be several, of whom somebody has to choose.
///
/// # Errors
/// [`StoreError`].
pub async fn matches(tx: &mut ShopTx, whom: &Whom) -> Result<Vec<Match>, StoreError> {
    let found = match whom {
        Whom::Shop => BTreeSet::from([Subject::Shop]),
        Whom::Customer(id) => BTreeSet::from([Subject::Customer(*id)]),
        Whom::Order(id) => {
            let order: Order = tx.load(&id.to_string()).await?;
            let guest = || (order != Order::default()).then_some(Subject::Order(*id));
            order.customer.as_ref().map(|seen| Subject::Customer(seen.value)).or_else(guest).into_iter().collect()
        }
        Whom::Email(contact) | Whom::Phone(contact) => {
            let key = shop_key(tx).await?;
            tx.subjects_of_contacts(&key, std::slice::from_ref(contact)).await?
        }
    };
    if let Whom::Shop = whom {
        let redacted = tx.load::<Shop>(Shop::ID).await?.is_redacted();
        return Ok(vec![Match { subject: Subject::Shop, orders: count_of(tx, Some("order")).await?, redacted }]);
    }
    known_of(tx, found).await
}

/// Those who were found, with the customers among `all` who are one person with them, under another number: they are erased with them.
pub(crate) async fn and_merged(
    tx: &mut ShopTx,
    mut found: Vec<Match>,
    all: &BTreeSet<Subject>,
) -> Result<Vec<Match>, StoreError> {
    let is_other = |subject: &Subject| {
        matches!(subject, Subject::Customer(_)) && found.iter().all(|found| found.subject != *subject)
    };
    let others = all.iter().copied().filter(is_other).collect();
    found.extend(known_of(tx, others).await?);
    Ok(found)
}

async fn known_of(tx: &mut ShopTx, subjects: BTreeSet<Subject>) -> Result<Vec<Match>, StoreError> {
    let redacted = tx.redacted_among(&subjects).await?;
    let mut matches = Vec::with_capacity(subjects.len());
    for subject in subjects {
        let streams = tx.streams_of(&BTreeSet::from([subject])).await?;
        let orders = streams.iter().filter(|(kind, _)| kind == "order").count();
        matches.push(Match { subject, orders, redacted: redacted.contains(&subject) });
    }
    Ok(matches)
}

/// How many histories the shop has, of a type or at all.
pub(crate) async fn count_of(tx: &mut ShopTx, aggregate_type: Option<&str>) -> Result<usize, StoreError> {
    let shop = tx.shop();
    let count = sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM events WHERE shop_id = $1 AND sequence = 1 AND ($2::text IS NULL OR aggregate_type = $2)"#,
        shop.0,
        aggregate_type,
    );
    Ok(usize::try_from(count.fetch_one(&mut **tx).await?).unwrap_or(0))
}
