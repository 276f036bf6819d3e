//! Customers, what they begin to buy, and what is asked for about them.

use std::collections::BTreeMap;

use domain::{
    Command, Personal,
    checkout::{Checkout, CheckoutItem},
    compliance::{ComplianceKind, ComplianceRequest, Contact},
    customer::{CustomerCommand, Merge, MergeRole, Person, Profile, Purchases},
    document::DocumentCommand,
    draft_order::DraftOrder,
    ids::{CheckoutId, CustomerId, DraftOrderId, OrderId, ProductId, ShopifyShopId, VariantId},
};
use serde::de::IgnoredAny;

use super::{
    Context, TranslateError, parse,
    values::{currency, id, instant, is_said, minor, plain, tags, text, units},
    version,
};
use crate::payload::{
    CheckoutBody, ComplianceBody, DraftOrderBody, MergeBody, Number, PurchasesBody, WholeCustomerBody,
};

type Commands = Result<Vec<Command>, TranslateError>;

pub(super) fn profile(context: &Context<'_>, body: &[u8]) -> Commands {
    let seen: WholeCustomerBody = parse(body)?;
    let customer = CustomerId(id("id", seen.id.as_ref())?);
    let updated_at = instant("updated_at", seen.updated_at)?.or(context.triggered_at);
    let address = seen.default_address.as_ref();
    let person = Person {
        first_name: text(seen.first_name),
        last_name: text(seen.last_name),
        email: text(seen.email),
        phone: text(seen.phone),
        default_address: address.map(|address| address.0.clone()).filter(is_said),
        note: text(seen.note),
        tags: tags(seen.tags.as_ref()),
    };
    let profile = Profile {
        created_at: instant("created_at", seen.created_at)?,
        state: plain(seen.state.as_deref()),
        country: plain(address.and_then(|address| address.text("country_code")).as_deref()),
        region: plain(address.and_then(|address| address.text("province_code")).as_deref()),
        person: (person != Person::default()).then_some(Personal::Clear(person)),
    };
    let version = version(context, updated_at);
    let command = CustomerCommand::Observe { version, id: customer, profile: Box::new(profile) };
    Ok(vec![Command::Customer(customer, command)])
}

pub(super) fn deletion(context: &Context<'_>, body: &[u8]) -> Commands {
    let seen: WholeCustomerBody = parse(body)?;
    let customer = CustomerId(id("id", seen.id.as_ref())?);
    Ok(vec![Command::Customer(customer, CustomerCommand::ObserveDeletion { at: context.triggered_at })])
}

/// Both customers learn of it.
pub(super) fn merge(context: &Context<'_>, body: &[u8]) -> Commands {
    let seen: MergeBody = parse(body)?;
    let of = |field, number: Option<&Number>| id(field, number).map(CustomerId);
    let kept = of("admin_graphql_api_customer_kept_id", seen.admin_graphql_api_customer_kept_id.as_ref())?;
    let absorbed = of("admin_graphql_api_customer_deleted_id", seen.admin_graphql_api_customer_deleted_id.as_ref())?;
    let version = version(context, context.triggered_at);
    let status = plain(seen.status.as_deref()).ok_or(TranslateError::Missing("status"))?.to_lowercase();
    let told = |whom, other, role| {
        let merge = Merge { role, status: status.clone() };
        Command::Customer(whom, CustomerCommand::ObserveMerge { version, other, merge })
    };
    Ok(vec![told(kept, absorbed, MergeRole::Kept), told(absorbed, kept, MergeRole::Absorbed)])
}

pub(super) fn purchases(context: &Context<'_>, body: &[u8]) -> Commands {
    let seen: PurchasesBody = parse(body)?;
    let customer = CustomerId(id("customerId", seen.customer_id.as_ref())?);
    let version = version(context, instant("occurredAt", seen.occurred_at)?.or(context.triggered_at));
    let spent = seen.amount_spent.as_ref();
    let currency = match spent.and_then(|spent| spent.currency_code.as_deref()) {
        Some(code) => currency("amountSpent.currencyCode", code)?,
        None => context.currency,
    };
    let amount = spent.and_then(|spent| spent.amount.as_ref());
    let purchases = Purchases {
        orders: units("numberOfOrders", seen.number_of_orders.as_ref())?,
        spent_minor: amount.map(|amount| minor("amountSpent.amount", Some(amount), currency)).transpose()?,
        currency,
        last_order: seen.last_order_id.as_ref().and_then(Number::id).map(OrderId),
    };
    Ok(vec![Command::Customer(customer, CustomerCommand::ObservePurchases { version, purchases })])
}

/// A body may leave the id out and has it in its name all the same.
fn checkout_id(seen: &CheckoutBody) -> Result<CheckoutId, TranslateError> {
    let of_name = || seen.name.as_deref()?.strip_prefix('#')?.parse().ok();
    let number = seen.id.as_ref().and_then(Number::id).or_else(of_name);
    number.map(CheckoutId).ok_or(TranslateError::Missing("id"))
}

pub(super) fn checkout(context: &Context<'_>, body: &[u8]) -> Commands {
    let seen: CheckoutBody = parse(body)?;
    let checkout = checkout_id(&seen)?;
    let updated_at = instant("updated_at", seen.updated_at)?.or(context.triggered_at);
    let currency = match &seen.currency {
        Some(code) => currency("currency", code)?,
        None => context.currency,
    };
    let mut items = Vec::new();
    for line in seen.line_items.iter().flatten() {
        items.push(CheckoutItem {
            product_id: line.product_id.as_ref().and_then(Number::id).map(ProductId),
            variant_id: line.variant_id.as_ref().and_then(Number::id).map(VariantId),
            units: units("line_items.quantity", line.quantity.as_ref())?,
        });
    }
    let address = seen.shipping_address.as_ref().or(seen.billing_address.as_ref());
    let contacts = [&seen.email, &seen.phone, &seen.sms_marketing_phone];
    let value = Checkout {
        created_at: instant("created_at", seen.created_at)?,
        completed_at: instant("completed_at", seen.completed_at)?,
        currency,
        subtotal_minor: minor("subtotal_price", seen.subtotal_price.as_ref(), currency)?,
        total_minor: minor("total_price", seen.total_price.as_ref(), currency)?,
        customer_id: seen.customer.as_ref().and_then(|customer| customer.id.as_ref()?.id()).map(CustomerId),
        has_contact: contacts.into_iter().flatten().any(|contact| !contact.is_empty()),
        country: plain(address.and_then(|address| address.text("country_code")).as_deref()),
        items,
    };
    let command = DocumentCommand::Observe { version: version(context, updated_at), value };
    Ok(vec![Command::Checkout(checkout, command)])
}

pub(super) fn checkout_deletion(context: &Context<'_>, body: &[u8]) -> Commands {
    let checkout = checkout_id(&parse(body)?)?;
    Ok(vec![Command::Checkout(checkout, DocumentCommand::ObserveDeletion { at: context.triggered_at })])
}

pub(super) fn draft_order(context: &Context<'_>, body: &[u8]) -> Commands {
    let seen: DraftOrderBody = parse(body)?;
    let draft = DraftOrderId(id("id", seen.id.as_ref())?);
    let updated_at = instant("updated_at", seen.updated_at)?.or(context.triggered_at);
    let currency = match &seen.currency {
        Some(code) => currency("currency", code)?,
        None => context.currency,
    };
    let value = DraftOrder {
        status: plain(seen.status.as_deref()),
        created_at: instant("created_at", seen.created_at)?,
        completed_at: instant("completed_at", seen.completed_at)?,
        order_id: seen.order_id.as_ref().and_then(Number::id).map(OrderId),
        customer_id: seen.customer.as_ref().and_then(|customer| customer.id.as_ref()?.id()).map(CustomerId),
        currency,
        subtotal_minor: minor("subtotal_price", seen.subtotal_price.as_ref(), currency)?,
        total_minor: minor("total_price", seen.total_price.as_ref(), currency)?,
    };
    let command = DocumentCommand::Observe { version: version(context, updated_at), value };
    Ok(vec![Command::DraftOrder(draft, command)])
}

pub(super) fn draft_order_deletion(context: &Context<'_>, body: &[u8]) -> Commands {
    let seen: DraftOrderBody = parse(body)?;
    let draft = DraftOrderId(id("id", seen.id.as_ref())?);
    Ok(vec![Command::DraftOrder(draft, DocumentCommand::ObserveDeletion { at: context.triggered_at })])
}

/// Topic and shop headers are not signed: a request must name the shop of its header, and be of the shape of its topic.
pub(super) fn request(context: &Context<'_>, kind: ComplianceKind, body: &[u8]) -> Commands {
    let seen: ComplianceBody = parse(body)?;
    let domain = seen.shop_domain.as_deref().ok_or(TranslateError::Missing("shop_domain"))?;
    let shop = seen.shop_id.as_ref().and_then(Number::id).map(ShopifyShopId);
    let is_another = matches!((shop, context.shopify_id), (Some(seen), Some(known)) if seen != known);
    if is_another || !domain.eq_ignore_ascii_case(context.domain.as_str()) {
        return Err(TranslateError::OtherShop);
    }
    let own: &[&str] = match kind {
        ComplianceKind::CustomerData => &["customer", "data_request", "orders_requested", "shop_domain", "shop_id"],
        ComplianceKind::CustomerRedaction => &["customer", "orders_to_redact", "shop_domain", "shop_id"],
        ComplianceKind::ShopRedaction => &["shop_domain", "shop_id"],
    };
    let keys: BTreeMap<String, IgnoredAny> = parse(body)?;
    // What erases has exactly its own keys: nothing else is taken for it, whatever topic it came under.
    let is_of_topic = match kind {
        ComplianceKind::CustomerData => seen.customer.is_some() && keys.keys().all(|key| own.contains(&key.as_str())),
        _ => keys.keys().map(String::as_str).eq(own.iter().copied()),
    };
    if !is_of_topic {
        return Err(TranslateError::Shape("it is another request than its topic".to_owned()));
    }
    let customer = seen.customer.unwrap_or_default();
    let customer_id = customer.id.as_ref().and_then(Number::id).map(CustomerId);
    let contact = Contact { email: text(customer.email), phone: text(customer.phone) };
    let data_request = seen.data_request.as_ref().and_then(|request| request.id.as_ref()?.id());
    let orders = seen.orders_requested.or(seen.orders_to_redact).unwrap_or_default();
    let key = match (kind, data_request, customer_id) {
        (ComplianceKind::CustomerData, Some(number), _) => format!("data_request/{number}"),
        (ComplianceKind::CustomerData, None, _) => format!("data_request/{}", context.digest),
        (ComplianceKind::CustomerRedaction, _, Some(customer)) => format!("customer_redaction/{customer}"),
        (ComplianceKind::CustomerRedaction, _, None) => format!("customer_redaction/{}", context.digest),
        (ComplianceKind::ShopRedaction, ..) => "shop_redaction".to_owned(),
    };
    let value = ComplianceRequest {
        kind,
        received_at: context.received_at,
        data_request,
        customer_id,
        contact: (contact != Contact::default()).then_some(Personal::Clear(contact)),
        orders: orders.iter().filter_map(Number::id).map(OrderId).collect(),
    };
    let command = DocumentCommand::Observe { version: version(context, context.triggered_at), value };
    Ok(vec![Command::Compliance(key, command)])
}
