//! A shop's permanent domain.

use std::{fmt, str::FromStr};

/// `{name}.myshopify.com`, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShopDomain(String);

/// Not a `*.myshopify.com` host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a shop's domain is its permanent one, like `example.myshopify.com`")]
pub struct InvalidShopDomain;

impl ShopDomain {
    /// The host.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ShopDomain {
    type Err = InvalidShopDomain;

    /// The documented form over the whole string: no scheme, port, path, underscore, or longer suffix.
    fn from_str(text: &str) -> Result<Self, InvalidShopDomain> {
        let lower = text.to_ascii_lowercase();
        let name = lower.strip_suffix(".myshopify.com").ok_or(InvalidShopDomain)?;
        let valid = !name.starts_with('-')
            && (1..=63).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if valid { Ok(Self(lower)) } else { Err(InvalidShopDomain) }
    }
}

impl fmt::Display for ShopDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_documented_form_is_a_shop_domain() {
        for good in ["a.myshopify.com", "My-Shop-2.MyShopify.com"] {
            assert!(good.parse::<ShopDomain>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "myshopify.com",
            ".myshopify.com",
            "-a.myshopify.com",
            "a_b.myshopify.com",
            "a.b.myshopify.com",
            "a.myshopify.com.evil.test",
            "a.myshopify.com/",
            "a.myshopify.com:443",
            "evil.test/.myshopify.com",
            "x@a.myshopify.com",
            "a.myshopify.com\n",
            "a\\.myshopify.com",
            "a%2e.myshopify.com",
            "\u{430}.myshopify.com",
            "a.myshopify.io",
            "https://a.myshopify.com",
        ] {
            assert!(bad.parse::<ShopDomain>().is_err(), "{bad}");
        }
        assert!(format!("{}.myshopify.com", "a".repeat(64)).parse::<ShopDomain>().is_err());
    }
}
