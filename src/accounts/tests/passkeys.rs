//! What passkeys promise: who made a key, and what it signs, is checked as the standard says.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use model::PasskeyRecord;
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _},
};
use sha2::{Digest as _, Sha256};

use crate::{MadePasskey, PasskeyError, SignedByPasskey, Site, webauthn};

const HOST: &str = "chat.example";
pub(super) const ORIGIN: &str = "https://chat.example";

/// The modulus of an RSA key of 2,048 bits, and its signature of what `rsa_signatures_are_verified` says.
const RSA_MODULUS: &str = "lKPbdOOKBfPZ0bs/3W0fJyv2E2XF+HaSacUupROW4T46n6ZaO0NJIgWr5cO8pdz9u8U17QiiflkLQipDZPIq\
     5DGnc+JYOoQgB0/qVIuEeg460wKwG1Zzg7h/3fZBmtwrET8lRWgE4VWdJ9Vrm3c2Xtdz91iAEX2T0UkHR3Rl\
     7OyYhGTPo694UnQqYpWgd0EUiUQOQEz6XwmEF+fkDaHE16mSuA5pphmyShFM3IYiVCEAa7G9w/4K6bTV7e6H\
     hiiDUsPfkv2lQ13gPbciGY7Bvly2ckHb7GuAo8oLKrIr2pMATED4igvkEioxTU2qt9vnTp+OhgP911pjXTd0\
     OXSlAQ==";
const RSA_SIGNATURE: &str = "YmGjKbCTP+lAYwdmrpusLxSc+7nt0+ndrnYjYFZmrn2BlRh3RNKI9QPTsKgxKOtqYoHmIpGdxZhSfqXhtDi2\
     7v+m4cyMKPXzjkTi8pTvo8Ov1BXTQmbg+e/Hxmvl6BKJlCR7CYvTf7HLCA1GAvDL8HgFlUftRcyuUEgyY9PF\
     tUeCN1E+m0RGXtt75ystk4ighCzSMYkTvbZUZb98LiuA3bIxkDe6w2cCiAgUvP9psi1GnaOMYYKPrhwU9d1j\
     YmHs+qhv0gpXXCIkqZCNg33Cm15kcq4+SKgFYlMjUa/l8zYVJ4FOJJ66bbv9vDSs0hzyZ9pS/PdfGgkyvnjq\
     HyW/Dg==";

pub(super) fn site() -> Site {
    Site {
        host: HOST.to_owned(),
    }
}

/// An authenticator with one key.
pub(super) struct Authenticator {
    key: Key,
    pub(super) count: u32,
    flags: u8,
}

enum Key {
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
}

impl Authenticator {
    pub(super) fn es256() -> Self {
        let random = SystemRandom::new();
        let kind = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(kind, document.as_ref(), &random).unwrap();
        Self::with(Key::Es256(key))
    }

    pub(super) fn eddsa() -> Self {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let key = Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap();
        Self::with(Key::EdDsa(key))
    }

    fn with(key: Key) -> Self {
        Self {
            key,
            count: 1,
            flags: 1 | 4,
        }
    }

    pub(super) fn id(&self) -> Vec<u8> {
        Sha256::digest(self.cose()).to_vec()
    }

    /// The public key as COSE writes it.
    fn cose(&self) -> Vec<u8> {
        match &self.key {
            Key::Es256(key) => {
                let point = key.public_key().as_ref();
                let (x, y) = point[1..].split_at(32);
                let head = [0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21, 0x58, 32];
                [&head[..], x, &[0x22, 0x58, 32], y].concat()
            }
            Key::EdDsa(key) => {
                let head = [0xa4, 1, 1, 3, 0x27, 0x20, 6, 0x21, 0x58, 32];
                [&head[..], key.public_key().as_ref()].concat()
            }
        }
    }

    fn sign(&self, text: &[u8]) -> Vec<u8> {
        match &self.key {
            Key::Es256(key) => {
                let signature = key.sign(&SystemRandom::new(), text).unwrap();
                signature.as_ref().to_vec()
            }
            Key::EdDsa(key) => key.sign(text).as_ref().to_vec(),
        }
    }

    fn data(&self, host: &str, flags: u8) -> Vec<u8> {
        let host = Sha256::digest(host.as_bytes());
        [&host[..], &[flags], &self.count.to_be_bytes()].concat()
    }

    pub(super) fn make(&self, challenge: &[u8]) -> MadePasskey {
        let id = self.id();
        let length = u16::try_from(id.len()).unwrap().to_be_bytes();
        let data = self.data(HOST, self.flags | 64);
        let data = [&data[..], &[0; 16], &length, &id, &self.cose()].concat();
        MadePasskey {
            client_data: client_data("webauthn.create", challenge, ORIGIN),
            attestation: attestation(&data),
        }
    }

    pub(super) fn answer(&self, challenge: &[u8], origin: &str) -> SignedByPasskey {
        let client_data = client_data("webauthn.get", challenge, origin);
        let authenticator_data = self.data(HOST, self.flags);
        let hash = Sha256::digest(&client_data);
        let text = [&authenticator_data[..], &hash].concat();
        SignedByPasskey {
            id: self.id(),
            signature: self.sign(&text),
            client_data,
            authenticator_data,
        }
    }
}

/// An attestation of nothing around what an authenticator says.
fn attestation(data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap().to_be_bytes();
    [
        &[0xa3, 0x63][..],
        b"fmt",
        &[0x64],
        b"none",
        &[0x67],
        b"attStmt",
        &[0xa0, 0x68],
        b"authData",
        &[0x59],
        &length,
        data,
    ]
    .concat()
}

fn client_data(kind: &str, challenge: &[u8], origin: &str) -> Vec<u8> {
    let challenge = URL_SAFE_NO_PAD.encode(challenge);
    format!(r#"{{"type":"{kind}","challenge":"{challenge}","origin":"{origin}"}}"#).into_bytes()
}

#[test]
fn passkeys_of_each_kind_are_made_and_sign() {
    for authenticator in [Authenticator::es256(), Authenticator::eddsa()] {
        let made = webauthn::made(&authenticator.make(b"one"), &site(), b"one").unwrap();
        assert_eq!(made.id, authenticator.id());
        let mut authenticator = authenticator;
        authenticator.count = 2;
        let answer = authenticator.answer(b"two", ORIGIN);
        assert_eq!(webauthn::signed(&answer, &made, &site(), b"two"), Ok(2));
        let copied = PasskeyRecord {
            sign_count: 2,
            ..made.clone()
        };
        let found = webauthn::signed(&answer, &copied, &site(), b"two");
        assert_eq!(found, Err(PasskeyError::Copied));
        // Each byte counts.
        for index in 0..answer.authenticator_data.len() {
            let mut changed = answer.clone();
            changed.authenticator_data[index] ^= 0x10;
            let found = webauthn::signed(&changed, &made, &site(), b"two");
            assert!(found.is_err(), "{index}");
        }
        for index in 0..answer.signature.len() {
            let mut changed = answer.clone();
            changed.signature[index] ^= 1;
            let found = webauthn::signed(&changed, &made, &site(), b"two");
            assert_eq!(found, Err(PasskeyError::Signature), "{index}");
        }
    }
}

#[test]
fn rsa_signatures_are_verified() {
    let modulus = STANDARD.decode(RSA_MODULUS).unwrap();
    let length = u16::try_from(modulus.len()).unwrap().to_be_bytes();
    let head = [0xa4, 1, 3, 3, 0x39, 1, 0, 0x20, 0x59];
    let cose = [&head[..], &length, &modulus, &[0x21, 0x43, 1, 0, 1]].concat();
    let host = Sha256::digest(HOST.as_bytes());
    let data = [&host[..], &[69, 0, 0, 0, 0], &[0; 16], &[0, 1, 9], &cose].concat();
    let made = MadePasskey {
        client_data: client_data("webauthn.create", &[7; 32], ORIGIN),
        attestation: attestation(&data),
    };
    let made = webauthn::made(&made, &site(), &[7; 32]).unwrap();
    assert_eq!((made.algorithm, &made.id[..]), (webauthn::RS256, &[9][..]));
    let mut answer = SignedByPasskey {
        id: vec![9],
        client_data: client_data("webauthn.get", &[7; 32], ORIGIN),
        authenticator_data: [&host[..], &[5, 0, 0, 0, 0]].concat(),
        signature: STANDARD.decode(RSA_SIGNATURE).unwrap(),
    };
    assert_eq!(webauthn::signed(&answer, &made, &site(), &[7; 32]), Ok(0));
    answer.signature[100] ^= 1;
    let found = webauthn::signed(&answer, &made, &site(), &[7; 32]);
    assert_eq!(found, Err(PasskeyError::Signature));
}

#[test]
fn answers_to_other_questions_and_sites_do_not_count() {
    let authenticator = Authenticator::es256();
    let made = webauthn::made(&authenticator.make(b"one"), &site(), b"one").unwrap();
    for (origin, is_ours) in [
        (ORIGIN, true),
        ("https://chat.example:8448", true),
        ("https://CHAT.example", true),
        ("http://chat.example", false),
        ("https://evil.example", false),
        ("https://chat.example.evil", false),
        ("https://evil.example/chat.example", false),
        ("https://a.chat.example", false),
        ("chat.example", false),
    ] {
        let mut signing = Authenticator::eddsa();
        signing.count = 5;
        let known = webauthn::made(&signing.make(b"one"), &site(), b"one").unwrap();
        let known = PasskeyRecord {
            sign_count: 0,
            ..known
        };
        let answer = signing.answer(b"two", origin);
        let found = webauthn::signed(&answer, &known, &site(), b"two");
        assert_eq!(found.is_ok(), is_ours, "{origin}: {found:?}");
    }
    let answer = authenticator.answer(b"two", ORIGIN);
    let other = webauthn::signed(&answer, &made, &site(), b"three");
    assert_eq!(other, Err(PasskeyError::OtherQuestion));
    let elsewhere = Site {
        host: "other.example".to_owned(),
    };
    assert!(webauthn::signed(&answer, &made, &elsewhere, b"two").is_err());
    // One kind of answer is not the other.
    let mut wrong = authenticator.make(b"one");
    wrong.client_data = client_data("webauthn.get", b"one", ORIGIN);
    let found = webauthn::made(&wrong, &site(), b"one");
    assert_eq!(found, Err(PasskeyError::OtherQuestion));
    let framed = r#","crossOrigin":true}"#;
    let mut wrong = authenticator.make(b"one");
    let text = String::from_utf8(wrong.client_data).unwrap();
    wrong.client_data = text.replace('}', framed).into_bytes();
    let found = webauthn::made(&wrong, &site(), b"one");
    assert_eq!(found, Err(PasskeyError::OtherQuestion));
}

#[test]
fn who_was_not_made_sure_of_is_refused() {
    for flags in [0, 1, 4] {
        let mut authenticator = Authenticator::es256();
        authenticator.flags = flags;
        let found = webauthn::made(&authenticator.make(b"one"), &site(), b"one");
        assert_eq!(found, Err(PasskeyError::NotVerified), "{flags}");
    }
    // Without a key; with rubbish around it.
    let authenticator = Authenticator::es256();
    let mut short = authenticator.make(b"one");
    short.attestation = attestation(&authenticator.data(HOST, 1 | 4 | 64));
    let found = webauthn::made(&short, &site(), b"one");
    assert_eq!(found, Err(PasskeyError::Unreadable));
    let mut long = authenticator.make(b"one");
    long.attestation.resize(9_000, 0);
    let found = webauthn::made(&long, &site(), b"one");
    assert_eq!(found, Err(PasskeyError::Unreadable));
}
