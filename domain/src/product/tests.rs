use super::*;
use crate::{
    ids::VariantId,
    join::tests::{Applied, arrivals, sealed, version},
};

fn variant(price_minor: i64) -> Variant {
    let currency = "USD".parse().unwrap();
    Variant { price_minor, compare_at_minor: None, currency, inventory_item_id: None, text: sealed() }
}

fn observe(hours: i64, status: &str, variants: &[(u64, i64)]) -> ProductCommand {
    let terms = ProductTerms {
        status: Some(status.into()),
        created_at: None,
        published_at: None,
        variants: variants.iter().map(|(id, _)| VariantId(*id)).collect(),
        text: sealed(),
    };
    let variants = variants.iter().map(|(id, price)| (VariantId(*id), variant(*price))).collect();
    ProductCommand::Observe(Box::new(ObservedProduct { version: version(hours, 1), terms, variants }))
}

fn observe_variant(hours: i64, id: u64, price: i64) -> ProductCommand {
    ProductCommand::ObserveVariant { version: version(hours, 1), id: VariantId(id), variant: variant(price) }
}

#[test]
fn a_body_that_says_the_same_only_reaffirms() {
    let product = Applied::<Product>::of([observe(1, "active", &[(1, 100)]), observe(2, "active", &[(1, 100)])]);
    assert_eq!(product.events, ["ProductUpdated", "ProductReaffirmed"]);
}

#[test]
fn a_late_body_tells_of_variants_that_newer_ones_no_longer_list() {
    let product =
        Applied::<Product>::of([observe(2, "active", &[(1, 100)]), observe(1, "draft", &[(1, 90), (2, 200)])]);
    let terms = &product.state.terms.as_ref().unwrap().value;
    assert_eq!((terms.status.as_deref(), terms.variants.len()), (Some("active"), 1));
    assert_eq!(product.state.variants[&VariantId(1)].value.price_minor, 100);
    assert_eq!(product.state.variants[&VariantId(2)].value.price_minor, 200);
}

#[test]
fn a_body_about_a_variant_counts_until_a_newer_one_about_the_product() {
    let product = Applied::<Product>::of([
        observe(3, "active", &[(1, 100)]),
        observe_variant(2, 1, 90),
        observe_variant(4, 1, 110),
    ]);
    assert_eq!(product.events, ["ProductUpdated", "VariantUpdated"]);
    assert_eq!(product.state.variants[&VariantId(1)].value.price_minor, 110);
}

#[test]
fn the_order_of_arrival_does_not_matter() {
    arrivals::<Product>(&[
        observe(1, "draft", &[(1, 90), (2, 200)]),
        observe(2, "active", &[(1, 100)]),
        observe(3, "active", &[(1, 100)]),
        observe_variant(2, 1, 95),
        observe_variant(2, 3, 300),
        ProductCommand::ObserveDeletion { at: None },
    ]);
}

#[test]
fn stored_bytes_never_change() {
    crate::samples::hold("product", &samples::samples(), &[]);
}
