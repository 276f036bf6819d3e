//! Whether text holds a secret, in whichever spelling: the check behind every process that a test starts.

use std::fmt::Write;

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};

/// Every spelling in which a secret could get into a line.
#[derive(Debug, Clone, Default)]
pub struct Canaries(Vec<String>);

impl Canaries {
    /// Watches for these.
    pub fn of<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut all = Self::default();
        for secret in secrets {
            all.add(secret.as_bytes());
            all.0.extend(in_text(secret));
            // A key is bytes, whichever way it was given.
            if let Ok(bytes) = STANDARD.decode(secret) {
                all.add(&bytes);
            }
        }
        all.0.sort();
        all.0.dedup();
        all
    }

    fn add(&mut self, bytes: &[u8]) {
        assert!(bytes.len() >= 8, "what is so short is found everywhere");
        let hex = bytes.iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        let numbers: Vec<String> = bytes.iter().map(u8::to_string).collect();
        self.0.extend([hex.to_uppercase(), hex, numbers.join(", "), numbers.join(",")]);
        // Where base64 begins depends on what stands before; what the neighbours change is left out.
        for before in 0..3 {
            let padded = [&vec![0; before][..], bytes].concat();
            let whole = padded.len() / 3 * 4;
            for text in [STANDARD_NO_PAD.encode(&padded), URL_SAFE_NO_PAD.encode(&padded)] {
                self.0.push(text[[0, 2, 3][before]..whole].to_owned());
            }
        }
    }

    /// Where one of them stands in the text, with the spelling cut short: a test's failure is read by others, too.
    pub fn found_in(&self, text: &str) -> Vec<String> {
        let found = self.0.iter().filter(|spelling| text.contains(spelling.as_str()));
        found.map(|spelling| spelling.chars().take(6).chain(['…']).collect()).collect()
    }
}

/// As it is, and as JSON, Rust and URLs escape it.
fn in_text(secret: &str) -> Vec<String> {
    let percent = |keep: &[u8]| {
        secret.bytes().fold(String::new(), |mut text, byte| {
            match byte.is_ascii_alphanumeric() || keep.contains(&byte) {
                true => text.push(char::from(byte)),
                false => {
                    let _ = write!(text, "%{byte:02X}");
                }
            }
            text
        })
    };
    let inside = |quoted: String| quoted[1..quoted.len() - 1].to_owned();
    vec![
        secret.to_owned(),
        inside(serde_json::Value::from(secret).to_string()),
        inside(format!("{secret:?}")),
        secret.replace('/', "\\/"),
        percent(b"-_.~"),
        percent(b"-_.~/"),
        percent(b"-_.~ ").replace(' ', "+"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_in_every_spelling() {
        let secret = "canary /+\"\u{e9}\u{1} of 8";
        let canaries = Canaries::of([secret]);
        let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        let shifted = (0..4).map(|before| STANDARD.encode(format!("{}{secret} and more", "x".repeat(before))));
        let spelled = [
            secret.to_owned(),
            serde_json::json!({ "a": secret }).to_string(),
            format!("{:?}", Some(secret)),
            hex,
            format!("{:?}", secret.as_bytes()),
            "canary%20%2F%2B%22%C3%A9%01%20of%208".to_owned(),
        ];
        for text in spelled.into_iter().chain(shifted) {
            assert!(!canaries.found_in(&text).is_empty(), "{text}");
        }
        let key = STANDARD.encode([0xfb; 32]);
        let of_key = Canaries::of([&*key]);
        for text in ["fb".repeat(32), format!("{:?}", [0xfb_u8; 32]), key.replace('+', "-").replace('/', "_")] {
            assert!(!of_key.found_in(&text).is_empty(), "{text}");
        }
        assert_eq!(canaries.found_in("a canary of 8 and an aviary"), [""; 0]);
    }
}
