//! Agreements: the rows that Shopify itself booked. Where an order has them they are its sales, and what is derived from
//! the order's other parts only goes on from there: refunds that no agreement names, and edits or a cancellation after
//! the newest document that had agreements.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::{Amounts, Book, Dimensions, LineType, Provenance, Reason};
use crate::{
    ids::{LineId, ProductId, RefundId, ReturnId, ShippingLineId, VariantId},
    order::{AgreedLine, AgreedSale, Agreement, AgreementReason, Order, Refund, SaleAction},
};

/// What an order's agreements tell.
pub(super) struct Agreed {
    /// They tell all edits and cancellations up to here.
    until: DateTime<Utc>,
    refunds: BTreeSet<RefundId>,
    returns: BTreeSet<ReturnId>,
    /// What of each line is not given back yet.
    lines: BTreeMap<LineId, Amounts>,
    /// Likewise.
    shipping: BTreeMap<ShippingLineId, Amounts>,
}

impl Agreed {
    /// `None`: the order has no agreements.
    pub(super) fn of(order: &Order) -> Option<Self> {
        let until = order.agreed_until.filter(|_| !order.agreements.is_empty())?;
        let mut agreed = Self {
            until,
            refunds: BTreeSet::new(),
            returns: BTreeSet::new(),
            lines: BTreeMap::new(),
            shipping: BTreeMap::new(),
        };
        // An agreement need not say which shipping line it is about; where there is one, it is that one.
        let mut lines = order.shipping_lines.keys();
        let only_line = lines.next().filter(|_| lines.next().is_none());
        for agreement in order.agreements.values().map(|member| &member.value) {
            agreed.refunds.extend(agreement.refund_id);
            agreed.returns.extend(agreement.return_id);
            for sale in &agreement.sales {
                let (line_type, line) = line_of(sale);
                match (line, sale.line) {
                    (Some(id), _) => agreed.lines.entry(id).or_default().add(&amounts_of(sale, line_type)),
                    (None, AgreedLine::Shipping(id)) => {
                        if let Some(id) = id.or(only_line.copied()) {
                            agreed.shipping.entry(id).or_default().add(&amounts_of(sale, line_type));
                        }
                    }
                    (None, _) => {}
                }
            }
        }
        Some(agreed)
    }

    /// Whether all of a refund is booked: by itself, or with the return that it pays.
    pub(super) fn names(&self, id: RefundId, refund: &Refund) -> bool {
        self.refunds.contains(&id) || (self.books_goods_of(refund) && self.covers(refund.at))
    }

    /// Whether the goods of a refund are booked with the return that it pays. What it gives back besides, once no document
    /// can have told of it, is not.
    pub(super) fn books_goods_of(&self, refund: &Refund) -> bool {
        refund.return_id.is_some_and(|id| self.returns.contains(&id))
    }

    /// Whether a row that was derived counts beside them.
    pub(super) fn leaves(&self, reason: Reason, at: DateTime<Utc>) -> bool {
        match reason {
            Reason::Order | Reason::Unknown => false,
            Reason::OrderEdit | Reason::Cancel => at > self.until,
            Reason::Return | Reason::Refund => true,
        }
    }

    /// Whether they tell what had happened at an instant.
    pub(super) fn covers(&self, at: DateTime<Utc>) -> bool {
        at <= self.until
    }

    pub(super) fn line(&self, id: LineId) -> Option<&Amounts> {
        self.lines.get(&id)
    }

    pub(super) fn shipping(&self, id: ShippingLineId) -> Option<&Amounts> {
        self.shipping.get(&id)
    }
}

/// Their rows.
pub(super) fn enter(book: &mut Book<'_>) {
    let agreements = &book.order.agreements;
    let first = agreements.iter().min_by_key(|(id, member)| (member.value.at, **id)).map(|(id, _)| *id);
    for (id, member) in agreements {
        let Agreement { at, sales, .. } = &member.value;
        let reason = reason_of(member.value.reason);
        for sale in sales {
            let (line_type, line_id) = line_of(sale);
            let row = Dimensions {
                line_id,
                product_id: sale.product_id,
                variant_id: sale.variant_id,
                is_initial: first == Some(*id) && sale.action == SaleAction::Order,
                is_reversal: sale.action == SaleAction::Return || line_type == LineType::Adjustment,
                provenance: Provenance::Agreement,
                ..book.row(format!("agreement/{id}/{}", sale.id), *at, reason, line_type)
            };
            let amounts = amounts_of(sale, line_type);
            if !amounts.is_zero() {
                book.sales.entry(row).or_default().add(&amounts);
            }
        }
    }
}

/// A cancellation that the agreements do not know yet gives back what is left of everything, as A-11 has it.
pub(super) fn enter_cancellation(book: &mut Book<'_>) {
    let (Some(agreed), Some(at)) = (&book.agreed, book.order.status.cancelled_at) else { return };
    if agreed.covers(at) {
        return;
    }
    // What a line's rows say of its product may differ: a product is deleted, a document does not ask for it.
    type Product = (Option<ProductId>, Option<VariantId>);
    let mut left: BTreeMap<_, (Amounts, Product)> = BTreeMap::new();
    for (row, amounts) in &book.sales {
        if !matches!(row.line_type, LineType::Adjustment | LineType::Fee | LineType::Unknown) {
            let (sum, product) = left.entry((row.line_type, row.line_id)).or_default();
            sum.add(amounts);
            *product = (*product).max((row.product_id, row.variant_id));
        }
    }
    for ((line_type, line_id), (left, (product_id, variant_id))) in left {
        let key = match line_id {
            Some(id) => format!("line/{id}/cancel"),
            None => format!("{}/cancel", line_type.as_str()),
        };
        let row = Dimensions { line_id, product_id, variant_id, ..book.row(key, at, Reason::Cancel, line_type) };
        let net = left.net_minor.max(0);
        let gross = left.gross_minor.max(net);
        let amounts = Amounts {
            units: -left.units.max(0),
            gross_minor: -gross,
            discount_minor: -(gross - net),
            net_minor: -net,
            tax_minor: -left.tax_minor.max(0),
            ..Amounts::default()
        };
        book.enter(row, amounts);
    }
}

fn reason_of(reason: AgreementReason) -> Reason {
    match reason {
        AgreementReason::Order => Reason::Order,
        AgreementReason::OrderEdit => Reason::OrderEdit,
        AgreementReason::Refund => Reason::Refund,
        AgreementReason::Return => Reason::Return,
        AgreementReason::Unknown => Reason::Unknown,
    }
}

/// A row of which this build does not know what was done is of no known type either: it counts in total sales alone.
fn line_of(sale: &AgreedSale) -> (LineType, Option<LineId>) {
    match sale.line {
        _ if sale.action == SaleAction::Unknown => (LineType::Unknown, None),
        AgreedLine::Product(id) => (LineType::Product, Some(id)),
        AgreedLine::GiftCard(id) => (LineType::GiftCard, Some(id)),
        AgreedLine::Tip(id) => (LineType::Tip, Some(id)),
        AgreedLine::Shipping(_) => (LineType::Shipping, None),
        AgreedLine::Duty => (LineType::Duty, None),
        AgreedLine::AdditionalFee => (LineType::AdditionalFee, None),
        AgreedLine::Fee => (LineType::Fee, None),
        AgreedLine::Adjustment => (LineType::Adjustment, None),
        AgreedLine::Unknown => (LineType::Unknown, None),
    }
}

fn amounts_of(sale: &AgreedSale, line_type: LineType) -> Amounts {
    let net = sale.total_minor - sale.tax_minor;
    let has_units = matches!(line_type, LineType::Product | LineType::GiftCard | LineType::Tip);
    Amounts {
        units: if has_units && sale.action != SaleAction::Update { sale.units } else { 0 },
        gross_minor: net + sale.discount_minor,
        discount_minor: sale.discount_minor,
        net_minor: net,
        tax_minor: sale.tax_minor,
        ..Amounts::default()
    }
}
