//! A server without a relay.

use harness::Server;
use serde_json::json;

use crate::{ADD, ADD_TOKEN, REGISTER_TOKEN, RESET_TOKEN, SECRET, login, wish};

#[tokio::test]
async fn without_a_relay_every_endpoint_says_so() {
    let server = Server::start();
    let api = server.api();
    let alice = api.register("alice").await;
    let email = wish("alice@example.org", 1);
    for path in [ADD_TOKEN, REGISTER_TOKEN, RESET_TOKEN] {
        let answer = alice.api.anonymous().post(path, email.clone()).await;
        answer.refused(403, "M_THREEPID_DENIED");
    }
    let number = json!({
        "client_secret": SECRET, "country": "DE", "phone_number": "0301234567", "send_attempt": 1,
    });
    for path in [
        "v3/account/3pid/msisdn/requestToken",
        "v3/register/msisdn/requestToken",
        "v3/account/password/msisdn/requestToken",
    ] {
        let answer = api.post(path, number.clone()).await;
        answer.refused(403, "M_THREEPID_DENIED");
    }
    let creds = json!({
        "client_secret": SECRET, "sid": "x", "id_server": "id.example", "id_access_token": "x",
    });
    for (path, body) in [
        (ADD, json!({ "client_secret": SECRET, "sid": "x" })),
        ("v3/account/3pid/bind", creds.clone()),
        ("v3/account/3pid", json!({ "three_pid_creds": creds })),
    ] {
        alice
            .post(path, body.clone())
            .await
            .refused(403, "M_FORBIDDEN");
        api.post(path, body).await.refused(401, "M_MISSING_TOKEN");
    }
    let address = json!({ "medium": "email", "address": "alice@example.org" });
    for path in ["v3/account/3pid/delete", "v3/account/3pid/unbind"] {
        let answer = alice.post(path, address.clone()).await.ok();
        assert_eq!(answer, json!({ "id_server_unbind_result": "no-support" }));
    }
    let listed = alice.get("v3/account/3pid").await.ok();
    assert_eq!(listed, json!({ "threepids": [] }));
    let able = alice.get("v3/capabilities").await.ok();
    assert_eq!(able["capabilities"]["m.3pid_changes"]["enabled"], false);
    // A password is changed by somebody who is signed in, and by nobody else.
    let body = json!({ "new_password": "stolen words" });
    let answer = api.post("v3/account/password", body).await;
    answer.refused(401, "M_MISSING_TOKEN");
    let answer = login(&api, "alice@example.org", harness::PASSWORD).await;
    answer.refused(403, "M_FORBIDDEN");
}
