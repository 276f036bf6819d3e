//! What things are called on a page that a person reads. Whatever is not in a table is called by its own name, in words.

/// Kinds of histories, and what Shopify's topics begin with.
const THINGS: [(&str, &str); 13] = [
    ("app", "App"),
    ("checkout", "Checkout"),
    ("checkouts", "Checkout"),
    ("compliance_request", "Request about personal data"),
    ("customers", "Customer"),
    ("draft_orders", "Draft order"),
    ("fulfillments", "Parcel"),
    ("order_transactions", "Payment"),
    ("orders", "Order"),
    ("products", "Product"),
    ("refunds", "Refund"),
    ("returns", "Return"),
    ("shop", "Shop"),
];

/// What Shopify's topics end with.
const DEEDS: [(&str, &str); 10] = [
    ("cancelled", "cancelled"),
    ("create", "created"),
    ("data_request", "asks what is kept"),
    ("delete", "deleted"),
    ("edited", "edited"),
    ("fulfilled", "sent"),
    ("paid", "paid"),
    ("redact", "asks to be erased"),
    ("update", "changed"),
    ("updated", "changed"),
];

/// Events whose names say little.
const EVENTS: [(&str, &str); 14] = [
    ("CheckoutReaffirmed", "Checkout confirmed as known"),
    ("ComplianceRepeated", "Asked again"),
    ("ComplianceRequested", "Asked about personal data"),
    ("CustomerReaffirmed", "Customer confirmed as known"),
    ("CustomerRedacted", "Personal data erased"),
    ("CustomerUpdated", "What is known of the customer"),
    ("DraftOrderReaffirmed", "Draft order confirmed as known"),
    ("FulfillmentUpdated", "Parcel"),
    ("OrderReaffirmed", "Order confirmed as known"),
    ("OrderRedacted", "Personal data erased"),
    ("OrderRevised", "Order changed"),
    ("RefundRevised", "Refund changed"),
    ("SalesAgreed", "Sales as agreed"),
    ("TransactionRecorded", "Payment"),
];

/// Fields whose names say little.
const FIELDS: [(&str, &str); 22] = [
    ("admin_graphql_api_id", "Shopify's reference"),
    ("at", "When"),
    ("browser_ip", "Internet address (IP)"),
    ("buyer", "Buyer"),
    ("d", "Fingerprint of the message"),
    ("id", "Number"),
    ("ip", "Internet address (IP)"),
    ("of", "Which discount"),
    ("person", "Person"),
    ("personal_label", "Discount code or title"),
    ("properties", "Texts for this item"),
    ("r", "Read by version"),
    ("rate_nano", "Rate (billionths)"),
    ("restock", "Put back into stock"),
    ("sku", "Article number (SKU)"),
    ("t", "Message sent"),
    ("terms", "Order"),
    ("text", "Item"),
    ("u", "Last changed in the shop"),
    ("utm", "How the visitor came"),
    ("v", "Message"),
    ("version", "Message"),
];

/// Wrappings, which say nothing to whoever reads what is in them.
const UNNAMED: [&str; 5] = ["is", "seen", "Updated", "Reaffirmed", "Deleted"];

fn known(table: &[(&str, &'static str)], name: &str) -> Option<&'static str> {
    table.iter().find(|(known, _)| *known == name).map(|(_, label)| *label)
}

/// `order` → `Order`.
pub(crate) fn thing(kind: &str) -> String {
    known(&THINGS, kind).map_or_else(|| in_words(kind), str::to_owned)
}

/// `orders/create` → `Order created`.
pub(crate) fn topic(topic: &str) -> String {
    let (kind, deed) = topic.split_once('/').unwrap_or((topic, ""));
    let deed = known(&DEEDS, deed).map_or_else(|| in_words(deed).to_lowercase(), str::to_owned);
    format!("{} {deed}", thing(kind)).trim_end().to_owned()
}

/// `OrderPlaced` → `Order placed`.
pub(crate) fn event(name: &str) -> String {
    known(&EVENTS, name).map_or_else(|| in_words(name), str::to_owned)
}

/// `financial_status` → `Financial status`; `None` for what only wraps something else.
pub(crate) fn field(name: &str) -> Option<String> {
    // An event is wrapped in its name.
    if UNNAMED.contains(&name) || name.starts_with(|char: char| char.is_ascii_uppercase()) && !name.contains(' ') {
        return None;
    }
    if let Some(label) = known(&FIELDS, name) {
        return Some(label.to_owned());
    }
    Some(match name.strip_suffix("_minor") {
        Some(amount) => format!("{} (in the currency's smallest unit)", in_words(amount)),
        None => in_words(name),
    })
}

/// `customer:42` → `Customer 42`.
pub(crate) fn subject(name: &str) -> String {
    match name.split_once(':') {
        Some(("order", number)) => format!("The buyer of order {number}"),
        Some((kind, number)) => format!("{} {number}", thing(kind)),
        None => thing(name),
    }
}

/// Words of a name in one or the other spelling.
fn in_words(name: &str) -> String {
    let mut words = String::with_capacity(name.len() + 4);
    for char in name.chars() {
        match char {
            '_' | '/' => words.push(' '),
            upper if upper.is_ascii_uppercase() && words.ends_with(|before: char| before.is_ascii_lowercase()) => {
                words.push(' ');
                words.push(upper.to_ascii_lowercase());
            }
            other => words.push(other),
        }
    }
    let mut rest = words.chars();
    rest.next().map(|first| first.to_uppercase().chain(rest).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_words() {
        assert_eq!(event("OrderPlaced"), "Order placed");
        assert_eq!(event("CustomerRedacted"), "Personal data erased");
        assert_eq!(field("financial_status").unwrap(), "Financial status");
        assert_eq!(field("price_minor").unwrap(), "Price (in the currency's smallest unit)");
        assert_eq!((field("is"), field("OrderPlaced")), (None, None));
        assert_eq!(topic("orders/create"), "Order created");
        assert_eq!(topic("carts/odd_thing"), "Carts odd thing");
        assert_eq!(subject("customer:42"), "Customer 42");
        assert_eq!(thing("inventory_item"), "Inventory item");
    }

    #[test]
    fn tables_name_each_thing_once() {
        for table in [&THINGS[..], &DEEDS, &EVENTS, &FIELDS] {
            assert!(table.is_sorted_by(|(before, _), (after, _)| before < after));
        }
    }
}
