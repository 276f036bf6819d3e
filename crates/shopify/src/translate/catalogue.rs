//! Products, variants, inventory, locations and discounts.

use domain::{
    Command, Currency, Personal,
    discount::Discount,
    document::DocumentCommand,
    ids::{DiscountId, InventoryItemId, LocationId, ProductId, VariantId},
    inventory::{InventoryCommand, ItemTerms, Level},
    location::{Location, Place},
    product::{ObservedProduct, ProductCommand, ProductTerms, ProductText, Variant, VariantText},
};

use super::{
    Context, TranslateError, parse,
    values::{id, instant, joined, minor, plain, signed_units, tags, text},
    version,
};
use crate::payload::{
    DiscountNodeBody, InventoryItemBody, InventoryLevelBody, LocationBody, Number, ProductBody, VariantBody,
};

type Commands = Result<Vec<Command>, TranslateError>;

pub(super) fn product(context: &Context<'_>, body: &[u8]) -> Commands {
    let seen: ProductBody = parse(body)?;
    let product_id = ProductId(id("id", seen.id.as_ref())?);
    let version = version(context, instant("updated_at", seen.updated_at)?.or(context.triggered_at));
    let bodies = seen.variants.unwrap_or_default();
    let variants = bodies.into_iter().map(|body| variant(body, context.currency)).collect::<Result<Vec<_>, _>>()?;
    let gids = seen.variant_gids.iter().flatten().filter_map(|gid| gid.admin_graphql_api_id.as_ref()?.id());
    let mut listed: Vec<VariantId> = variants.iter().map(|(id, _)| *id).chain(gids.map(VariantId)).collect();
    listed.sort_unstable();
    listed.dedup();
    let terms = ProductTerms {
        status: plain(seen.status.as_deref()),
        created_at: instant("created_at", seen.created_at)?,
        published_at: instant("published_at", seen.published_at)?,
        variants: listed,
        text: Personal::Clear(ProductText {
            title: seen.title.unwrap_or_default(),
            vendor: text(seen.vendor),
            product_type: text(seen.product_type),
            handle: text(seen.handle),
            tags: tags(seen.tags.as_ref()),
        }),
    };
    let observed = ObservedProduct { version, terms, variants };
    Ok(vec![Command::Product(product_id, ProductCommand::Observe(Box::new(observed)))])
}

pub(super) fn variant_alone(context: &Context<'_>, body: &[u8]) -> Commands {
    let seen: VariantBody = parse(body)?;
    let product_id = ProductId(id("product_id", seen.product_id.as_ref())?);
    let version = version(context, instant("updated_at", seen.updated_at)?.or(context.triggered_at));
    let (id, variant) = variant(seen, context.currency)?;
    Ok(vec![Command::Product(product_id, ProductCommand::ObserveVariant { version, id, variant })])
}

fn variant(body: VariantBody, currency: Currency) -> Result<(VariantId, Variant), TranslateError> {
    let compare_at = body.compare_at_price.as_ref();
    let variant = Variant {
        price_minor: minor("variants.price", body.price.as_ref(), currency)?,
        compare_at_minor: compare_at
            .map(|price| minor("variants.compare_at_price", Some(price), currency))
            .transpose()?,
        currency,
        inventory_item_id: body.inventory_item_id.as_ref().and_then(Number::id).map(InventoryItemId),
        text: Personal::Clear(VariantText {
            title: body.title.unwrap_or_default(),
            sku: text(body.sku),
            barcode: text(body.barcode),
        }),
    };
    Ok((VariantId(id("variants.id", body.id.as_ref())?), variant))
}

pub(super) fn product_deletion(context: &Context<'_>, body: &[u8]) -> Commands {
    let seen: ProductBody = parse(body)?;
    let product_id = ProductId(id("id", seen.id.as_ref())?);
    Ok(vec![Command::Product(product_id, ProductCommand::ObserveDeletion { at: context.triggered_at })])
}

pub(super) fn inventory_item(context: &Context<'_>, body: &[u8]) -> Commands {
    let seen: InventoryItemBody = parse(body)?;
    let item = InventoryItemId(id("id", seen.id.as_ref())?);
    let updated_at = instant("updated_at", seen.updated_at)?.or(context.triggered_at);
    let terms = ItemTerms {
        tracked: seen.tracked.unwrap_or(false),
        cost_minor: seen.cost.as_ref().map(|cost| minor("cost", Some(cost), context.currency)).transpose()?,
        currency: context.currency,
        sku: text(seen.sku).map(Personal::Clear),
    };
    let command = InventoryCommand::Observe { version: version(context, updated_at), terms };
    Ok(vec![Command::InventoryItem(item, command)])
}

pub(super) fn inventory_item_deletion(context: &Context<'_>, body: &[u8]) -> Commands {
    let seen: InventoryItemBody = parse(body)?;
    let item = InventoryItemId(id("id", seen.id.as_ref())?);
    Ok(vec![Command::InventoryItem(item, InventoryCommand::ObserveDeletion { at: context.triggered_at })])
}

/// Stock at a location, or that the item is not kept there any more, which is said without a time.
pub(super) fn inventory_level(context: &Context<'_>, body: &[u8]) -> Commands {
    let seen: InventoryLevelBody = parse(body)?;
    let item = InventoryItemId(id("inventory_item_id", seen.inventory_item_id.as_ref())?);
    let location = LocationId(id("location_id", seen.location_id.as_ref())?);
    let updated_at = instant("updated_at", seen.updated_at)?.or(context.triggered_at);
    let connected = context.topic != "inventory_levels/disconnect";
    let available = seen.available.as_ref().map(|number| signed_units("available", number)).transpose()?;
    let command = InventoryCommand::ObserveLevel {
        version: version(context, updated_at),
        location,
        level: Level { available: available.filter(|_| connected), connected },
    };
    Ok(vec![Command::InventoryItem(item, command)])
}

pub(super) fn location(context: &Context<'_>, body: &[u8]) -> Commands {
    let seen: LocationBody = parse(body)?;
    let location = LocationId(id("id", seen.id.as_ref())?);
    let updated_at = instant("updated_at", seen.updated_at)?.or(context.triggered_at);
    let value = Location {
        active: seen.active.unwrap_or(true),
        country: plain(seen.country_code.as_deref()),
        region: plain(seen.province_code.as_deref()),
        place: Personal::Clear(Place {
            name: text(seen.name),
            address: joined([seen.address1, seen.address2, seen.zip, seen.city]),
            phone: text(seen.phone),
        }),
    };
    let command = DocumentCommand::Observe { version: version(context, updated_at), value };
    Ok(vec![Command::Location(location, command)])
}

pub(super) fn location_deletion(context: &Context<'_>, body: &[u8]) -> Commands {
    let seen: LocationBody = parse(body)?;
    let location = LocationId(id("id", seen.id.as_ref())?);
    Ok(vec![Command::Location(location, DocumentCommand::ObserveDeletion { at: context.triggered_at })])
}

pub(super) fn discount(context: &Context<'_>, body: &[u8]) -> Commands {
    let seen: DiscountNodeBody = parse(body)?;
    let gid = seen.admin_graphql_api_id.as_ref();
    let discount = DiscountId(id("admin_graphql_api_id", gid)?);
    let updated_at = instant("updated_at", seen.updated_at)?.or(context.triggered_at);
    let value = Discount {
        kind: plain(gid.and_then(|gid| gid.0.rsplit('/').nth(1))),
        status: plain(seen.status.as_deref()),
        created_at: instant("created_at", seen.created_at)?,
        title: Personal::Clear(seen.title.unwrap_or_default()),
    };
    let command = DocumentCommand::Observe { version: version(context, updated_at), value };
    Ok(vec![Command::Discount(discount, command)])
}

pub(super) fn discount_deletion(context: &Context<'_>, body: &[u8]) -> Commands {
    let seen: DiscountNodeBody = parse(body)?;
    let discount = DiscountId(id("admin_graphql_api_id", seen.admin_graphql_api_id.as_ref())?);
    Ok(vec![Command::Discount(discount, DocumentCommand::ObserveDeletion { at: context.triggered_at })])
}
