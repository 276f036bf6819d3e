//! The join of what was observed of a shop.

use std::convert::Infallible;

use chrono::{DateTime, Utc};
use cqrs_es::{Aggregate, event_sink::EventSink};
use serde::{Deserialize, Serialize};

use super::{command::ShopCommand, event::ShopEvent};
use crate::{ids::ShopifyShopId, join::Member, money::Currency, version::Version, zone::Zone};

/// Everything that was observed of a shop.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Shop {
    registered: Option<(Zone, Currency)>,
    shopify_id: Option<ShopifyShopId>,
    first_installed_at: Option<DateTime<Utc>>,
    installed_at: Option<DateTime<Utc>>,
    uninstalled_at: Option<DateTime<Utc>>,
    newest: Option<Version>,
    timezone: Option<Member<Zone>>,
    currency: Option<Member<Currency>>,
    scopes: Option<Member<Vec<String>>>,
    redacted: bool,
}

impl Shop {
    /// The one stream of a shop about itself.
    pub const ID: &'static str = "shop";

    /// The zone that its days are cut in: the newest that a body named, else the one it was registered with.
    #[must_use]
    pub fn timezone(&self) -> Zone {
        let registered = self.registered.map_or(Zone::UTC, |(zone, _)| zone);
        self.timezone.as_ref().map_or(registered, |known| known.value)
    }

    /// The currency of its figures, once it is registered.
    #[must_use]
    pub fn currency(&self) -> Option<Currency> {
        let registered = self.registered.map(|(_, currency)| currency);
        self.currency.as_ref().map(|known| known.value).or(registered)
    }

    /// Shopify's number of the shop, when it is known.
    #[must_use]
    pub fn shopify_id(&self) -> Option<ShopifyShopId> {
        self.shopify_id
    }

    /// When the app was last put in.
    #[must_use]
    pub fn installed_at(&self) -> Option<DateTime<Utc>> {
        self.installed_at
    }

    /// When the app was first put in.
    #[must_use]
    pub fn first_installed_at(&self) -> Option<DateTime<Utc>> {
        self.first_installed_at
    }

    /// When the app was last seen removed.
    #[must_use]
    pub fn uninstalled_at(&self) -> Option<DateTime<Utc>> {
        self.uninstalled_at
    }

    /// Its key is destroyed.
    #[must_use]
    pub fn is_redacted(&self) -> bool {
        self.redacted
    }

    /// The app is installed: it was not removed after it was last put in.
    #[must_use]
    pub fn is_installed(&self) -> bool {
        self.installed_at.is_some() && self.uninstalled_at <= self.installed_at
    }

    fn decide(&self, command: ShopCommand) -> Vec<ShopEvent> {
        match command {
            // Registering twice is one registration, unless the app was removed in between.
            ShopCommand::Register { .. } if self.is_installed() => vec![],
            ShopCommand::Register { domain, shopify_id, timezone, currency, at } => {
                vec![ShopEvent::ShopRegistered { domain, shopify_id, timezone, currency, at }]
            }
            ShopCommand::Observe { version, timezone, currency, profile } => {
                let newer = |known: Option<Version>| known.is_none_or(|known| version > known);
                let says_something = newer(self.newest)
                    || (timezone.is_some() && newer(self.timezone.as_ref().map(|known| known.version)))
                    || (currency.is_some() && newer(self.currency.as_ref().map(|known| known.version)));
                match says_something {
                    true => vec![ShopEvent::ShopUpdated { version, timezone, currency, profile }],
                    false => vec![],
                }
            }
            ShopCommand::ObserveUninstall { at } => match self.uninstalled_at {
                Some(known) if known >= at => vec![],
                _ => vec![ShopEvent::AppUninstalled { at }],
            },
            ShopCommand::ObserveScopes { version, scopes } => match &self.scopes {
                Some(known) if version <= known.version => vec![],
                _ => vec![ShopEvent::ScopesChanged { version, scopes }],
            },
            ShopCommand::Restate(restatement) => vec![ShopEvent::LedgerRestated(restatement)],
            ShopCommand::Redact { .. } if self.redacted => vec![],
            ShopCommand::Redact { redaction } => vec![ShopEvent::ShopRedacted { redaction }],
        }
    }
}

impl Aggregate for Shop {
    const TYPE: &'static str = "shop";
    type Command = ShopCommand;
    type Event = ShopEvent;
    type Error = Infallible; // Shopify is the authority: an observation is never refused
    type Services = ();

    async fn handle(&mut self, command: ShopCommand, (): &(), sink: &EventSink<Self>) -> Result<(), Infallible> {
        for event in self.decide(command) {
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: ShopEvent) {
        match event {
            ShopEvent::ShopRegistered { shopify_id, timezone, currency, at, .. } => {
                self.registered = Some((timezone, currency));
                self.shopify_id = shopify_id.or(self.shopify_id);
                self.first_installed_at = Some(self.first_installed_at.map_or(at, |first| first.min(at)));
                self.installed_at = self.installed_at.max(Some(at));
            }
            ShopEvent::ShopUpdated { version, timezone, currency, .. } => {
                self.newest = self.newest.max(Some(version));
                if let Some(timezone) = timezone {
                    Member::join(&mut self.timezone, version, timezone);
                }
                if let Some(currency) = currency {
                    Member::join(&mut self.currency, version, currency);
                }
            }
            ShopEvent::AppUninstalled { at } => self.uninstalled_at = self.uninstalled_at.max(Some(at)),
            ShopEvent::ScopesChanged { version, scopes } => Member::join(&mut self.scopes, version, scopes),
            ShopEvent::LedgerRestated(_) => {}
            ShopEvent::ShopRedacted { .. } => self.redacted = true,
        }
    }
}
