//! The shop's own bodies.

use domain::{
    Command, Personal,
    ids::ShopifyShopId,
    shop::{ShopCommand, ShopProfile},
};

use super::{
    Context, TranslateError, Translation, parse,
    values::{joined, plain},
    version,
};
use crate::payload::{Number, ScopesBody, ShopBody};

pub(super) fn update(context: &Context<'_>, body: &[u8]) -> Result<Vec<Command>, TranslateError> {
    let shop: ShopBody = parse(body)?;
    refuse_another_shop(context, &shop)?;
    let command = ShopCommand::Observe {
        version: version(context, shop.updated_at.or(context.triggered_at)),
        // A zone or currency that this build does not know changes nothing.
        timezone: shop.iana_timezone.as_deref().and_then(|name| name.parse().ok()),
        currency: shop.currency.as_deref().and_then(|code| code.parse().ok()),
        profile: Personal::Clear(ShopProfile {
            name: shop.name,
            owner: shop.shop_owner,
            email: shop.email,
            customer_email: shop.customer_email,
            phone: shop.phone,
            address: joined([shop.address1, shop.address2, shop.zip, shop.city]),
        }),
    };
    Ok(vec![Command::Shop(command)])
}

/// Topic and shop headers are not signed: nothing follows from a body that names no shop.
pub(super) fn uninstall(context: &Context<'_>, body: &[u8]) -> Result<Translation, TranslateError> {
    let shop: ShopBody = parse(body)?;
    if shop.id.as_ref().and_then(Number::id).is_none() && shop.myshopify_domain.is_none() {
        return Ok(Translation::Ignored("the body names no shop"));
    }
    refuse_another_shop(context, &shop)?;
    let at = context.triggered_at.unwrap_or(context.received_at);
    Ok(Translation::Commands(vec![Command::Shop(ShopCommand::ObserveUninstall { at })]))
}

/// What the app may read was changed.
pub(super) fn scopes(context: &Context<'_>, body: &[u8]) -> Result<Vec<Command>, TranslateError> {
    let seen: ScopesBody = parse(body)?;
    let shop = ShopBody { id: seen.shop_id, ..ShopBody::default() };
    refuse_another_shop(context, &shop)?;
    let mut scopes: Vec<String> = seen.current.iter().flatten().filter_map(|scope| plain(Some(scope))).collect();
    scopes.sort();
    let command = ShopCommand::ObserveScopes { version: version(context, seen.updated_at), scopes };
    Ok(vec![Command::Shop(command)])
}

fn refuse_another_shop(context: &Context<'_>, shop: &ShopBody) -> Result<(), TranslateError> {
    let id = shop.id.as_ref().and_then(Number::id).map(ShopifyShopId);
    let other_id = matches!((id, context.shopify_id), (Some(seen), Some(known)) if seen != known);
    let other_domain =
        shop.myshopify_domain.as_deref().is_some_and(|name| !name.eq_ignore_ascii_case(context.domain.as_str()));
    if other_id || other_domain { Err(TranslateError::OtherShop) } else { Ok(()) }
}
