//! The join of what was observed of a product.

use std::{collections::BTreeMap, convert::Infallible};

use cqrs_es::{Aggregate, event_sink::EventSink};
use serde::{Deserialize, Serialize};

use super::{
    command::{ObservedProduct, ProductCommand},
    event::{ProductEvent, ProductNews, ProductTerms, Variant},
};
use crate::{
    ids::VariantId,
    join::{Member, is_newer, join_listed, join_member, listed},
};

/// Everything that was observed of a product.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Product {
    /// Of the greatest version.
    pub terms: Option<Member<ProductTerms>>,
    /// Union by id: those that do not exist any more, too.
    pub variants: BTreeMap<VariantId, Member<Variant>>,
    /// A tombstone that wins.
    pub deleted: bool,
}

impl Product {
    fn decide(&self, command: ProductCommand) -> Option<ProductEvent> {
        match command {
            ProductCommand::Observe(seen) => self.observe(*seen),
            ProductCommand::ObserveVariant { version, id, variant } => {
                is_newer(&self.variants, &id, version).then_some(ProductEvent::VariantUpdated { version, id, variant })
            }
            ProductCommand::ObserveDeletion { at } => (!self.deleted).then_some(ProductEvent::ProductDeleted { at }),
        }
    }

    fn observe(&self, seen: ObservedProduct) -> Option<ProductEvent> {
        let version = seen.version;
        let known = self.terms.as_ref();
        let is_newest = known.is_none_or(|known| version > known.version);
        let is_other = known.is_none_or(|known| known.value != seen.terms);
        let news = ProductNews {
            version,
            terms: (is_newest && is_other).then_some(seen.terms),
            variants: listed(&self.variants, version, seen.variants),
        };
        let changes = news.terms.is_some() || news.variants.iter().any(|variant| variant.value.is_some());
        match (changes, is_newest || !news.variants.is_empty()) {
            (true, _) => Some(ProductEvent::ProductUpdated(Box::new(news))),
            (false, true) => Some(ProductEvent::ProductReaffirmed(Box::new(news))),
            (false, false) => None,
        }
    }
}

impl Aggregate for Product {
    const TYPE: &'static str = "product";
    type Command = ProductCommand;
    type Event = ProductEvent;
    type Error = Infallible; // Shopify is the authority: an observation is never refused
    type Services = ();

    async fn handle(&mut self, command: ProductCommand, (): &(), sink: &EventSink<Self>) -> Result<(), Infallible> {
        if let Some(event) = self.decide(command) {
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: ProductEvent) {
        match event {
            ProductEvent::ProductUpdated(news) | ProductEvent::ProductReaffirmed(news) => {
                match news.terms {
                    Some(terms) => Member::join(&mut self.terms, news.version, terms),
                    None => Member::vouch(&mut self.terms, news.version),
                }
                join_listed(&mut self.variants, news.version, news.variants);
            }
            ProductEvent::VariantUpdated { version, id, variant } => {
                join_member(&mut self.variants, version, id, variant);
            }
            ProductEvent::ProductDeleted { .. } => self.deleted = true,
        }
    }
}
