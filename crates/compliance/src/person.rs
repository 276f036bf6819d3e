//! Who is meant, and what is known of them.

use std::collections::BTreeSet;

use domain::{
    Subject,
    customer::{Customer, MergeRole},
    ids::CustomerId,
};
use event_store::{ShopTx, StoreError, Streams, shop_key};
use vault::ContactKey;

/// How somebody is named.
#[derive(Clone)]
pub enum Person {
    /// By Shopify's number.
    Customer(CustomerId),
    /// By an e-mail address, in any spelling.
    Email(ContactKey),
    /// By a telephone number, in any spelling; its last nine digits count.
    Phone(ContactKey),
}

/// Whoever was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// The customer, or the guest's order.
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
        let mut subjects: BTreeSet<Subject> = subjects.into_iter().collect();
        // Whoever was merged into them is the same person, under the number from before.
        let mut to_look_at: Vec<Subject> = subjects.iter().copied().collect();
        while let Some(subject) = to_look_at.pop() {
            let Subject::Customer(id) = subject else { continue };
            let customer: Customer = tx.load(&id.to_string()).await?;
            let absorbed = customer
                .merges
                .iter()
                .filter(|(_, merge)| merge.value.role == MergeRole::Kept && merge.value.status == "completed");
            for (other, _) in absorbed {
                if subjects.insert(Subject::Customer(*other)) {
                    to_look_at.push(Subject::Customer(*other));
                }
            }
        }
        let streams = tx.streams_of(&subjects).await?;
        subjects.extend(streams.iter().filter_map(|(kind, id)| Subject::of_order_stream(kind, id)));
        let streams = tx.streams_of(&subjects).await?;
        Ok(Self { subjects, streams })
    }
}

/// Everybody who is meant: by address or number there may be several, of whom somebody has to choose.
///
/// # Errors
/// [`StoreError`].
pub async fn matches(tx: &mut ShopTx, person: &Person) -> Result<Vec<Match>, StoreError> {
    let found = match person {
        Person::Customer(id) => BTreeSet::from([Subject::Customer(*id)]),
        Person::Email(contact) | Person::Phone(contact) => {
            let key = shop_key(tx).await?;
            tx.subjects_of_contacts(&key, std::slice::from_ref(contact)).await?
        }
    };
    let redacted = tx.redacted_among(&found).await?;
    let mut matches = Vec::with_capacity(found.len());
    for subject in found {
        let streams = tx.streams_of(&BTreeSet::from([subject])).await?;
        let orders = streams.iter().filter(|(kind, _)| kind == "order").count();
        matches.push(Match { subject, orders, redacted: redacted.contains(&subject) });
    }
    Ok(matches)
}
