//! A sample of every event: its stored bytes never change, whatever becomes of the types.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::{
    Adjustment, AdjustmentKind, AgreedLine, AgreedSale, Agreement, AgreementReason, Allocation, Discount, Edit,
    Fulfillment, Line, LineKind, OrderEvent, Refund, RefundLine, RefundShipping, Restock, Return, SaleAction,
    ShippingLine, SnapshotNews, Status, Tax, Terms, Transaction,
};
use crate::{
    ids::{
        AgreementId, CustomerId, EditId, FulfillmentId, LineId, LocationId, OrderId, ProductId, RefundId, ReturnId,
        RowId, SaleId, ShippingLineId, TransactionId, VariantId,
    },
    join::Listed,
    personal::{Personal, Sealed, Subject},
    version::{Digest, Version},
};

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("an instant")
}

fn sealed<T>(subject: Subject) -> Personal<T> {
    Personal::Sealed(Sealed { subject, bytes: "c2VhbGVkIGJ5dGVz".to_owned() })
}

fn version() -> Version {
    Version {
        updated_at: Some(at("2026-11-01T12:00:00Z")),
        triggered_at: Some(at("2026-11-01T12:00:00.5Z")),
        digest: Digest([0xab; 16]),
        revision: 1,
    }
}

const BUYER: Subject = Subject::Customer(CustomerId(7));

fn terms() -> Terms {
    Terms {
        name: Some("#1001".to_owned()),
        created_at: Some(at("2026-11-01T11:59:00Z")),
        processed_at: Some(at("2026-11-01T12:00:00Z")),
        currency: "CAD".parse().expect("a currency"),
        presentment_currency: "EUR".parse().ok(),
        taxes_included: true,
        test: true,
        source_name: Some("web".to_owned()),
        country: Some("CA".to_owned()),
        region: Some("ON".to_owned()),
        duties: Some(441),
        additional_fees: Some(100),
        tip: 735,
        total_price: 14735,
        utm: BTreeMap::from([("utm_source".to_owned(), "mail".to_owned())]),
        discounts: vec![
            Discount { kind: "discount_code".to_owned(), label: Some("TEN".to_owned()), personal_label: None },
            Discount { kind: "manual".to_owned(), label: None, personal_label: Some(sealed(BUYER)) },
        ],
        buyer: Some(sealed(BUYER)),
    }
}

fn news() -> SnapshotNews {
    let line = Line {
        kind: LineKind::GiftCard,
        product_id: Some(ProductId(11)),
        variant_id: Some(VariantId(12)),
        price_minor: 5879,
        quantity: 2,
        current_quantity: 1,
        allocations: vec![Allocation { application: 0, amount_minor: 1176 }],
        taxes: vec![Tax { rate_nano: 130_000_000, amount_minor: 100 }],
        duties_minor: 5,
        text: sealed(Subject::Shop),
        properties: Some(sealed(BUYER)),
    };
    let shipping = ShippingLine {
        price_minor: 1323,
        allocations: vec![Allocation { application: 1, amount_minor: 23 }],
        taxes: vec![Tax { rate_nano: 0, amount_minor: 1 }],
        removed: true,
    };
    SnapshotNews {
        version: version(),
        terms: Some(terms()),
        status: Some(Status {
            financial: Some("paid".to_owned()),
            fulfillment: Some("partial".to_owned()),
            cancelled_at: Some(at("2026-11-02T12:00:00Z")),
            cancel_reason: Some("customer".to_owned()),
            closed_at: Some(at("2026-11-03T12:00:00Z")),
        }),
        customer: Some(CustomerId(7)),
        lines: vec![Listed { id: LineId(u64::MAX), value: Some(line) }, Listed { id: LineId(2), value: None }],
        shipping_lines: vec![Listed { id: ShippingLineId(3), value: Some(shipping) }],
        refunds: vec![RefundId(4)],
        return_states: vec![Listed { id: ReturnId(5), value: Some("open".to_owned()) }],
        return_fees: vec![Listed { id: ReturnId(5), value: Some(700) }],
        fulfillments: vec![Listed { id: FulfillmentId(8), value: Some(fulfillment()) }],
        transactions: vec![Listed { id: TransactionId(9), value: Some(transaction()) }],
    }
}

fn fulfillment() -> Fulfillment {
    Fulfillment {
        status: Some("success".to_owned()),
        shipment_status: Some("in_transit".to_owned()),
        created_at: Some(at("2026-11-02T12:00:00Z")),
        location_id: Some(LocationId(13)),
        carrier: Some("UPS".to_owned()),
        units: BTreeMap::from([(LineId(2), 1)]),
    }
}

fn transaction() -> Transaction {
    Transaction {
        kind: Some("refund".to_owned()),
        status: Some("pending".to_owned()),
        gateway: Some("gift_card".to_owned()),
        at: Some(at("2026-11-04T12:00:00Z")),
        amount_minor: Some(1654),
        currency: "EUR".parse().expect("a currency"),
        parent_id: Some(TransactionId(8)),
        test: true,
    }
}

fn refund() -> Refund {
    Refund {
        at: at("2026-11-04T12:00:00Z"),
        return_id: Some(ReturnId(5)),
        lines: vec![RefundLine {
            id: RowId(1),
            line_id: LineId(2),
            units: 1,
            restock: Restock::NoRestock,
            subtotal_minor: 1654,
            tax_minor: 10,
        }],
        shipping: vec![RefundShipping { id: RowId(2), shipping_line_id: Some(ShippingLineId(3)), amount_minor: 500 }],
        adjustments: vec![Adjustment {
            id: RowId(3),
            kind: AdjustmentKind::Discrepancy,
            amount_minor: -294,
            tax_minor: -1,
        }],
        duties_minor: 9,
        additional_fees_minor: 0,
        note: Some(sealed(Subject::Order(OrderId(1)))),
    }
}

fn agreement() -> Agreement {
    let sale = |id, action, line| AgreedSale {
        id: SaleId(id),
        action,
        line,
        product_id: Some(ProductId(11)),
        variant_id: Some(VariantId(12)),
        units: -1,
        total_minor: -1664,
        tax_minor: -10,
        discount_minor: -5,
    };
    Agreement {
        at: at("2026-11-04T12:00:00Z"),
        reason: AgreementReason::Refund,
        refund_id: Some(RefundId(4)),
        return_id: Some(ReturnId(5)),
        sales: vec![
            sale(1, SaleAction::Order, AgreedLine::Product(LineId(2))),
            sale(2, SaleAction::Return, AgreedLine::GiftCard(LineId(3))),
            sale(3, SaleAction::Update, AgreedLine::Tip(LineId(4))),
            sale(4, SaleAction::Unknown, AgreedLine::Shipping(Some(ShippingLineId(3)))),
            sale(5, SaleAction::Order, AgreedLine::Shipping(None)),
            sale(6, SaleAction::Order, AgreedLine::Duty),
            sale(7, SaleAction::Order, AgreedLine::AdditionalFee),
            sale(8, SaleAction::Order, AgreedLine::Fee),
            AgreedSale { product_id: None, variant_id: None, ..sale(9, SaleAction::Return, AgreedLine::Adjustment) },
            sale(10, SaleAction::Order, AgreedLine::Unknown),
        ],
    }
}

/// Every event, with every field filled.
#[must_use]
pub fn samples() -> Vec<OrderEvent> {
    let short = SnapshotNews {
        version: Version { triggered_at: None, ..version() },
        terms: None,
        status: None,
        customer: None,
        lines: vec![],
        shipping_lines: vec![],
        refunds: vec![],
        return_states: vec![],
        return_fees: vec![],
        fulfillments: vec![],
        transactions: vec![],
    };
    let of_fees = Refund { additional_fees_minor: 250, ..refund() };
    let edit = Edit {
        at: at("2026-11-05T12:00:00Z"),
        additions: BTreeMap::from([(LineId(2), 1)]),
        removals: BTreeMap::from([(LineId(3), 2)]),
        shipping_additions: vec![ShippingLineId(4)],
        shipping_removals: vec![ShippingLineId(3)],
        note: Some(sealed(Subject::Order(OrderId(1)))),
    };
    vec![
        OrderEvent::OrderPlaced(Box::new(news())),
        OrderEvent::OrderRevised(Box::new(SnapshotNews {
            terms: Some(Terms { buyer: Some(Personal::Redacted), ..terms() }),
            ..short.clone()
        })),
        OrderEvent::OrderCancelled(Box::new(news())),
        OrderEvent::OrderReaffirmed(Box::new(short)),
        OrderEvent::RefundIssued { version: version(), id: RefundId(4), refund: refund() },
        OrderEvent::RefundRevised { version: version(), id: RefundId(4), refund: refund() },
        OrderEvent::RefundIssued { version: version(), id: RefundId(5), refund: of_fees.clone() },
        OrderEvent::RefundRevised { version: version(), id: RefundId(5), refund: of_fees },
        OrderEvent::OrderEdited { version: version(), id: EditId(6), edit },
        OrderEvent::OrderDeleted { at: Some(at("2026-11-06T12:00:00Z")) },
        OrderEvent::OrderRedacted { redaction: "0199c0de-0000-7000-8000-000000000001".to_owned() },
        OrderEvent::FulfillmentUpdated { version: version(), id: FulfillmentId(8), fulfillment: fulfillment() },
        OrderEvent::TransactionRecorded { version: version(), id: TransactionId(9), transaction: transaction() },
        OrderEvent::ReturnUpdated {
            version: version(),
            id: ReturnId(5),
            seen: Return { status: Some("open".to_owned()), fees_minor: Some(700) },
        },
        OrderEvent::SalesAgreed {
            version: version(),
            agreements: vec![
                Listed { id: AgreementId(21), value: Some(agreement()) },
                Listed { id: AgreementId(22), value: None },
            ],
        },
    ]
}

/// What the stored samples of snapshots of version 1 mean today.
#[must_use]
pub fn samples_of_v1() -> Vec<OrderEvent> {
    let mut samples = samples();
    samples.truncate(4);
    for sample in &mut samples {
        let (OrderEvent::OrderPlaced(news)
        | OrderEvent::OrderRevised(news)
        | OrderEvent::OrderCancelled(news)
        | OrderEvent::OrderReaffirmed(news)) = sample
        else {
            unreachable!("the first four")
        };
        news.return_states.clear();
        news.fulfillments.clear();
        news.transactions.clear();
    }
    samples
}
