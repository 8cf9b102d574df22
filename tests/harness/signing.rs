//! Keys of devices and people, with true signatures.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ed25519_dalek::Signer as _;
use serde_json::{Map, Value, json};

use crate::User;
use crate::user::unique;

/// An Ed25519 key pair.
pub struct Key(ed25519_dalek::SigningKey);

impl Key {
    /// A key that no other call in this process gives. It protects nothing: its seed
    /// is a counter.
    pub fn new() -> Self {
        let mut seed = [7; 32];
        seed[..8].copy_from_slice(&unique().to_be_bytes());
        Self(ed25519_dalek::SigningKey::from_bytes(&seed))
    }

    /// The public key in unpadded base64.
    pub fn public(&self) -> String {
        STANDARD_NO_PAD.encode(self.0.verifying_key().as_bytes())
    }

    /// Adds this key's signature to `object`, as the key `ed25519:NAME` of `user_id`.
    pub fn sign(&self, object: &mut Value, user_id: &str, name: &str) {
        let mut plain = object.clone();
        if let Value::Object(members) = &mut plain {
            members.remove("signatures");
            members.remove("unsigned");
        }
        let signature = self.0.sign(canonical(&plain).as_bytes());
        let signature = STANDARD_NO_PAD.encode(signature.to_bytes());
        object["signatures"][user_id][format!("ed25519:{name}")] = json!(signature);
    }
}

impl Default for Key {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether a signature in unpadded base64 is that of `object` by a public key.
pub fn is_signed(object: &Value, public: &str, signature: &str) -> bool {
    let bytes = |text: &str| STANDARD_NO_PAD.decode(text).expect("base64");
    let key: [u8; 32] = bytes(public).try_into().expect("32 bytes");
    let key = ed25519_dalek::VerifyingKey::from_bytes(&key).expect("a key");
    let signature: [u8; 64] = bytes(signature).try_into().expect("64 bytes");
    let signature = ed25519_dalek::Signature::from_bytes(&signature);
    key.verify_strict(canonical(object).as_bytes(), &signature)
        .is_ok()
}

/// JSON with sorted keys and no spaces, which is what is signed.
pub fn canonical(value: &Value) -> String {
    fn sorted(value: &Value) -> Value {
        match value {
            Value::Object(members) => {
                let mut keys: Vec<&String> = members.keys().collect();
                keys.sort();
                let members: Map<String, Value> = keys
                    .into_iter()
                    .map(|key| (key.clone(), sorted(&members[key])))
                    .collect();
                Value::Object(members)
            }
            Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
            other => other.clone(),
        }
    }
    sorted(value).to_string()
}

/// The identity of a device: what a client uploads when it signs in.
pub struct DeviceKeys {
    /// The device's signing key.
    pub key: Key,
    /// The signed `device_keys` object.
    pub object: Value,
    user_id: String,
    device_id: String,
}

impl DeviceKeys {
    /// New keys for this user's device, signed by themselves.
    pub fn of(user: &User) -> Self {
        let key = Key::new();
        let device = &user.device_id;
        let mut object = json!({
            "user_id": user.user_id,
            "device_id": device,
            "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
            "keys": {
                format!("ed25519:{device}"): key.public(),
                format!("curve25519:{device}"): Key::new().public(),
            },
        });
        key.sign(&mut object, &user.user_id, device);
        Self {
            key,
            object,
            user_id: user.user_id.clone(),
            device_id: device.clone(),
        }
    }

    /// A signed one-time key.
    pub fn one_time_key(&self) -> Value {
        self.signed(json!({ "key": Key::new().public() }))
    }

    /// A signed fallback key.
    pub fn fallback_key(&self) -> Value {
        self.signed(json!({ "key": Key::new().public(), "fallback": true }))
    }

    /// An object with this device's signature.
    pub fn signed(&self, mut object: Value) -> Value {
        self.key.sign(&mut object, &self.user_id, &self.device_id);
        object
    }

    /// Uploads the device keys and `count` one-time keys named `one0`, `one1`, ….
    pub async fn upload(&self, user: &User, count: usize) {
        let keys: Map<String, Value> = (0..count)
            .map(|number| {
                (
                    format!("signed_curve25519:one{number}"),
                    self.one_time_key(),
                )
            })
            .collect();
        let body = json!({ "device_keys": self.object, "one_time_keys": keys });
        user.post("v3/keys/upload", body).await.ok();
    }
}

/// A person's cross-signing keys.
pub struct CrossSigning {
    /// Signs the two others.
    pub master: Key,
    /// Signs the person's own devices.
    pub self_signing: Key,
    /// Signs other people's master keys.
    pub user_signing: Key,
    /// The body of `/keys/device_signing/upload`.
    pub upload: Value,
}

impl CrossSigning {
    /// New keys for this user.
    pub fn of(user: &User) -> Self {
        let user_id = &user.user_id;
        let (master, self_signing, user_signing) = (Key::new(), Key::new(), Key::new());
        let object = |usage: &str, key: &Key| {
            let public = key.public();
            json!({
                "user_id": user_id,
                "usage": [usage],
                "keys": { format!("ed25519:{public}"): public },
            })
        };
        let mut self_signing_object = object("self_signing", &self_signing);
        let mut user_signing_object = object("user_signing", &user_signing);
        master.sign(&mut self_signing_object, user_id, &master.public());
        master.sign(&mut user_signing_object, user_id, &master.public());
        let upload = json!({
            "master_key": object("master", &master),
            "self_signing_key": self_signing_object,
            "user_signing_key": user_signing_object,
        });
        Self {
            master,
            self_signing,
            user_signing,
            upload,
        }
    }
}
