//! One request: built by a case, sent, judged.

use std::sync::Arc;

use harness::{Answer, PASSWORD, User, escape};
use reqwest::Method;
use serde_json::{Value, json};

use crate::specification::Operation;
use crate::walk::Walk;

/// What malformed input is refused with.
const MALFORMED: &[(u16, &str)] = &[
    (400, "M_BAD_JSON"),
    (400, "M_INVALID_PARAM"),
    (400, "M_MISSING_PARAM"),
];

/// The variables of paths that are ids of a certain form.
const IDS: &[&str] = &["roomId", "userId", "eventId", "roomAlias", "roomIdOrAlias"];

/// What a text that is no such id is refused with: by its form, or since nothing has it, or
/// since nobody may do that with it.
const NOT_AN_ID: &[(u16, &str)] = &[
    (400, "M_INVALID_PARAM"),
    (403, "M_FORBIDDEN"),
    (404, "M_NOT_FOUND"),
];

/// A request that a case builds.
#[derive(Clone)]
pub(crate) struct Call<'a> {
    walk: &'a Walk,
    operation: Arc<Operation>,
    variables: Vec<(String, String)>,
    query: Vec<(String, String)>,
    token: Option<String>,
    body: Body,
}

#[derive(Clone)]
enum Body {
    None,
    Json(Value),
    Bytes(String, Vec<u8>),
}

impl<'a> Call<'a> {
    pub(crate) fn new(walk: &'a Walk, operation: Arc<Operation>) -> Self {
        Self {
            walk,
            operation,
            variables: Vec::new(),
            query: Vec::new(),
            token: None,
            body: Body::None,
        }
    }

    /// Fills a variable of the path.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds a parameter to the query.
    pub(crate) fn query(mut self, name: &str, value: &str) -> Self {
        self.query.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sends it as this user.
    pub(crate) fn by(self, user: &User) -> Self {
        let token = user.access_token.clone();
        self.by_token(&token)
    }

    /// Sends it with this access token.
    pub(crate) fn by_token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// Sends this body.
    pub(crate) fn json(mut self, body: Value) -> Self {
        self.body = Body::Json(body);
        self
    }

    /// Sends these bytes.
    pub(crate) fn bytes(mut self, content_type: &str, bytes: Vec<u8>) -> Self {
        self.body = Body::Bytes(content_type.to_owned(), bytes);
        self
    }

    async fn send(&self) -> Answer {
        let mut path = self.operation.path.clone();
        for (name, value) in &self.variables {
            let hole = format!("{{{name}}}");
            assert!(path.contains(&hole), "{} has no {hole}", self.operation.id);
            path = path.replace(&hole, &escape(value));
        }
        assert!(!path.contains('{'), "not all is filled: {path}");
        for (index, (name, value)) in self.query.iter().enumerate() {
            let sign = if index == 0 { '?' } else { '&' };
            path.push_str(&format!("{sign}{}={}", escape(name), escape(value)));
        }
        let method = Method::from_bytes(self.operation.method.as_bytes()).expect("a method");
        let api = match &self.token {
            Some(token) => self.walk.api.with_token(token),
            None => self.walk.api.anonymous(),
        };
        let request = api.request(method, &path);
        let request = match &self.body {
            Body::None => request,
            Body::Json(body) => request.json(body),
            Body::Bytes(content_type, bytes) => request
                .header("Content-Type", content_type)
                .body(bytes.clone()),
        };
        api.send_request(request).await
    }

    /// Sends a request that is right; gives the answer's body, null if it is not right.
    ///
    /// Before an operation's first such request come those that follow from it and the
    /// specification: without an access token, with one that nobody has, with ids in the
    /// path that are none, with a body that is no JSON or of a wrong type, and with each known
    /// part of body and query of a wrong type or left out.
    pub(crate) async fn valid(self) -> Value {
        if !self.begin().await {
            return Value::Null;
        }
        let answer = self.send().await;
        self.walk.judge_valid(&self.operation, &answer);
        if answer.status < 300 {
            answer.body
        } else {
            Value::Null
        }
    }

    /// As [`Call::valid`], for an operation that wants the password first.
    pub(crate) async fn valid_with_password(mut self, user: &User) -> Value {
        if !self.begin().await {
            return Value::Null;
        }
        let asked = self.send().await;
        self.judge_challenge(&asked);
        let Body::Json(body) = &mut self.body else {
            panic!("{} has no body", self.operation.id);
        };
        body["auth"] = json!({
            "type": "m.login.password",
            "identifier": { "type": "m.id.user", "user": user.user_id },
            "password": "wrong",
            "session": asked.body["session"],
        });
        if asked.status == 401 {
            let refused = self.send().await;
            self.judge_challenge(&refused);
        }
        if let Body::Json(body) = &mut self.body {
            body["auth"]["password"] = json!(PASSWORD);
        }
        let answer = self.send().await;
        self.walk.judge_valid(&self.operation, &answer);
        answer.body
    }

    /// Judges an answer that asks for a step of authentication.
    fn judge_challenge(&self, answer: &Answer) {
        let walk = self.walk;
        if walk.is_unrecognised(&self.operation, answer) {
            return;
        }
        if answer.status != 401 || !answer.body["session"].is_string() {
            return walk.mistake(&self.operation, "the password was not asked for", answer);
        }
        let listed = self.operation.responses.get(&401);
        if let Some(schema) = listed.and_then(|listed| listed.schema.as_ref()) {
            let mistakes = walk.schemas.mistakes(schema, &answer.body);
            if !mistakes.is_empty() {
                return walk.mistake(&self.operation, &mistakes.join("; "), answer);
            }
        }
        walk.note(&self.operation.id, |record| record.refused += 1);
    }

    /// Sends a request that is wrong in the case's own way.
    pub(crate) async fn refused(self, what: &str, status: u16, errcode: &str) {
        self.refused_as(what, &[(status, errcode)]).await;
    }

    /// As [`Call::refused`], where the specification leaves a choice.
    pub(crate) async fn refused_as(self, what: &str, expected: &[(u16, &str)]) {
        let answer = self.send().await;
        self.walk
            .judge_refused(&self.operation, what, &answer, expected);
    }

    /// Sends what follows from the specification once; whether the server knows the operation.
    async fn begin(&self) -> bool {
        let id = &self.operation.id;
        let (known, first) = self.walk.note(id, |record| {
            let first = !record.is_challenged;
            record.is_challenged = true;
            (!record.is_unrecognised, first)
        });
        if !known || !first {
            return known;
        }
        if self.operation.needs_token {
            let mut without = self.clone();
            without.token = None;
            without
                .refused("without an access token", 401, "M_MISSING_TOKEN")
                .await;
            if self.walk.note(id, |record| record.is_unrecognised) {
                return false;
            }
            let nobody = self.clone().by_token("nobody-has-this-token");
            nobody
                .refused("with an unknown access token", 401, "M_UNKNOWN_TOKEN")
                .await;
        }
        self.wrong_variables().await;
        self.wrong_queries().await;
        self.wrong_bodies().await;
        !self.walk.note(id, |record| record.is_unrecognised)
    }

    async fn wrong_variables(&self) {
        for (index, (name, _)) in self.variables.iter().enumerate() {
            if !IDS.contains(&name.as_str()) {
                continue;
            }
            let mut wrong = self.clone();
            wrong.variables[index].1 = "nonsense".to_owned();
            let what = format!("with a {name} that is none");
            wrong.refused_as(&what, NOT_AN_ID).await;
        }
    }

    async fn wrong_queries(&self) {
        for (name, schema, is_required) in &self.operation.query {
            if *is_required {
                let mut without = self.clone();
                without.query.retain(|(known, _)| known != name);
                let what = format!("without {name} in the query");
                without.refused_as(&what, MALFORMED).await;
            }
            let is_closed = schema["enum"].is_array();
            if is_closed || schema["type"] == "integer" || schema["type"] == "boolean" {
                let mut wrong = self.clone();
                wrong.query.retain(|(known, _)| known != name);
                let what = format!("with a wrong {name} in the query");
                wrong
                    .query(name, "nonsense")
                    .refused_as(&what, MALFORMED)
                    .await;
            }
        }
    }

    async fn wrong_bodies(&self) {
        let (Some(schema), Body::Json(body)) = (&self.operation.request, &self.body) else {
            return;
        };
        let mut broken = self.clone();
        broken.body = Body::Bytes("application/json".into(), b"{".to_vec());
        broken
            .refused("with a body that is no JSON", 400, "M_NOT_JSON")
            .await;
        if body.is_object() {
            let list = self.clone().json(json!([]));
            list.refused("with a list as the body", 400, "M_BAD_JSON")
                .await;
        }
        let properties = self.walk.specification.properties(schema);
        let properties = match properties {
            Ok(properties) => properties,
            Err(error) => {
                let id = &self.operation.id;
                return self.walk.note(id, |record| record.mistakes.push(error));
            }
        };
        for (name, (_, is_required)) in properties {
            let Some(right) = body.get(&name) else {
                continue;
            };
            let mut wrong = body.clone();
            wrong[&name] = if right.is_object() || right.is_array() {
                json!("a text")
            } else {
                json!({ "an": ["object"] })
            };
            let what = format!("with {name} of a wrong type");
            self.clone().json(wrong).refused_as(&what, MALFORMED).await;
            if is_required {
                let mut without = body.clone();
                if let Some(members) = without.as_object_mut() {
                    members.remove(&name);
                }
                let what = format!("without {name}");
                self.clone()
                    .json(without)
                    .refused_as(&what, MALFORMED)
                    .await;
            }
        }
    }
}
