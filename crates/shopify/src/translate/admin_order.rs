//! Orders as documents of the Admin API, with their sales agreements.

use std::collections::BTreeSet;

use domain::{
    Command, Currency,
    ids::{AgreementId, LineId, ProductId, RefundId, ReturnId, SaleId, ShippingLineId, VariantId},
    order::{AgreedLine, AgreedSale, Agreement, AgreementReason, OrderCommand, SaleAction},
};

use super::{
    Context, TranslateError, bounds, order, parse,
    values::{currency, id, instant, minor, signed_units},
};
use crate::payload::{AgreementNode, MoneySet, Number, OrderNode, SaleNode, shop_amount};

/// A document must say what a webhook always says: one that leaves it out was asked for with too little, and as the newest
/// body it would take back what is known.
pub(super) fn document(context: &Context<'_>, body: &[u8]) -> Result<Vec<Command>, TranslateError> {
    let mut node: OrderNode = parse(body)?;
    let is_order = node.id.as_ref().is_some_and(|id| id.0.starts_with("gid://shopify/Order/"));
    let lines = node.line_items.as_ref().map_or(&[][..], |lines| &lines.nodes);
    let refunds = node.refunds.as_ref().map_or(&[][..], |refunds| &refunds.nodes);
    for (is_there, field) in [
        (is_order, "id"),
        (node.updated_at.is_some(), "updatedAt"),
        (node.created_at.or(node.processed_at).is_some(), "createdAt"),
        (node.currency_code.is_some(), "currencyCode"),
        (node.taxes_included.is_some(), "taxesIncluded"),
        (node.test.is_some(), "test"),
        (node.cancelled_at.is_some(), "cancelledAt"),
        (node.line_items.is_some(), "lineItems"),
        (lines.iter().all(|line| line.quantity.is_some()), "lineItems.quantity"),
        (lines.iter().all(|line| line.original_unit_price_set.is_some()), "lineItems.originalUnitPriceSet"),
        (node.shipping_lines.is_some(), "shippingLines"),
        (node.refunds.is_some(), "refunds"),
        (refunds.iter().all(|refund| refund.r#return.is_some()), "refunds.return"),
        (refunds.iter().all(|refund| refund.refund_line_items.is_some()), "refunds.refundLineItems"),
        (node.agreements.is_some(), "agreements"),
    ] {
        if !is_there {
            return Err(TranslateError::Missing(field));
        }
    }
    if node.is_cut() {
        return Err(TranslateError::Shape("a connection was cut off: its `pageInfo.hasNextPage` is true".into()));
    }
    let currency = currency("currencyCode", node.currency_code.as_deref().unwrap_or_default())?;
    let agreements = node.agreements.take().unwrap_or_default().nodes;
    let agreements = agreements.iter().map(|node| agreement(node, currency)).collect::<Result<Vec<_>, _>>()?;
    only_once("agreements", agreements.iter().map(|(id, _)| id.0))?;
    bounds::agreements(&agreements)?;

    let sales = agreements.iter().flat_map(|(_, agreement)| &agreement.sales);
    let tips: BTreeSet<u64> = sales
        .filter_map(|sale| match sale.line {
            AgreedLine::Tip(id) => Some(id.0),
            _ => None,
        })
        .collect();
    let is_tip = |id: &Number| id.id().is_some_and(|id| tips.contains(&id));
    let mut observed = order::observed(context, node.into_body(is_tip))?;
    observed.agreements = agreements;
    Ok(vec![Command::Order(observed.order_id, OrderCommand::Observe(Box::new(observed)))])
}

fn agreement(node: &AgreementNode, currency: Currency) -> Result<(AgreementId, Agreement), TranslateError> {
    let sales = node.sales.as_ref().ok_or(TranslateError::Missing("agreements.sales"))?;
    let sales = sales.nodes.iter().map(|node| sale(node, currency)).collect::<Result<Vec<_>, _>>()?;
    only_once("agreements.sales", sales.iter().map(|sale| sale.id.0))?;
    let number = |id: Option<&Number>| id.and_then(Number::id);
    let refund_id = number(node.refund.as_ref().and_then(|node| node.id.as_ref())).map(RefundId);
    let return_id = number(node.r#return.as_ref().and_then(|node| node.id.as_ref())).map(ReturnId);
    // Without it, what it books would be derived once more.
    match node.reason.as_deref() {
        Some("REFUND") if refund_id.is_none() => return Err(TranslateError::Missing("agreements.refund.id")),
        Some("RETURN") if return_id.is_none() && refund_id.is_none() => {
            return Err(TranslateError::Missing("agreements.return.id"));
        }
        _ => {}
    }
    let agreement = Agreement {
        at: instant("agreements.happenedAt", node.happened_at)?
            .ok_or(TranslateError::Missing("agreements.happenedAt"))?,
        reason: match node.reason.as_deref() {
            Some("ORDER") => AgreementReason::Order,
            Some("ORDER_EDIT") => AgreementReason::OrderEdit,
            Some("REFUND") => AgreementReason::Refund,
            Some("RETURN") => AgreementReason::Return,
            _ => AgreementReason::Unknown,
        },
        refund_id,
        return_id,
        sales,
    };
    Ok((AgreementId(id("agreements.id", node.id.as_ref())?), agreement))
}

fn sale(node: &SaleNode, currency: Currency) -> Result<AgreedSale, TranslateError> {
    let action = match node.action_type.as_deref() {
        Some("ORDER") => SaleAction::Order,
        Some("RETURN") => SaleAction::Return,
        Some("UPDATE") => SaleAction::Update,
        _ => SaleAction::Unknown,
    };
    let of_line = |made: fn(LineId) -> AgreedLine| {
        let line = node.line_item.as_ref().and_then(|node| node.id.as_ref());
        Ok::<_, TranslateError>(made(LineId(id("agreements.sales.lineItem.id", line)?)))
    };
    let line = match node.line_type.as_deref() {
        Some("PRODUCT") => of_line(AgreedLine::Product)?,
        Some("GIFT_CARD") => of_line(AgreedLine::GiftCard)?,
        Some("TIP") => of_line(AgreedLine::Tip)?,
        Some("SHIPPING") => {
            let line = node.shipping_line.as_ref().and_then(|node| node.id.as_ref()?.id());
            AgreedLine::Shipping(line.map(ShippingLineId))
        }
        Some("DUTY") => AgreedLine::Duty,
        Some("ADDITIONAL_FEE") => AgreedLine::AdditionalFee,
        Some("FEE") => AgreedLine::Fee,
        Some("ADJUSTMENT") => AgreedLine::Adjustment,
        _ => AgreedLine::Unknown,
    };
    let amount = |field, set: Option<&MoneySet>| {
        let amount = shop_amount(set, None).ok_or(TranslateError::Missing(field))?;
        minor(field, Some(amount), currency)
    };
    let sold = node.line_item.as_ref();
    let number = |id: Option<&Number>| id.and_then(Number::id);
    let sale = AgreedSale {
        id: SaleId(id("agreements.sales.id", node.id.as_ref())?),
        action,
        line,
        product_id: number(sold.and_then(|node| node.product.as_ref()?.id.as_ref())).map(ProductId),
        variant_id: number(sold.and_then(|node| node.variant.as_ref()?.id.as_ref())).map(VariantId),
        units: match &node.quantity {
            Some(number) => signed_units("agreements.sales.quantity", number)?,
            None => 0,
        },
        total_minor: amount("agreements.sales.totalAmount", node.total_amount.as_ref())?,
        tax_minor: amount("agreements.sales.totalTaxAmount", node.total_tax_amount.as_ref())?,
        discount_minor: amount(
            "agreements.sales.totalDiscountAmountBeforeTaxes",
            node.total_discount_amount_before_taxes.as_ref(),
        )?,
    };
    Ok(signed(sale))
}

/// Shopify's documents do not say which of a reversal's amounts carry a sign. Whatever they do, what is given back is
/// negative in all its parts, and the discount on it takes the same sign; nothing is negated twice.
fn signed(mut sale: AgreedSale) -> AgreedSale {
    let is_about_goods = !matches!(sale.line, AgreedLine::Adjustment | AgreedLine::Fee | AgreedLine::Unknown);
    if sale.action == SaleAction::Return && is_about_goods {
        sale.units = -sale.units.abs();
        sale.total_minor = -sale.total_minor.abs();
        sale.tax_minor = -sale.tax_minor.abs();
        sale.discount_minor = -sale.discount_minor.abs();
    }
    sale
}

/// A second one of the same id would be lost.
fn only_once(what: &str, ids: impl Iterator<Item = u64>) -> Result<(), TranslateError> {
    let mut met = BTreeSet::new();
    for id in ids {
        if !met.insert(id) {
            return Err(TranslateError::Shape(format!("two of `{what}` have one id")));
        }
    }
    Ok(())
}
