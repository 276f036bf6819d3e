//! An order as the Admin API's GraphQL has it, with its connections nested and its sales agreements.
//!
//! All but the agreements becomes the body that webhooks send, so that both shapes are read by one translation.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::{
    AddressBody, AdjustmentBody, AllocationBody, Connection, CustomerBody, DiscountBody, DutyBody, FulfillmentBody,
    IdBody, LineBody, MoneySet, Number, OrderBody, Present, RefundBody, RefundDutyBody, RefundLineBody,
    RefundShippingBody, ReturnBody, ReturnFeeBody, ShippingLineBody, TaxBody, TransactionBody,
};

macro_rules! nodes {
    ($($(#[$doc:meta])* $name:ident { $($(#[$attribute:meta])* $field:ident: $type:ty),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Default, Deserialize)]
        #[serde(default, rename_all = "camelCase")]
        #[allow(missing_docs, reason = "Shopify's names")]
        pub struct $name { $($(#[$attribute])* pub $field: Option<$type>,)* }
    )*};
}

/// Of a field whose absence says something else than `null`: that the query did not ask for it.
fn asked<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

nodes! {
    /// An `Order`.
    OrderNode {
        id: Number, name: String, created_at: DateTime<Utc>, updated_at: DateTime<Utc>, processed_at: DateTime<Utc>,
        #[serde(deserialize_with = "asked")] cancelled_at: Option<DateTime<Utc>>, closed_at: DateTime<Utc>, cancel_reason: String, currency_code: String,
        presentment_currency_code: String, taxes_included: bool, test: bool, source_name: String,
        display_financial_status: String, display_fulfillment_status: String, email: String, phone: String,
        client_ip: String, note: String, custom_attributes: Value, tags: Value, total_price_set: MoneySet,
        total_tip_received_set: MoneySet, original_total_duties_set: MoneySet,
        original_total_additional_fees_set: MoneySet, customer: CustomerNode, shipping_address: Value,
        billing_address: Value, customer_journey_summary: JourneyNode, discount_applications: Connection<DiscountNode>,
        line_items: Connection<LineNode>, shipping_lines: Connection<ShippingLineNode>,
        refunds: Connection<RefundNode>, returns: Connection<ReturnNode>, fulfillments: Connection<FulfillmentNode>,
        transactions: Connection<TransactionNode>, agreements: Connection<AgreementNode>,
    }
    /// Something of which only the id matters.
    IdNode { id: Number }
    /// A `Customer`.
    CustomerNode { id: Number, first_name: String, last_name: String, email: String, phone: String }
    /// A `CustomerJourneySummary`.
    JourneyNode { first_visit: VisitNode, last_visit: VisitNode }
    /// A `CustomerVisit`.
    VisitNode { utm_parameters: UtmNode }
    /// Its `UTMParameters`.
    UtmNode { source: String, medium: String, campaign: String }
    /// A `DiscountApplication` of any kind.
    DiscountNode { index: u32, code: String, title: String, description: String }
    /// A `DiscountAllocation`.
    AllocationNode { allocated_amount_set: MoneySet, discount_application: AppliedNode }
    /// Which application an allocation is of.
    AppliedNode { index: Number }
    /// A `TaxLine`.
    TaxNode { price_set: MoneySet, rate: Number }
    /// A `Duty`.
    DutyNode { price: MoneySet }
    /// A `LineItem`.
    LineNode {
        id: Number, product: IdNode, variant: IdNode, title: String, variant_title: String, vendor: String,
        sku: String, original_unit_price_set: MoneySet, quantity: Number, current_quantity: Number,
        is_gift_card: bool, custom_attributes: Value, discount_allocations: Vec<AllocationNode>,
        tax_lines: Vec<TaxNode>, duties: Vec<DutyNode>,
    }
    /// A `ShippingLine`.
    ShippingLineNode {
        id: Number, original_price_set: MoneySet, is_removed: bool, discount_allocations: Vec<AllocationNode>,
        tax_lines: Vec<TaxNode>,
    }
    /// A `Refund`.
    RefundNode {
        id: Number, created_at: DateTime<Utc>, processed_at: DateTime<Utc>, note: String,
        #[serde(deserialize_with = "asked")] r#return: Option<IdNode>,
        duties: Vec<RefundDutyNode>, refund_line_items: Connection<RefundLineNode>,
        refund_shipping_lines: Connection<RefundShippingNode>, order_adjustments: Connection<AdjustmentNode>,
        transactions: Connection<TransactionNode>,
    }
    /// A `RefundDuty`.
    RefundDutyNode { amount_set: MoneySet }
    /// A `RefundLineItem`.
    RefundLineNode {
        id: Number, line_item: IdNode, quantity: Number, restock_type: String, subtotal_set: MoneySet,
        total_tax_set: MoneySet,
    }
    /// A `RefundShippingLine`.
    RefundShippingNode { id: Number, shipping_line: IdNode, subtotal_amount_set: MoneySet }
    /// An `OrderAdjustment`.
    AdjustmentNode { id: Number, amount_set: MoneySet, tax_amount_set: MoneySet }
    /// A `Return`.
    ReturnNode { id: Number, status: String, return_shipping_fees: Vec<ReturnFeeNode> }
    /// A `ReturnShippingFee`.
    ReturnFeeNode { amount_set: MoneySet }
    /// A `Fulfillment`.
    FulfillmentNode {
        id: Number, status: String, display_status: String, created_at: DateTime<Utc>, updated_at: DateTime<Utc>,
        location: IdNode, tracking_info: Vec<TrackingNode>, fulfillment_line_items: Connection<FulfilledNode>,
    }
    /// A `FulfillmentTrackingInfo`.
    TrackingNode { company: String }
    /// A `FulfillmentLineItem`.
    FulfilledNode { line_item: IdNode, quantity: Number }
    /// An `OrderTransaction`.
    TransactionNode {
        id: Number, kind: String, status: String, gateway: String, created_at: DateTime<Utc>,
        processed_at: DateTime<Utc>, amount_set: PaidNode, parent_transaction: IdNode, test: bool,
    }
    /// A `MoneyBag` of which the buyer's side counts.
    PaidNode { presentment_money: PaidMoneyNode, shop_money: PaidMoneyNode }
    /// A `MoneyV2`.
    PaidMoneyNode { amount: Number, currency_code: String }
    /// A `SalesAgreement` of any kind.
    AgreementNode {
        id: Number, happened_at: DateTime<Utc>, reason: String, refund: IdNode, r#return: IdNode,
        sales: Connection<SaleNode>,
    }
    /// A `Sale` of any kind.
    SaleNode {
        id: Number, action_type: String, line_type: String, quantity: Number, line_item: SoldNode,
        shipping_line: IdNode, total_amount: MoneySet, total_tax_amount: MoneySet,
        total_discount_amount_before_taxes: MoneySet,
    }
    /// The `LineItem` of a sale.
    SoldNode { id: Number, product: IdNode, variant: IdNode }
}

impl OrderNode {
    /// Whether a connection that figures depend on was cut off by the query's page size.
    pub(crate) fn is_cut(&self) -> bool {
        let cut = |connection: Option<bool>| connection.unwrap_or(false);
        let refunds = self.refunds.iter().flat_map(|refunds| &refunds.nodes);
        let agreements = self.agreements.iter().flat_map(|agreements| &agreements.nodes);
        cut(self.line_items.as_ref().map(|c| c.is_cut))
            || cut(self.shipping_lines.as_ref().map(|c| c.is_cut))
            || cut(self.discount_applications.as_ref().map(|c| c.is_cut))
            || cut(self.returns.as_ref().map(|c| c.is_cut))
            || cut(self.agreements.as_ref().map(|c| c.is_cut))
            || refunds.into_iter().any(|refund| {
                cut(refund.refund_line_items.as_ref().map(|c| c.is_cut))
                    || cut(refund.refund_shipping_lines.as_ref().map(|c| c.is_cut))
                    || cut(refund.order_adjustments.as_ref().map(|c| c.is_cut))
            })
            || agreements.into_iter().any(|agreement| cut(agreement.sales.as_ref().map(|c| c.is_cut)))
    }

    /// The same in the shape of webhooks. Which lines are tips only the agreements say.
    pub(crate) fn into_body(mut self, is_tip: impl Fn(&Number) -> bool) -> OrderBody {
        let utm = self.customer_journey_summary.take().and_then(|journey| journey.first_visit.or(journey.last_visit));
        let mut discounts = nodes(self.discount_applications.take()).unwrap_or_default();
        discounts.sort_by_key(|node| node.index);
        OrderBody {
            id: self.id,
            name: self.name,
            created_at: self.created_at,
            updated_at: self.updated_at,
            processed_at: self.processed_at,
            cancelled_at: self.cancelled_at.flatten(),
            closed_at: self.closed_at,
            cancel_reason: lower(self.cancel_reason),
            currency: self.currency_code,
            presentment_currency: self.presentment_currency_code,
            taxes_included: self.taxes_included,
            test: self.test,
            source_name: self.source_name,
            financial_status: lower(self.display_financial_status),
            fulfillment_status: lower(self.display_fulfillment_status).and_then(|status| match status.as_str() {
                "unfulfilled" => None,
                "partially_fulfilled" => Some("partial".to_owned()),
                _ => Some(status),
            }),
            landing_site: utm.and_then(|visit| visit.utm_parameters).map(landing_site),
            email: self.email,
            contact_email: None,
            phone: self.phone,
            browser_ip: self.client_ip,
            note: self.note,
            note_attributes: self.custom_attributes.map(named),
            tags: self.tags,
            total_price: None,
            total_price_set: self.total_price_set,
            total_tip_received: self.total_tip_received_set.and_then(MoneySet::into_amount),
            original_total_duties_set: self.original_total_duties_set,
            original_total_additional_fees_set: self.original_total_additional_fees_set,
            customer: self.customer.map(|node| CustomerBody {
                id: node.id,
                first_name: node.first_name,
                last_name: node.last_name,
                email: node.email,
                phone: node.phone,
            }),
            shipping_address: self.shipping_address.map(address),
            billing_address: self.billing_address.map(address),
            discount_applications: Some(discounts.into_iter().map(DiscountBody::from).collect()),
            line_items: nodes(self.line_items).map(|lines| {
                let tip = |node: &LineNode| Present(node.id.as_ref().is_some_and(&is_tip));
                lines.into_iter().map(|node| LineBody { tip_payment_gateway: tip(&node), ..node.into() }).collect()
            }),
            shipping_lines: each(nodes(self.shipping_lines)),
            refunds: each(nodes(self.refunds)),
            returns: each(nodes(self.returns)),
            fulfillments: each(nodes(self.fulfillments)),
            transactions: each(nodes(self.transactions)),
        }
    }
}

fn nodes<T>(connection: Option<Connection<T>>) -> Option<Vec<T>> {
    connection.map(|connection| connection.nodes)
}

fn each<A, B: From<A>>(nodes: Option<Vec<A>>) -> Option<Vec<B>> {
    nodes.map(|nodes| nodes.into_iter().map(B::from).collect())
}

fn id_of(node: Option<IdNode>) -> Option<Number> {
    node.and_then(|node| node.id)
}

/// Enums are upper case here and lower case in webhooks.
fn lower(text: Option<String>) -> Option<String> {
    text.map(|text| text.to_ascii_lowercase())
}

/// `[{"key": …, "value": …}]` is `[{"name": …, "value": …}]` in webhooks.
fn named(attributes: Value) -> Value {
    let Value::Array(items) = attributes else { return attributes };
    let items = items.into_iter().map(|item| match item {
        Value::Object(fields) => {
            let name = |key: String| if key == "key" { "name".to_owned() } else { key };
            Value::Object(fields.into_iter().map(|(key, value)| (name(key), value)).collect())
        }
        other => other,
    });
    Value::Array(items.collect())
}

/// `countryCodeV2` is `country_code` in webhooks, `firstName` is `first_name`.
fn address(value: Value) -> AddressBody {
    let Value::Object(fields) = value else { return AddressBody(value) };
    let mut renamed = Map::new();
    for (key, value) in fields {
        let mut name = String::with_capacity(key.len() + 4);
        for c in key.trim_end_matches("V2").chars() {
            if c.is_ascii_uppercase() {
                name.push('_');
            }
            name.push(c.to_ascii_lowercase());
        }
        renamed.insert(name, value);
    }
    AddressBody(Value::Object(renamed))
}

fn landing_site(utm: UtmNode) -> String {
    let mut query = form_urlencoded::Serializer::new("/?".to_owned());
    for (key, value) in [("utm_source", utm.source), ("utm_medium", utm.medium), ("utm_campaign", utm.campaign)] {
        if let Some(value) = value {
            query.append_pair(key, &value);
        }
    }
    query.finish()
}

impl From<DiscountNode> for DiscountBody {
    fn from(node: DiscountNode) -> Self {
        // A title that nobody says to be a rule's may be what staff typed: it is taken for personal.
        let kind = if node.code.is_some() { "discount_code" } else { "manual" };
        Self { r#type: Some(kind.to_owned()), code: node.code, title: node.title, description: node.description }
    }
}

impl From<AllocationNode> for AllocationBody {
    fn from(node: AllocationNode) -> Self {
        let index = node.discount_application.and_then(|node| node.index);
        Self { amount: None, amount_set: node.allocated_amount_set, discount_application_index: index }
    }
}

impl From<TaxNode> for TaxBody {
    fn from(node: TaxNode) -> Self {
        Self { price: None, price_set: node.price_set, rate: node.rate }
    }
}

impl From<LineNode> for LineBody {
    fn from(node: LineNode) -> Self {
        let duty = |node: DutyNode| DutyBody { price_set: node.price, ..DutyBody::default() };
        Self {
            id: node.id,
            product_id: id_of(node.product),
            variant_id: id_of(node.variant),
            title: node.title,
            variant_title: node.variant_title,
            vendor: node.vendor,
            sku: node.sku,
            price: None,
            price_set: node.original_unit_price_set,
            quantity: node.quantity,
            current_quantity: node.current_quantity,
            gift_card: node.is_gift_card,
            tip_payment_gateway: Present(false),
            properties: node.custom_attributes.map(named),
            discount_allocations: each(node.discount_allocations),
            tax_lines: each(node.tax_lines),
            duties: node.duties.map(|duties| duties.into_iter().map(duty).collect()),
        }
    }
}

impl From<ShippingLineNode> for ShippingLineBody {
    fn from(node: ShippingLineNode) -> Self {
        Self {
            id: node.id,
            price: None,
            price_set: node.original_price_set,
            is_removed: node.is_removed,
            discount_allocations: each(node.discount_allocations),
            tax_lines: each(node.tax_lines),
        }
    }
}

impl From<RefundNode> for RefundBody {
    fn from(node: RefundNode) -> Self {
        let duty = |node: RefundDutyNode| RefundDutyBody { amount_set: node.amount_set };
        Self {
            id: node.id,
            order_id: None,
            created_at: node.created_at,
            processed_at: node.processed_at,
            note: node.note,
            r#return: node.r#return.flatten().map(|node| IdBody { id: node.id }),
            total_duties_set: None,
            total_additional_fees_set: None,
            duties: node.duties.map(|duties| duties.into_iter().map(duty).collect()),
            refund_line_items: each(nodes(node.refund_line_items)),
            refund_shipping_lines: each(nodes(node.refund_shipping_lines)),
            order_adjustments: each(nodes(node.order_adjustments)),
            transactions: each(nodes(node.transactions)),
        }
    }
}

impl From<RefundLineNode> for RefundLineBody {
    fn from(node: RefundLineNode) -> Self {
        Self {
            id: node.id,
            line_item_id: id_of(node.line_item),
            quantity: node.quantity,
            restock_type: lower(node.restock_type),
            subtotal: None,
            subtotal_set: node.subtotal_set,
            total_tax: None,
            total_tax_set: node.total_tax_set,
        }
    }
}

impl From<RefundShippingNode> for RefundShippingBody {
    fn from(node: RefundShippingNode) -> Self {
        Self {
            id: node.id,
            shipping_line_id: id_of(node.shipping_line),
            shipping_line: None,
            subtotal_amount_set: node.subtotal_amount_set,
        }
    }
}

impl From<AdjustmentNode> for AdjustmentBody {
    fn from(node: AdjustmentNode) -> Self {
        let (amount_set, tax_amount_set) = (node.amount_set, node.tax_amount_set);
        Self { id: node.id, amount_set, tax_amount_set, ..Self::default() }
    }
}

impl From<ReturnNode> for ReturnBody {
    fn from(node: ReturnNode) -> Self {
        let fee = |node: ReturnFeeNode| ReturnFeeBody { price: node.amount_set };
        Self {
            id: node.id,
            status: lower(node.status),
            return_shipping_fees: node.return_shipping_fees.map(|fees| fees.into_iter().map(fee).collect()),
            ..Self::default()
        }
    }
}

impl From<FulfillmentNode> for FulfillmentBody {
    fn from(node: FulfillmentNode) -> Self {
        let line = |node: FulfilledNode| LineBody {
            id: id_of(node.line_item),
            quantity: node.quantity,
            ..LineBody::default()
        };
        Self {
            id: node.id,
            order_id: None,
            status: lower(node.status),
            shipment_status: lower(node.display_status),
            created_at: node.created_at,
            updated_at: node.updated_at,
            location_id: id_of(node.location),
            tracking_company: node.tracking_info.and_then(|info| info.into_iter().find_map(|info| info.company)),
            line_items: nodes(node.fulfillment_line_items).map(|lines| lines.into_iter().map(line).collect()),
        }
    }
}

impl From<TransactionNode> for TransactionBody {
    fn from(node: TransactionNode) -> Self {
        let paid = node.amount_set.and_then(|set| set.presentment_money.or(set.shop_money)).unwrap_or_default();
        Self {
            id: node.id,
            order_id: None,
            kind: lower(node.kind),
            status: lower(node.status),
            gateway: node.gateway,
            created_at: node.created_at,
            processed_at: node.processed_at,
            amount: paid.amount,
            currency: paid.currency_code,
            parent_id: id_of(node.parent_transaction),
            test: node.test,
        }
    }
}
