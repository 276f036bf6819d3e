//! Newtypes for every id.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Our own id of a shop: the tenant. A shop that was erased and comes back gets a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ShopId(pub Uuid);

impl fmt::Display for ShopId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Ids that Shopify gave: numbers up to 2^64-1, pseudonyms once a person is redacted.
macro_rules! shopify_ids {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The id as Postgres keeps it: a bigint has no unsigned form, so the bits are kept as they are.
            #[must_use]
            pub fn to_sql(self) -> i64 {
                self.0.cast_signed()
            }

            /// The id that [`Self::to_sql`] wrote.
            #[must_use]
            pub fn from_sql(bits: i64) -> Self {
                Self(bits.cast_unsigned())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

shopify_ids! {
    /// An order.
    OrderId,
    /// A line of an order.
    LineId,
    /// A shipping line of an order.
    ShippingLineId,
    /// A refund.
    RefundId,
    /// A committed order edit.
    EditId,
    /// A return.
    ReturnId,
    /// A sales agreement: what Shopify itself booked of an order at one instant.
    AgreementId,
    /// One sale of an agreement.
    SaleId,
    /// A customer.
    CustomerId,
    /// A product.
    ProductId,
    /// A variant of a product.
    VariantId,
    /// A fulfilment of an order.
    FulfillmentId,
    /// A transaction of an order.
    TransactionId,
    /// An inventory item: what is counted of a variant.
    InventoryItemId,
    /// A location that stock lies at.
    LocationId,
    /// A checkout.
    CheckoutId,
    /// A draft of an order.
    DraftOrderId,
    /// A discount: an automatic one, or one with codes.
    DiscountId,
    /// The shop itself, as Shopify numbers it.
    ShopifyShopId,
    /// A member of any of the lists inside a body that has no newtype of its own.
    RowId,
}
