//! The shapes of Shopify's bodies: only the fields that are used, every one of them optional, because real bodies
//! leave out, null and retype what the documentation promises.

mod admin_order;
mod catalogue;
mod connection;
mod customer;
mod order;
mod scalar;
mod shop;

pub use admin_order::{AgreementNode, OrderNode, SaleNode};
pub use catalogue::{
    DiscountNodeBody, GidBody, InventoryItemBody, InventoryLevelBody, LocationBody, ProductBody, VariantBody,
};
pub use connection::Connection;
pub use customer::{
    AmountBody, CheckoutBody, CheckoutLineBody, ComplianceBody, ContactBody, DraftOrderBody, MergeBody, PurchasesBody,
    WholeCustomerBody,
};
pub use order::{
    AddressBody, AdjustmentBody, AllocationBody, CustomerBody, DeltaBody, DiscountBody, DutyBody, EditBody,
    EditedLines, FulfillmentBody, IdBody, LineBody, MoneySet, OrderBody, OrderEdited, RefundBody, RefundDutyBody,
    RefundLineBody, RefundShippingBody, ReturnBody, ReturnFeeBody, ShippingLineBody, TaxBody, TransactionBody,
};
pub use scalar::{Number, Present};
pub use shop::{ScopesBody, ShopBody};

/// The shop's amount of a `*_set`, else the plain field beside it.
pub(crate) fn shop_amount<'a>(set: Option<&'a MoneySet>, plain: Option<&'a Number>) -> Option<&'a Number> {
    MoneySet::or(set, plain)
}
