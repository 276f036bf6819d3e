//! Orders, refunds, edits and deletions.

use std::collections::BTreeMap;

use domain::{
    Command, Currency, Personal,
    ids::{
        CustomerId, EditId, FulfillmentId, LineId, LocationId, OrderId, ProductId, RefundId, ReturnId, RowId,
        ShippingLineId, TransactionId, VariantId,
    },
    order::{
        Adjustment, AdjustmentKind, Buyer, Discount, Edit, Fulfillment, Line, LineKind, LineText, ObservedOrder,
        OrderCommand, Refund, RefundLine, RefundShipping, Restock, Return, ShippingLine, Status, Terms, Transaction,
    },
};

use super::{
    Context, TranslateError, bounds, parse,
    values::{
        allocations, currency, id, instant, is_said, minor, names_a_person, plain, tags, taxes, text, units, utm,
    },
    version,
};
use crate::payload::{
    AddressBody, AdjustmentBody, DiscountBody, EditedLines, FulfillmentBody, LineBody, Number, OrderBody, OrderEdited,
    RefundBody, RefundLineBody, RefundShippingBody, ReturnBody, ShippingLineBody, TransactionBody, shop_amount,
};

pub(super) fn snapshot(context: &Context<'_>, body: &[u8]) -> Result<Vec<Command>, TranslateError> {
    let observed = observed(context, parse(body)?)?;
    Ok(vec![Command::Order(observed.order_id, OrderCommand::Observe(Box::new(observed)))])
}

/// What a whole order says; `body` is what it was read from.
pub(super) fn observed(context: &Context<'_>, order: OrderBody) -> Result<ObservedOrder, TranslateError> {
    let order_id = OrderId(id("id", order.id.as_ref())?);
    let currency = match &order.currency {
        Some(code) => currency("currency", code)?,
        None => context.currency,
    };
    let paid_in = order.presentment_currency.as_deref().and_then(|code| code.parse().ok()).unwrap_or(currency);
    let mut transactions = each(order.transactions.as_deref(), |body| transaction(body, paid_in))?;
    for refund in order.refunds.iter().flatten() {
        transactions.extend(each(refund.transactions.as_deref(), |body| transaction(body, paid_in))?);
    }
    let observed = ObservedOrder {
        order_id,
        version: version(context, instant("updated_at", order.updated_at)?),
        terms: terms(&order, currency)?,
        status: Status {
            financial: plain(order.financial_status.as_deref()),
            fulfillment: plain(order.fulfillment_status.as_deref()),
            cancelled_at: instant("cancelled_at", order.cancelled_at)?,
            cancel_reason: plain(order.cancel_reason.as_deref()),
            closed_at: instant("closed_at", order.closed_at)?,
        },
        customer: order.customer.as_ref().and_then(|customer| customer.id.as_ref()?.id()).map(CustomerId),
        lines: each(order.line_items, |body| line(body, currency))?,
        shipping_lines: numbered(order.shipping_lines, |row, body| shipping_line(row, body, currency))?,
        refunds: each(order.refunds, |body| refund_of(body, currency))?,
        returns: each(order.returns, |body| return_of(&body, currency))?,
        fulfillments: each(order.fulfillments, |body| fulfillment(&body))?,
        transactions,
        agreements: Vec::new(),
    };
    bounds::order(&observed)?;
    Ok(observed)
}

pub(super) fn edit(context: &Context<'_>, body: &[u8]) -> Result<Vec<Command>, TranslateError> {
    let OrderEdited { order_edit: edit } = parse(body)?;
    let order_id = OrderId(id("order_edit.order_id", edit.order_id.as_ref())?);
    let edit_id = EditId(id("order_edit.id", edit.id.as_ref())?);
    let at = instant("order_edit.committed_at", edit.committed_at.or(edit.created_at))?
        .ok_or(TranslateError::Missing("order_edit.committed_at"))?;
    let lines = edit.line_items.unwrap_or_default();
    let shipping = edit.shipping_lines.unwrap_or_default();
    let command = OrderCommand::ObserveEdit {
        version: version(context, Some(at)),
        order_id,
        id: edit_id,
        edit: Edit {
            at,
            shipping_additions: shipping_ids(&shipping, |lines| lines.additions.as_deref()),
            shipping_removals: shipping_ids(&shipping, |lines| lines.removals.as_deref()),
            additions: deltas(lines.additions.as_deref())?,
            removals: deltas(lines.removals.as_deref())?,
            note: text(edit.staff_note).map(Personal::Clear),
        },
    };
    Ok(vec![Command::Order(order_id, command)])
}

pub(super) fn deletion(context: &Context<'_>, body: &[u8]) -> Result<Vec<Command>, TranslateError> {
    let order: OrderBody = parse(body)?;
    let order_id = OrderId(id("id", order.id.as_ref())?);
    Ok(vec![Command::Order(order_id, OrderCommand::ObserveDeletion { at: context.triggered_at })])
}

pub(super) fn refund(context: &Context<'_>, body: &[u8]) -> Result<Vec<Command>, TranslateError> {
    let refund: RefundBody = parse(body)?;
    let order_id = OrderId(id("order_id", refund.order_id.as_ref())?);
    let version = version(context, refund.created_at.or(refund.processed_at));
    let currency = currency_of(&refund, context.currency)?;
    let payments = each(refund.transactions.as_deref(), |body| transaction(body, context.currency))?;
    let (id, refund) = refund_of(refund, currency)?;
    bounds::refund(&refund)?;
    let refund = OrderCommand::ObserveRefund { version, order_id, id, refund };
    let payments =
        payments.into_iter().map(|(id, transaction)| OrderCommand::ObserveTransaction { version, id, transaction });
    Ok(std::iter::once(refund).chain(payments).map(|command| Command::Order(order_id, command)).collect())
}

/// A fulfilment on its own.
pub(super) fn parcel(context: &Context<'_>, body: &[u8]) -> Result<Vec<Command>, TranslateError> {
    let seen: FulfillmentBody = parse(body)?;
    let order_id = OrderId(id("order_id", seen.order_id.as_ref())?);
    let updated_at = instant("updated_at", seen.updated_at)?.or(context.triggered_at);
    let (id, fulfillment) = fulfillment(&seen)?;
    let command = OrderCommand::ObserveFulfillment { version: version(context, updated_at), id, fulfillment };
    Ok(vec![Command::Order(order_id, command)])
}

/// A transaction on its own. It has no `updated_at`: which of two is the newer is said by the delivery.
pub(super) fn payment(context: &Context<'_>, body: &[u8]) -> Result<Vec<Command>, TranslateError> {
    let seen: TransactionBody = parse(body)?;
    let order_id = OrderId(id("order_id", seen.order_id.as_ref())?);
    let (id, transaction) = transaction(&seen, context.currency)?;
    let updated_at = context.triggered_at.or(transaction.at);
    let command = OrderCommand::ObserveTransaction { version: version(context, updated_at), id, transaction };
    Ok(vec![Command::Order(order_id, command)])
}

/// A return on its own. It has no time at all but the delivery's.
pub(super) fn returned(context: &Context<'_>, body: &[u8]) -> Result<Vec<Command>, TranslateError> {
    let seen: ReturnBody = parse(body)?;
    let order = seen.order_id.as_ref().or(seen.order.as_ref().and_then(|order| order.id.as_ref()));
    let order_id = OrderId(id("order.id", order)?);
    let version = version(context, context.triggered_at);
    let (id, seen) = return_of(&seen, context.currency)?;
    Ok(vec![Command::Order(order_id, OrderCommand::ObserveReturn { version, id, seen })])
}

fn each<B, T>(
    bodies: Option<impl IntoIterator<Item = B>>,
    read: impl Fn(B) -> Result<T, TranslateError>,
) -> Result<Vec<T>, TranslateError> {
    bodies.into_iter().flatten().map(read).collect()
}

fn terms(order: &OrderBody, currency: Currency) -> Result<Terms, TranslateError> {
    let address = order.shipping_address.as_ref().or(order.billing_address.as_ref());
    let set = |field, set| -> Result<Option<i64>, TranslateError> {
        let amount: Option<&Number> = shop_amount(set, None);
        amount.map(|amount| minor(field, Some(amount), currency)).transpose()
    };
    let total_price = shop_amount(order.total_price_set.as_ref(), order.total_price.as_ref());
    Ok(Terms {
        name: plain(order.name.as_deref()),
        created_at: instant("created_at", order.created_at)?,
        processed_at: instant("processed_at", order.processed_at)?,
        currency,
        presentment_currency: order.presentment_currency.as_deref().and_then(|code| code.parse().ok()),
        taxes_included: order.taxes_included.unwrap_or(false),
        test: order.test.unwrap_or(false),
        source_name: plain(order.source_name.as_deref()),
        country: plain(address.and_then(|address| address.text("country_code")).as_deref()),
        region: plain(address.and_then(|address| address.text("province_code")).as_deref()),
        duties: set("original_total_duties_set", order.original_total_duties_set.as_ref())?,
        additional_fees: set("original_total_additional_fees_set", order.original_total_additional_fees_set.as_ref())?,
        tip: minor("total_tip_received", order.total_tip_received.as_ref(), currency)?,
        total_price: minor("total_price", total_price, currency)?,
        utm: utm(order.landing_site.as_deref()),
        discounts: order.discount_applications.iter().flatten().map(discount).collect(),
        buyer: buyer(order).map(Personal::Clear),
    })
}

fn discount(body: &DiscountBody) -> Discount {
    let kind = body.r#type.clone().unwrap_or_default();
    let label = text(body.code.clone()).or(text(body.title.clone())).or(text(body.description.clone()));
    let (personal, plain): (Vec<_>, Vec<_>) =
        label.into_iter().partition(|label| kind == "manual" || names_a_person(label));
    Discount { kind, label: plain.into_iter().next(), personal_label: personal.into_iter().next().map(Personal::Clear) }
}

fn buyer(order: &OrderBody) -> Option<Buyer> {
    let customer = order.customer.as_ref();
    let names = customer.map(|customer| [customer.first_name.clone(), customer.last_name.clone()]);
    let names: Vec<String> = names.into_iter().flatten().flatten().filter(|name| !name.is_empty()).collect();
    let name = if names.is_empty() { None } else { Some(names.join(" ")) };
    let any_address = || order.shipping_address.as_ref().or(order.billing_address.as_ref());
    let of_customer = |get: fn(&crate::payload::CustomerBody) -> Option<String>| customer.and_then(get);
    let whole = |address: &Option<AddressBody>| address.as_ref().map(|body| body.0.clone()).filter(is_said);
    let buyer = Buyer {
        name: name.or_else(|| any_address()?.text("name")),
        email: text(order.email.clone())
            .or(text(order.contact_email.clone()))
            .or_else(|| text(of_customer(|customer| customer.email.clone()))),
        phone: text(order.phone.clone()).or_else(|| text(of_customer(|customer| customer.phone.clone()))),
        shipping_address: whole(&order.shipping_address),
        billing_address: whole(&order.billing_address),
        ip: text(order.browser_ip.clone()),
        note: text(order.note.clone()),
        note_attributes: order.note_attributes.clone().filter(is_said),
        tags: tags(order.tags.as_ref()),
    };
    (buyer != Buyer::default()).then_some(buyer)
}

fn line(body: LineBody, currency: Currency) -> Result<(LineId, Line), TranslateError> {
    let price = shop_amount(body.price_set.as_ref(), body.price.as_ref());
    let price_minor = minor("line_items.price", price, currency)?;
    let quantity = units("line_items.quantity", body.quantity.as_ref())?;
    let kind = match (body.tip_payment_gateway.0, body.gift_card) {
        (true, _) => LineKind::Tip,
        (false, Some(true)) => LineKind::GiftCard,
        (false, _) => LineKind::Product,
    };
    let mut duties_minor = 0_i64;
    for duty in body.duties.iter().flatten() {
        let amount = shop_amount(duty.price_set.as_ref().or(duty.amount_set.as_ref()), duty.price.as_ref());
        duties_minor = duties_minor.saturating_add(minor("line_items.duties", amount, currency)?);
    }
    let properties = body.properties.filter(|value| value.as_array().is_none_or(|items| !items.is_empty()));
    let line = Line {
        kind,
        product_id: body.product_id.as_ref().and_then(Number::id).map(ProductId),
        variant_id: body.variant_id.as_ref().and_then(Number::id).map(VariantId),
        price_minor,
        quantity,
        // Bodies from before 2022 do not have it: nothing is taken off them.
        current_quantity: match &body.current_quantity {
            Some(number) => units("line_items.current_quantity", Some(number))?,
            None => quantity,
        },
        allocations: allocations(body.discount_allocations.as_ref(), currency)?,
        taxes: taxes(body.tax_lines.as_ref(), currency)?,
        duties_minor,
        text: Personal::Clear(LineText {
            title: body.title.unwrap_or_default(),
            variant_title: text(body.variant_title),
            vendor: text(body.vendor),
            sku: text(body.sku),
        }),
        properties: properties.filter(|value| !value.is_null()).map(Personal::Clear),
    };
    Ok((LineId(id("line_items.id", body.id.as_ref())?), line))
}

/// Old bodies number no shipping lines.
fn shipping_line(
    row: u64,
    body: ShippingLineBody,
    currency: Currency,
) -> Result<(ShippingLineId, ShippingLine), TranslateError> {
    let price = shop_amount(body.price_set.as_ref(), body.price.as_ref());
    let line = ShippingLine {
        price_minor: minor("shipping_lines.price", price, currency)?,
        allocations: allocations(body.discount_allocations.as_ref(), currency)?,
        taxes: taxes(body.tax_lines.as_ref(), currency)?,
        removed: body.is_removed.unwrap_or(false),
    };
    Ok((ShippingLineId(body.id.as_ref().and_then(Number::id).unwrap_or(row)), line))
}

fn return_of(body: &ReturnBody, currency: Currency) -> Result<(ReturnId, Return), TranslateError> {
    let mut fees_minor = None;
    for fee in body.return_shipping_fees.iter().flatten() {
        let amount = minor("returns.return_shipping_fees", shop_amount(fee.price.as_ref(), None), currency)?;
        fees_minor = Some(fees_minor.unwrap_or(0_i64).saturating_add(amount));
    }
    // An empty list says that there are none; a body without the list says nothing.
    let fees_minor = fees_minor.or(body.return_shipping_fees.as_ref().map(|_| 0));
    let status = plain(body.status.as_deref());
    Ok((ReturnId(id("returns.id", body.id.as_ref())?), Return { status, fees_minor }))
}

fn fulfillment(body: &FulfillmentBody) -> Result<(FulfillmentId, Fulfillment), TranslateError> {
    let mut in_it = BTreeMap::new();
    for line in body.line_items.iter().flatten() {
        let line_id = LineId(id("fulfillments.line_items.id", line.id.as_ref())?);
        *in_it.entry(line_id).or_insert(0) += units("fulfillments.line_items.quantity", line.quantity.as_ref())?;
    }
    let fulfillment = Fulfillment {
        status: plain(body.status.as_deref()),
        shipment_status: plain(body.shipment_status.as_deref()),
        created_at: instant("fulfillments.created_at", body.created_at)?,
        location_id: body.location_id.as_ref().and_then(Number::id).map(LocationId),
        carrier: plain(body.tracking_company.as_deref()),
        units: in_it,
    };
    Ok((FulfillmentId(id("fulfillments.id", body.id.as_ref())?), fulfillment))
}

/// Payments are no sales: an amount that cannot be read is left out, and the order stands.
fn transaction(body: &TransactionBody, otherwise: Currency) -> Result<(TransactionId, Transaction), TranslateError> {
    let currency = body.currency.as_deref().and_then(|code| code.parse().ok()).unwrap_or(otherwise);
    let amount = body.amount.as_ref();
    let transaction = Transaction {
        kind: plain(body.kind.as_deref()),
        status: plain(body.status.as_deref()),
        gateway: plain(body.gateway.as_deref()),
        at: instant("transactions.processed_at", body.processed_at.or(body.created_at))?,
        amount_minor: amount.and_then(|amount| minor("transactions.amount", Some(amount), currency).ok()),
        currency,
        parent_id: body.parent_id.as_ref().and_then(Number::id).map(TransactionId),
        test: body.test.unwrap_or(false),
    };
    Ok((TransactionId(id("transactions.id", body.id.as_ref())?), transaction))
}

/// A refund on its own names its currency in its sets only.
fn currency_of(refund: &RefundBody, otherwise: Currency) -> Result<Currency, TranslateError> {
    let lines = refund.refund_line_items.iter().flatten().filter_map(|line| line.subtotal_set.as_ref());
    let shipping = refund.refund_shipping_lines.iter().flatten().filter_map(|line| line.subtotal_amount_set.as_ref());
    let adjustments = refund.order_adjustments.iter().flatten().filter_map(|line| line.amount_set.as_ref());
    let totals = refund.total_duties_set.iter().chain(&refund.total_additional_fees_set);
    let mut sets = lines.chain(shipping).chain(adjustments).chain(totals);
    match sets.find_map(|set| set.currency()) {
        Some(code) => currency("refund currency", code),
        None => Ok(otherwise),
    }
}

fn refund_of(body: RefundBody, currency: Currency) -> Result<(RefundId, Refund), TranslateError> {
    let refund = Refund {
        at: instant("refund.processed_at", body.processed_at.or(body.created_at))?
            .ok_or(TranslateError::Missing("refund.processed_at"))?,
        return_id: body.r#return.and_then(|body| body.id?.id()).map(ReturnId),
        lines: numbered(body.refund_line_items, |row, body| refund_line(row, &body, currency))?,
        shipping: numbered(body.refund_shipping_lines, |row, body| refund_shipping(row, &body, currency))?,
        adjustments: numbered(body.order_adjustments, |row, body| adjustment(row, &body, currency))?,
        duties_minor: match shop_amount(body.total_duties_set.as_ref(), None) {
            Some(total) => minor("total_duties_set", Some(total), currency)?,
            None => {
                let duties = body.duties.iter().flatten();
                let mut amounts =
                    duties.map(|duty| minor("refunds.duties", shop_amount(duty.amount_set.as_ref(), None), currency));
                amounts.try_fold(0_i64, |sum, amount| Ok::<_, TranslateError>(sum.saturating_add(amount?)))?
            }
        },
        additional_fees_minor: match shop_amount(body.total_additional_fees_set.as_ref(), None) {
            Some(total) => minor("total_additional_fees_set", Some(total), currency)?,
            None => 0,
        },
        note: text(body.note).map(Personal::Clear),
    };
    Ok((RefundId(id("refund.id", body.id.as_ref())?), refund))
}

/// Rows without an id of their own are told apart by their place.
fn numbered<B, T>(
    bodies: Option<Vec<B>>,
    read: impl Fn(u64, B) -> Result<T, TranslateError>,
) -> Result<Vec<T>, TranslateError> {
    bodies.unwrap_or_default().into_iter().zip(1..).map(|(body, row)| read(row, body)).collect()
}

fn refund_line(row: u64, body: &RefundLineBody, currency: Currency) -> Result<RefundLine, TranslateError> {
    let subtotal = shop_amount(body.subtotal_set.as_ref(), body.subtotal.as_ref());
    let tax = shop_amount(body.total_tax_set.as_ref(), body.total_tax.as_ref());
    Ok(RefundLine {
        id: RowId(body.id.as_ref().and_then(Number::id).unwrap_or(row)),
        line_id: LineId(id("refund_line_items.line_item_id", body.line_item_id.as_ref())?),
        units: units("refund_line_items.quantity", body.quantity.as_ref())?,
        restock: match body.restock_type.as_deref() {
            Some("return") => Restock::Return,
            Some("cancel") => Restock::Cancel,
            Some("no_restock") => Restock::NoRestock,
            Some("legacy_restock") => Restock::LegacyRestock,
            _ => Restock::Other,
        },
        subtotal_minor: minor("refund_line_items.subtotal", subtotal, currency)?,
        tax_minor: minor("refund_line_items.total_tax", tax, currency)?,
    })
}

fn refund_shipping(row: u64, body: &RefundShippingBody, currency: Currency) -> Result<RefundShipping, TranslateError> {
    let line = body.shipping_line_id.as_ref().or(body.shipping_line.as_ref().and_then(|line| line.id.as_ref()));
    let amount = shop_amount(body.subtotal_amount_set.as_ref(), None);
    Ok(RefundShipping {
        id: RowId(body.id.as_ref().and_then(Number::id).unwrap_or(row)),
        shipping_line_id: line.and_then(Number::id).map(ShippingLineId),
        amount_minor: minor("refund_shipping_lines.subtotal_amount_set", amount, currency)?,
    })
}

fn adjustment(row: u64, body: &AdjustmentBody, currency: Currency) -> Result<Adjustment, TranslateError> {
    let amount = shop_amount(body.amount_set.as_ref(), body.amount.as_ref());
    let tax = shop_amount(body.tax_amount_set.as_ref(), body.tax_amount.as_ref());
    let is_shipping = body.kind.as_deref().is_some_and(|kind| kind.eq_ignore_ascii_case("shipping_refund"));
    Ok(Adjustment {
        id: RowId(body.id.as_ref().and_then(Number::id).unwrap_or(row)),
        kind: if is_shipping { AdjustmentKind::ShippingRefund } else { AdjustmentKind::Discrepancy },
        amount_minor: minor("order_adjustments.amount", amount, currency)?,
        tax_minor: minor("order_adjustments.tax_amount", tax, currency)?,
    })
}

fn deltas(bodies: Option<&[crate::payload::DeltaBody]>) -> Result<BTreeMap<LineId, i64>, TranslateError> {
    let mut deltas = BTreeMap::new();
    for body in bodies.unwrap_or_default() {
        let line = LineId(id("order_edit.line_items.id", body.id.as_ref())?);
        *deltas.entry(line).or_insert(0) += units("order_edit.line_items.delta", body.delta.as_ref())?;
    }
    Ok(deltas)
}

type Deltas = [crate::payload::DeltaBody];

fn shipping_ids(lines: &EditedLines, side: impl Fn(&EditedLines) -> Option<&Deltas>) -> Vec<ShippingLineId> {
    let side = side(lines).unwrap_or_default();
    side.iter().filter_map(|body| body.id.as_ref()?.id()).map(ShippingLineId).collect()
}
