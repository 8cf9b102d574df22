//! The walker itself: wrong bodies are found, and empty ones do not count.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::coverage::Held;
use crate::events::{self, Counts};
use crate::schema::Schemas;
use crate::specification::{Operation, Specification};

const FILE: &str = r##"
paths:
  "/list/{id} ":
    get:
      operationId: list
      security:
        - accessTokenBearer: []
      parameters:
        - $ref: "#/components/parameters/limit"
      responses:
        "200":
          $ref: "#/components/responses/list"
        "404":
          content: {application/json: {schema: {$ref: definitions/errors/error.yaml}}}
servers:
  - variables: {basePath: {default: /_matrix/client/v3}}
components:
  parameters:
    limit: {in: query, name: limit, required: true, schema: {type: integer}}
  responses:
    list:
      headers:
        X-Must: {required: true}
        X-May: {schema: {type: string}}
      content:
        application/json:
          schema: {$ref: definitions/list.yaml}
"##;

const LIST: &str = r##"
type: object
properties:
  next: {type: string}
  items:
    type: array
    items:
      allOf:
        - {$ref: list.yaml}
        - type: object
          properties:
            user: {type: string, format: mx-user-id}
            more: {type: object, additionalProperties: {type: integer}}
          required: [user]
required: [items]
"##;

const MEMBER: &str = "
type: object
properties:
  content:
    type: object
    properties: {membership: {type: string, enum: [join, leave]}}
    required: [membership]
";

/// A specification of one operation, whose schema contains itself.
fn specification() -> (tempfile::TempDir, Arc<Specification>, Operation) {
    let folder = tempfile::tempdir().unwrap();
    let api = folder.path().join("api/client-server");
    std::fs::create_dir_all(api.join("definitions/errors")).unwrap();
    std::fs::write(api.join("list.yaml"), FILE).unwrap();
    std::fs::write(api.join("definitions/list.yaml"), LIST).unwrap();
    let schemas = folder.path().join("event-schemas/schema");
    std::fs::create_dir_all(&schemas).unwrap();
    std::fs::write(schemas.join("m.room.member.yaml"), MEMBER).unwrap();
    let specification = Specification::open(folder.path()).unwrap();
    let operation = specification.operations().unwrap().remove(0);
    (folder, Arc::new(specification), operation)
}

fn item(more: &Value) -> Value {
    json!({ "user": "@a:localhost", "items": [], "more": more })
}

#[test]
fn operations_are_read_with_what_they_refer_to() {
    let (_folder, _, operation) = specification();
    assert_eq!(operation.id, "list");
    assert_eq!(operation.method, "GET");
    assert_eq!(operation.path, "/_matrix/client/v3/list/{id}");
    assert!(operation.needs_token && operation.request.is_none());
    assert_eq!(
        operation.query,
        [("limit".to_owned(), json!({ "type": "integer" }), true)]
    );
    let statuses: Vec<_> = operation.responses.keys().collect();
    assert_eq!(statuses, [&200, &404]);
    assert_eq!(operation.responses[&200].headers, ["X-Must"]);
}

#[test]
fn wrong_bodies_are_found_at_any_depth() {
    let (_folder, specification, operation) = specification();
    let schemas = Schemas::new(specification);
    let schema = operation.responses[&200].schema.clone().unwrap();
    let right = json!({ "next": "a", "items": [item(&json!({ "a": 1 }))] });
    assert_eq!(schemas.mistakes(&schema, &right), Vec::<String>::new());
    let deep = json!({ "user": "@a:localhost", "items": [{ "user": "a", "items": [] }] });
    for wrong in [
        json!({}),
        json!([]),
        json!({ "items": [], "next": null }),
        json!({ "items": [{ "items": [] }] }),
        json!({ "items": [item(&json!({ "a": "b" }))] }),
        json!({ "items": [deep] }),
    ] {
        assert_ne!(
            schemas.mistakes(&schema, &wrong),
            Vec::<String>::new(),
            "{wrong}"
        );
    }
}

#[test]
fn an_empty_answer_does_not_count_until_another_is_filled() {
    let (_folder, specification, operation) = specification();
    let schema = operation.responses[&200].schema.clone().unwrap();
    let mut held = Held::default();
    let mut note = |body: Value| {
        held.note(&specification, &schema, &body).unwrap();
        let texts = |names: Vec<&str>| names.join(" ");
        (texts(held.empty()), texts(held.missing()))
    };
    let empty = note(json!({ "items": [] }));
    assert_eq!(empty, ("items[]".into(), "next".into()));
    let (empty, missing) = note(json!({ "next": "a", "items": [item(&json!({}))] }));
    assert_eq!(empty, "items[].items[] items[].more{}");
    assert_eq!(missing, "items[].next");
    let (empty, _) = note(json!({ "items": [item(&json!({ "a": 1 }))] }));
    assert_eq!(empty, "items[].items[]");
}

#[test]
fn events_are_held_against_their_types_wherever_they_stand() {
    let (_folder, specification, _operation) = specification();
    let schemas = Schemas::new(specification.clone());
    let member = |content: Value| json!({ "type": "m.room.member", "content": content });
    let right = member(json!({ "membership": "join" }));
    let other = json!({ "type": "m.room.other", "content": { "membership": 1 } });
    let mut redacted = member(json!({}));
    redacted["unsigned"] = json!({ "redacted_because": {} });
    let check = |body: Value| {
        let mut counts = Counts::new();
        let mistakes = events::mistakes(&specification, &schemas, &body, &mut counts);
        (mistakes.len(), counts.values().sum::<usize>())
    };
    assert_eq!(check(json!({ "a": [right, other, redacted] })), (0, 1));
    let wrong = member(json!({ "membership": "nonsense" }));
    assert_eq!(check(json!([{ "a": { "b": wrong } }, right])), (1, 2));
    assert_eq!(check(member(json!({}))), (1, 1));
}
