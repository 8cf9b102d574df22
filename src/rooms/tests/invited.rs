//! Invitations from outside that become part of their room.

use graph::{Draft, Version};
use serde_json::json;

use super::{
    content,
    sides::{Side, received},
};
use crate::{Arrival, Incoming, Outside};

/// What was kept when nothing that it rests on was here is one of the events that forks are
/// resolved by, later.
#[tokio::test]
async fn whoever_comes_in_by_an_invitation_while_others_talk_stays_in() {
    let mut a = Side::new("a.test", 1).await;
    let mut b = Side::new("b.test", 2).await;
    a.create("11").await;
    let bob = b.person.user_id.clone();
    let invitation = json!({ "membership": "invite" });
    let invited_by = a.set("m.room.member", bob.as_str(), invitation).await;
    let invitation = a.with_known(|known| {
        let found = known.by_id(&invited_by).unwrap().unwrap();
        received(&found.event).event
    });
    let outside = Outside {
        event: invitation,
        version: Version::V11,
        state: Vec::new(),
        servers: vec![a.name.clone()],
    };
    b.rooms.set_outside(outside).await.unwrap();
    // Bob comes in while somebody speaks who has not heard of it.
    let state = a.state_events();
    let draft = Draft {
        event_type: "m.room.member".to_owned(),
        state_key: Some(bob.to_string()),
        content: content(json!({ "membership": "join" })),
        sender: bob.clone(),
        redacts: None,
        origin_server_ts: b.clock.now().0,
        sticky: None,
    };
    let join = a.remote_event(&b, Version::V11, draft).await;
    a.say("meanwhile").await;
    let incoming = vec![Incoming::new(received(&join))];
    let arrived = a.rooms.receive(a.room(), incoming).await.unwrap();
    assert!(matches!(arrived[..], [Arrival::Accepted(_)]), "{arrived:?}");
    a.give(&mut b, &join, &state, None).await;

    // It rests on the invitation, whose state the other server tells.
    let said = a.own_events().pop().unwrap();
    let mut incoming = Incoming::new(a.copy(said));
    let ids = state.iter().map(|event| event.event_id().to_owned());
    incoming.prev_states.insert(invited_by, ids.collect());
    let arrived = b.rooms.receive(b.room(), vec![incoming]).await.unwrap();
    assert!(matches!(arrived[..], [Arrival::Accepted(_)]), "{arrived:?}");
    let key = ("m.room.member".to_owned(), bob.to_string());
    assert_eq!(b.state()[&key], join.event_id().as_str());
    assert_eq!(a.state(), b.state());
    assert_eq!(b.messages(), ["meanwhile"]);
}
