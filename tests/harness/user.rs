//! People: registration, sign-in and user-interactive authentication.

use std::sync::atomic::{AtomicU64, Ordering};

use reqwest::Method;
use serde_json::{Value, json};

use crate::{Answer, Api};

/// Every test user's password.
pub const PASSWORD: &str = "correct horse battery staple";

/// A registered user on one device; requests go out with its access token.
#[derive(Debug, Clone)]
pub struct User {
    /// The requests, for which a user also stands in itself.
    pub api: Api,
    /// `@alice-1:localhost`
    pub user_id: String,
    /// The device of the access token.
    pub device_id: String,
    /// The access token.
    pub access_token: String,
    /// The refresh token, when one was asked for.
    pub refresh_token: Option<String>,
}

/// A number that no other call in this process got.
pub(crate) fn unique() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Api {
    /// Registers a new user whose name starts with `name` and ends with a number, so
    /// that tests on one server do not meet.
    pub async fn register(&self, name: &str) -> User {
        self.register_as(&format!("{name}-{}", unique())).await
    }

    /// Registers a new user with exactly this name.
    pub async fn register_as(&self, name: &str) -> User {
        let body = json!({
            "username": name,
            "password": PASSWORD,
            "auth": { "type": "m.login.dummy" },
        });
        let answer = self.anonymous().post("v3/register", body).await;
        self.user_of(answer.ok())
    }

    /// Signs in with a password; `more` is added to the request.
    pub async fn try_login(&self, user: &str, password: &str, more: Value) -> Answer {
        let mut body = json!({
            "type": "m.login.password",
            "identifier": { "type": "m.id.user", "user": user },
            "password": password,
        });
        merge(&mut body, more);
        self.anonymous().post("v3/login", body).await
    }

    /// Signs in on a new device.
    pub async fn login(&self, user: &str) -> User {
        let answer = self.try_login(user, PASSWORD, json!({})).await;
        self.user_of(answer.ok())
    }

    /// The user of an answer of `/register` or `/login`.
    pub fn user_of(&self, answer: Value) -> User {
        let text = |key: &str| answer[key].as_str().map(str::to_owned);
        let access_token = text("access_token").expect("an access token");
        User {
            api: self.with_token(&access_token),
            user_id: text("user_id").expect("a user id"),
            device_id: text("device_id").expect("a device id"),
            access_token,
            refresh_token: text("refresh_token"),
        }
    }
}

impl User {
    /// The user id's part between `@` and `:`.
    pub fn localpart(&self) -> &str {
        let whole = &self.user_id[1..];
        whole.split_once(':').map_or(whole, |(local, _)| local)
    }

    /// The same user on a new device.
    pub async fn another_device(&self) -> User {
        self.api.login(&self.user_id).await
    }

    /// Sends a request that needs the password: first without it, then with the
    /// session that the server answered.
    pub async fn with_password(&self, method: Method, path: &str, body: Value) -> Answer {
        self.with_this_password(method, path, body, PASSWORD).await
    }

    /// As [`User::with_password`], with another password.
    pub async fn with_this_password(
        &self,
        method: Method,
        path: &str,
        mut body: Value,
        password: &str,
    ) -> Answer {
        let first = self.request(method.clone(), path).json(&body);
        let challenge = self.send_request(first).await.asks_for_auth();
        body["auth"] = json!({
            "type": "m.login.password",
            "identifier": { "type": "m.id.user", "user": self.user_id },
            "password": password,
            "session": challenge["session"],
        });
        self.send_request(self.request(method, path).json(&body))
            .await
    }
}

/// Adds the members of `more` to `into`.
pub(crate) fn merge(into: &mut Value, more: Value) {
    if let (Value::Object(into), Value::Object(more)) = (into, more) {
        into.extend(more);
    }
}
