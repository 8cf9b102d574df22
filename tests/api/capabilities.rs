//! What a client asks first: versions, capabilities, where the server is.

use crate::server;

#[tokio::test]
async fn the_versions_include_those_of_today() {
    let versions = server().get("versions").await.ok();
    let listed: Vec<&str> = versions["versions"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|version| version.as_str())
        .collect();
    for version in ["v1.11", "v1.18", "v1.19"] {
        assert!(listed.contains(&version), "{listed:?}");
    }
    assert!(
        listed.iter().all(|version| version.starts_with(['v', 'r'])),
        "{listed:?}"
    );
}

#[tokio::test]
async fn the_capabilities_name_the_room_versions() {
    let alice = server().register("alice").await;
    let answer = alice.get("v3/capabilities").await.ok();
    let versions = &answer["capabilities"]["m.room_versions"];
    assert_eq!(versions["default"], "12");
    for version in 1..=12 {
        let known = &versions["available"][version.to_string()];
        assert_eq!(known, "stable", "version {version}");
    }
    for version in ["org.matrix.msc3757.10", "org.matrix.msc3757.11"] {
        assert_eq!(
            versions["available"][version], "unstable",
            "version {version}"
        );
    }
    assert_eq!(answer["capabilities"]["m.change_password"]["enabled"], true);
}

#[tokio::test]
async fn the_well_known_page_names_a_server_or_is_missing() {
    let answer = server().get("/.well-known/matrix/client").await;
    match answer.status {
        200 => {
            let page = answer.ok();
            let url = page["m.homeserver"]["base_url"].as_str().unwrap();
            assert!(url.starts_with("http"), "{url}");
        }
        status => assert_eq!(status, 404),
    }
}
