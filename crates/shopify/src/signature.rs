//! The signature of a webhook: HMAC-SHA256 over the body's bytes as received, in base64.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Whether `header` signs `body` with one of the secrets. Shopify signs with the oldest secret that is not revoked, so
/// the current and the previous one are both tried; the comparison takes the same time whatever differs.
#[must_use]
pub fn is_valid<'a>(body: &[u8], header: &str, secrets: impl IntoIterator<Item = &'a [u8]>) -> bool {
    let Ok(signature) = STANDARD.decode(header) else {
        return false;
    };
    // No early return: how long it takes must not tell which secret fits.
    secrets.into_iter().fold(false, |valid, secret| {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
        mac.update(body);
        valid | mac.verify_slice(&signature).is_ok()
    })
}

/// Whether `header` could be a signature at all: for whom it cannot, no body needs to be read.
#[must_use]
pub fn is_well_formed(header: &str) -> bool {
    STANDARD.decode(header).is_ok_and(|signature| signature.len() == 32)
}

/// The signature that Shopify would send.
#[must_use]
pub fn sign(body: &[u8], secret: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
    mac.update(body);
    STANDARD.encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_over_bytes_and_either_secret_will_do() {
        let body = b"\xef\xbb\xbf{\"a\": \"\\/\xff\"}";
        let header = sign(body, b"old");
        let secrets = || [b"new".as_slice(), b"old".as_slice()];
        assert!(is_valid(body, &header, secrets()) && is_well_formed(&header));
        assert!(!is_valid(body, &header, [b"new".as_slice()]));
        assert!(!is_valid(&body[1..], &header, secrets()));
        let hexed = hex::encode(STANDARD.decode(&header).unwrap());
        for wrong in ["", "!", &header[..20], &hexed, &format!("{header} ")] {
            assert!(!is_valid(body, wrong, secrets()), "{wrong}");
            assert!(!is_well_formed(wrong), "{wrong}");
        }
    }
}
