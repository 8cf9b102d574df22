//! The answer to those who ask too often, of each operation that lists it.

use harness::{Answer, Api, Config, Server};
use reqwest::Method;
use serde_json::json;

use crate::specification::Operation;
use crate::walk::Walk;

/// How often an operation is tried: a right to ask may have come back meanwhile.
const ATTEMPTS: usize = 5;

/// Asks a server of its own that lets nobody ask more than once a second.
pub(crate) async fn walk(walk: &Walk) {
    // The first lines go on in the section of the limits.
    let more = "requests_per_second_per_account = 1\nburst_per_account = 1\n\
                requests_per_second_per_address = 1\nburst_per_address = 1\n\
                [media]\nunauthenticated_until = \"always\"\n";
    let server = Server::with(Config {
        limits: true,
        more: more.into(),
        ..Config::default()
    });
    let anonymous = server.api();
    let user = anonymous.register_as("hasty").await;
    for operation in walk.operations.values() {
        if !operation.responses.contains_key(&429) {
            continue;
        }
        let api = if operation.needs_token {
            &user.api
        } else {
            &anonymous
        };
        let mut answer = ask(api, operation).await;
        for _ in 1..ATTEMPTS {
            if answer.status == 429 {
                break;
            }
            answer = ask(api, operation).await;
        }
        let expected = [(429, "M_LIMIT_EXCEEDED")];
        walk.judge_refused(operation, "too often", &answer, &expected);
    }
}

/// Asks as often as one may, and then the operation.
async fn ask(api: &Api, operation: &Operation) -> Answer {
    for _ in 0..ATTEMPTS {
        if api.get("versions").await.status == 429 {
            break;
        }
    }
    let path: Vec<&str> = operation.path.split('/').collect();
    let fill = |part: &str| if part.starts_with('{') { "x" } else { part }.to_owned();
    let path: Vec<String> = path.into_iter().map(fill).collect();
    let method = Method::from_bytes(operation.method.as_bytes()).expect("a method");
    let request = api.request(method, &path.join("/"));
    let request = match operation.request {
        Some(_) => request.json(&json!({})),
        None => request,
    };
    api.send_request(request).await
}
