//! Secrets that the server itself must be able to read, sealed before they are stored: whoever
//! has the table alone cannot open them.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use runtime::Random;

/// The key that secrets are sealed with.
#[derive(Clone)]
pub struct SealingKey([u8; 32]);

impl SealingKey {
    /// The key that is this secret.
    pub fn new(secret: [u8; 32]) -> Self {
        Self(secret)
    }

    fn cipher(&self) -> Option<LessSafeKey> {
        let key = UnboundKey::new(&CHACHA20_POLY1305, &self.0).ok()?;
        Some(LessSafeKey::new(key))
    }

    /// Seals a secret for one place, where alone it can be opened: a nonce, and what is sealed.
    pub(crate) fn seal(&self, random: &Random, place: &[u8], secret: &[u8]) -> Option<Vec<u8>> {
        let nonce = random.bytes::<NONCE_LEN>();
        let mut sealed = secret.to_vec();
        self.cipher()?
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(place),
                &mut sealed,
            )
            .ok()?;
        Some([&nonce[..], &sealed].concat())
    }

    /// Opens what was sealed with this key for that place.
    pub(crate) fn open(&self, place: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, rest) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut opened = rest.to_vec();
        let length = self
            .cipher()?
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(place),
                &mut opened,
            )
            .ok()?
            .len();
        opened.truncate(length);
        Some(opened)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_is_opened_with_its_key_at_its_place_alone() {
        let (key, other) = (SealingKey::new([1; 32]), SealingKey::new([2; 32]));
        let random = Random::seeded(1);
        let sealed = key.seal(&random, b"anna", b"a secret").unwrap();
        assert!(!sealed.windows(8).any(|part| part == b"a secret"));
        assert_eq!(
            key.open(b"anna", &sealed).as_deref(),
            Some(&b"a secret"[..])
        );
        assert_eq!(other.open(b"anna", &sealed), None);
        assert_eq!(key.open(b"ben", &sealed), None);
        for index in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[index] ^= 1;
            assert_eq!(key.open(b"anna", &changed), None, "{index}");
        }
        assert_eq!(key.open(b"anna", b"short"), None);
        assert_ne!(key.seal(&random, b"anna", b"a secret"), Some(sealed));
    }
}
