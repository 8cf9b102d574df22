//! Files.

use harness::pictures;

use crate::call::Call;
use crate::walk::Walk;
use crate::world::World;

pub(super) async fn walk(walk: &Walk, world: &World) {
    uploads(walk, world).await;
    for (suffix, has_token) in [("Authed", true), ("", false)] {
        let to = |id: &str| {
            let call = walk.to(&format!("{id}{suffix}"));
            if has_token { call.by(&world.bob) } else { call }
        };
        downloads(&to, world).await;
    }
    configuration(walk, world).await;
}

async fn uploads(walk: &Walk, world: &World) {
    let picture = || pictures::png(8, 8, 255);
    walk.to("uploadContent")
        .by(&world.alice)
        .query("filename", "a picture.png")
        .bytes("image/png", picture())
        .valid()
        .await;
    let made = walk.to("createContent").by(&world.alice).valid().await;
    let media = made["content_uri"].as_str().unwrap_or_default();
    let media = media.rsplit('/').next().unwrap_or_default().to_owned();
    let put = |media: &str| {
        walk.to("uploadContentToMXC")
            .with("serverName", "localhost")
            .with("mediaId", media)
            .bytes("image/png", picture())
    };
    put(&media)
        .by(&world.bob)
        .refused("of somebody else", 403, "M_FORBIDDEN")
        .await;
    put(&media).by(&world.alice).valid().await;
    put(&media)
        .by(&world.alice)
        .refused("that came already", 409, "M_CANNOT_OVERWRITE_MEDIA")
        .await;
    put("nothing")
        .by(&world.alice)
        .refused_as(
            "that was not announced",
            &[(404, "M_NOT_FOUND"), (403, "M_FORBIDDEN")],
        )
        .await;
    let late = walk.to("createContent").by(&world.alice).valid().await;
    let late = late["content_uri"].as_str().unwrap_or_default().to_owned();
    walk.to("getContentAuthed")
        .by(&world.bob)
        .with("serverName", "localhost")
        .with("mediaId", late.rsplit('/').next().unwrap_or_default())
        .query("timeout_ms", "1")
        .refused("that did not come yet", 504, "M_NOT_YET_UPLOADED")
        .await;
}

async fn downloads<'a>(to: &impl Fn(&str) -> Call<'a>, world: &World) {
    let at = |id: &str, media: &str| {
        to(id)
            .with("serverName", "localhost")
            .with("mediaId", media)
    };
    let sized = |media: &str| {
        at("getContentThumbnail", media)
            .query("width", "32")
            .query("height", "32")
    };
    let media = world.media_id();
    at("getContent", media).valid().await;
    at("getContentOverrideName", media)
        .with("fileName", "my name.png")
        .valid()
        .await;
    sized(media).query("method", "crop").valid().await;
    let nothing = "that is not there";
    at("getContent", "nothing")
        .refused(nothing, 404, "M_NOT_FOUND")
        .await;
    at("getContentOverrideName", "nothing")
        .with("fileName", "name")
        .refused(nothing, 404, "M_NOT_FOUND")
        .await;
    sized("nothing").refused(nothing, 404, "M_NOT_FOUND").await;
}

async fn configuration(walk: &Walk, world: &World) {
    let page = format!("http://{}/page", world.companion);
    for id in ["getConfigAuthed", "getConfig"] {
        walk.to(id).by(&world.alice).valid().await;
    }
    for id in ["getUrlPreviewAuthed", "getUrlPreview"] {
        walk.to(id)
            .by(&world.alice)
            .query("url", &page)
            .valid()
            .await;
    }
}
