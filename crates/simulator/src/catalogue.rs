//! What is sold.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    body::instant,
    market::ShopProfile,
    money::{Currency, currency},
};

/// Something on a shelf: a product with one variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Its place in the shelf.
    pub number: usize,
}

struct Thing {
    title: &'static str,
    kind: &'static str,
    cents: i64,
    grams: i64,
    /// How often it is bought beside others.
    weight: u32,
}

const GIFT_CARD: &str = "Gift Card";

const THINGS: [Thing; 14] = [
    Thing { title: "Linen Shirt", kind: "Shirts", cents: 6_900, grams: 240, weight: 9 },
    Thing { title: "Wool Sweater", kind: "Knitwear", cents: 11_900, grams: 520, weight: 6 },
    Thing { title: "Canvas Tote", kind: "Bags", cents: 3_400, grams: 310, weight: 10 },
    Thing { title: "Leather Belt", kind: "Accessories", cents: 4_900, grams: 190, weight: 5 },
    Thing { title: "Enamel Mug", kind: "Kitchen", cents: 1_800, grams: 270, weight: 12 },
    Thing { title: "Cast Iron Pan", kind: "Kitchen", cents: 7_400, grams: 2_300, weight: 4 },
    Thing { title: "Beeswax Candle", kind: "Home", cents: 2_200, grams: 350, weight: 11 },
    Thing { title: "Cotton Blanket", kind: "Home", cents: 8_900, grams: 1_100, weight: 5 },
    Thing { title: "Field Notebook", kind: "Paper", cents: 1_200, grams: 140, weight: 12 },
    Thing { title: "Fountain Pen", kind: "Paper", cents: 5_600, grams: 60, weight: 4 },
    Thing { title: "Rain Jacket", kind: "Outerwear", cents: 15_900, grams: 640, weight: 3 },
    Thing { title: "Merino Socks", kind: "Accessories", cents: 1_900, grams: 80, weight: 14 },
    Thing { title: "Cedar Soap", kind: "Bath", cents: 900, grams: 120, weight: 13 },
    Thing { title: GIFT_CARD, kind: "Gift Cards", cents: 5_000, grams: 0, weight: 2 },
];

/// How many things there are.
pub const SHELF: usize = THINGS.len();

/// How often each is bought.
pub fn weights() -> impl Iterator<Item = (Item, u32)> {
    THINGS.iter().enumerate().map(|(number, thing)| (Item { number }, thing.weight))
}

impl Item {
    pub fn title(self) -> &'static str {
        THINGS[self.number].title
    }

    pub fn grams(self) -> i64 {
        THINGS[self.number].grams
    }

    pub fn is_gift_card(self) -> bool {
        self.title() == GIFT_CARD
    }

    /// In minor units. A gift card is worth a round sum.
    pub fn price(self, currency: Currency) -> i64 {
        let price = currency.price(THINGS[self.number].cents);
        if self.is_gift_card() { price + 1 } else { price }
    }

    pub fn product_id(self, shop: &ShopProfile) -> u64 {
        shop.id(1_000 + self.number as u64)
    }

    pub fn variant_id(self, shop: &ShopProfile) -> u64 {
        shop.id(2_000 + self.number as u64)
    }

    pub fn sku(self) -> String {
        format!("{}-{:02}", &THINGS[self.number].kind[..2].to_uppercase(), self.number)
    }

    /// As `products/create` sends it.
    pub fn body(self, shop: &ShopProfile, at: chrono::DateTime<chrono::Utc>) -> Value {
        let thing = &THINGS[self.number];
        let (product, variant) = (self.product_id(shop), self.variant_id(shop));
        let money = currency(shop.currency);
        let at = instant(at, shop.zone);
        let gid = format!("gid://shopify/ProductVariant/{variant}");
        json!({
            "admin_graphql_api_id": format!("gid://shopify/Product/{product}"), "body_html": "", "created_at": at,
            "handle": thing.title.to_lowercase().replace(' ', "-"), "id": product, "product_type": thing.kind,
            "published_at": at, "template_suffix": null, "title": thing.title, "updated_at": at,
            "vendor": shop.name, "status": "active", "published_scope": "web", "tags": "",
            "variants": [{
                "admin_graphql_api_id": gid, "barcode": null, "compare_at_price": null, "created_at": at, "id": variant,
                "inventory_policy": "deny", "position": 1, "price": money.text(self.price(money)), "product_id": product,
                "sku": self.sku(), "taxable": !self.is_gift_card(), "title": "Default Title", "updated_at": at,
                "option1": "Default Title", "option2": null, "option3": null, "image_id": null,
                "inventory_item_id": shop.id(3_000 + self.number as u64), "inventory_quantity": 500,
                "old_inventory_quantity": 500,
            }],
            "options": [], "images": [], "image": null, "media": [],
            "variant_gids": [{ "admin_graphql_api_id": gid, "updated_at": at }],
            "has_variants_that_requires_components": false, "category": null,
        })
    }
}
