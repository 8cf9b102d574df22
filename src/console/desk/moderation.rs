//! What is under way with rooms, redacting what somebody has said, and the ban lists that the
//! server heeds.

use actions::{Administration, Right, RoomWish};
use axum::response::Response;
use http::{Method, StatusCode};
use model::{RoomTaskRecord, RoomTaskState, RoomWork};
use rooms::BanList;
use web::{ApiError, Part, PathOf, Routes};

use super::{
    Desk,
    answers::{Stop, see_other},
    layout::Sheet,
    parts::{self, Field, ROWS, badge, button, form, hidden, link, path, when},
    people::refused,
    session::{Clerk, Fields, Filled},
};
use crate::{
    html::{Element, Node},
    texts::fill,
    words::WORDS,
};

const HERE: &str = "/console/moderation";

pub(super) fn routes() -> Routes<Desk> {
    Routes::new().plain(Method::GET, HERE, show).plain(
        Method::POST,
        "/console/moderation/{verb}",
        act,
    )
}

/// `GET /console/moderation`
async fn show(Part(desk): Part<Desk>, clerk: Clerk, query: Fields) -> Result<Response, Stop> {
    let note = (query.text("done") == "1").then(|| parts::done(WORDS.acts.done));
    let note = note.map(|note| (StatusCode::OK, note));
    page(&desk, &clerk, note).await
}

async fn page(
    desk: &Desk,
    clerk: &Clerk,
    note: Option<(StatusCode, Element)>,
) -> Result<Response, Stop> {
    let words = &WORDS.moderation;
    let by = clerk.by();
    let tasks = desk.actions.room_tasks(&by).await?;
    let status = note.as_ref().map_or(StatusCode::OK, |(status, _)| *status);
    let mut sheet = Sheet::new("moderation", words.title)
        .status(status)
        .has_all(note.map(|(_, note)| note))
        .has(tasks_card(tasks.iter().map(|(_, task)| task).take(ROWS)));
    if clerk.may(Right::RedactEvents) {
        sheet = sheet.has(redact_act(clerk));
    }
    if clerk.may(Right::ShowBanLists) {
        let lists = desk.actions.ban_lists(&by).await?;
        sheet = sheet.has(lists_card(clerk, &lists));
    }
    Ok(sheet.shown(desk, clerk))
}

fn tasks_card<'a>(tasks: impl Iterator<Item = &'a RoomTaskRecord>) -> Element {
    let words = &WORDS.moderation;
    let rows: Vec<Vec<Node>> = tasks.map(task_row).collect();
    let heads = [
        words.work,
        words.about,
        words.state,
        words.progress,
        words.begun,
        words.by,
        words.why,
    ];
    let card = parts::card(words.tasks);
    match rows.is_empty() {
        true => card.has(parts::hint(words.no_tasks)),
        false => card
            .has(parts::table(words.tasks, &heads, rows))
            .has(parts::hint(words.tasks_how)),
    }
}

fn task_row(task: &RoomTaskRecord) -> Vec<Node> {
    let words = &WORDS.moderation;
    let (kind, state, why) = match &task.state {
        RoomTaskState::Waiting => ("plain", words.waiting, ""),
        RoomTaskState::Active => ("warn", words.active, ""),
        RoomTaskState::Done => ("good", words.done, ""),
        RoomTaskState::Failed(why) => ("bad", words.failed, why.as_str()),
    };
    let (work, about) = match &task.work {
        RoomWork::Removal(removal) => match removal.purges {
            true => (words.delete, &removal.room_id),
            false => (words.empty, &removal.room_id),
        },
        RoomWork::Shrinking(shrinking) => (words.shrink, &shrinking.room_id),
        RoomWork::Redaction(redaction) => (words.redaction, &redaction.user_id),
    };
    let progress = match task.expected {
        0 => task.done.to_string(),
        expected => format!("{} / {expected}", task.done),
    };
    vec![
        work.into(),
        parts::id(about).into(),
        badge(kind, state).into(),
        progress.into(),
        when(task.started_at).into(),
        by_whom(task.by.as_deref()),
        why.into(),
    ]
}

fn by_whom(by: Option<&str>) -> Node {
    match by {
        Some(user_id) => parts::id(user_id).into(),
        None => WORDS.moderation.operator.into(),
    }
}

fn redact_act(clerk: &Clerk) -> Element {
    let words = &WORDS.moderation;
    let form = form(clerk.form(), "/console/moderation/redact")
        .has(Field::new("user", words.user).hint(words.user_hint).exact())
        .has(Field::new("typed", words.user_again).exact())
        .has(
            Field::new("room", words.room)
                .hint(words.room_hint)
                .line(|input| input.with("maxlength", "255").with("autocomplete", "off")),
        )
        .has(parts::reason("redact-reason"))
        .has(button(words.redact));
    parts::act(words.redact, words.redact_how, form, true)
}

fn lists_card(clerk: &Clerk, lists: &[BanList]) -> Element {
    let words = &WORDS.moderation;
    let may = clerk.may(Right::ChangeBanLists);
    let rows = lists.iter().enumerate().map(|(index, list)| {
        let rules = list.rules.len().to_string();
        let mut row: Vec<Node> = vec![
            link(&path("rooms", &list.room_id, ""), &list.room_id).into(),
            fill(words.rules, &[("count", &rules)]).into(),
            when(list.record.at).into(),
            by_whom(list.record.by.as_deref()),
        ];
        if may {
            let form = form(clerk.form(), "/console/moderation/ignore")
                .has(hidden("room", &list.room_id))
                .has(parts::reason(&format!("ignore-{index}")))
                .has(button(words.ignore));
            row.push(parts::act(words.ignore, words.ignore_how, form, true).into());
        }
        row
    });
    let mut heads = vec![words.list, words.content, words.since, words.by];
    if may {
        heads.push(words.change);
    }
    let mut card = parts::card(words.lists).has(parts::hint(words.lists_how));
    if !lists.is_empty() {
        card = card.has(parts::table(words.lists, &heads, rows.collect()));
    }
    if may {
        let list = Field::new("room", words.list).id("list");
        let form = form(clerk.form(), "/console/moderation/heed")
            .has(list.hint(words.list_hint).exact())
            .has(parts::reason("heed-reason"))
            .has(button(words.heed));
        card = card.has(parts::act(words.heed, words.heed_how, form, false));
    }
    card
}

/// `POST /console/moderation/{verb}`
async fn act(
    Part(desk): Part<Desk>,
    PathOf(verb): PathOf<String>,
    Filled(clerk, fields): Filled<Clerk>,
) -> Result<Response, Stop> {
    let wrong = |text: &str| Some((StatusCode::BAD_REQUEST, parts::wrong(text)));
    if fields.text("reason").is_empty() {
        return page(&desk, &clerk, wrong(WORDS.acts.no_reason)).await;
    }
    let room = fields.text("room").to_owned();
    let user = fields.text("user").to_owned();
    let wish = match verb.as_str() {
        "redact" if fields.text("typed") != user => {
            return page(&desk, &clerk, wrong(WORDS.acts.other_name)).await;
        }
        "redact" => RoomWish::Redact {
            user,
            room: fields.filled("room"),
        },
        "heed" => RoomWish::Heed {
            room,
            via: Vec::new(),
        },
        "ignore" => RoomWish::Ignore { room },
        _ => return Err(ApiError::not_found(WORDS.failures.not_found).into()),
    };
    let by = clerk.because(fields.text("reason"));
    let wish = Administration::Rooms { wish };
    match desk.actions.administer(&by, wish).await {
        Ok(_) => Ok(see_other("/console/moderation?done=1")),
        Err(error) => {
            let note = refused(error)?;
            page(&desk, &clerk, Some(note)).await
        }
    }
}

#[cfg(test)]
mod tests {
    use model::{RoomSerial, RoomShrinking};

    use super::*;

    #[test]
    fn progress_is_shown_as_far_as_it_is_known() {
        let work = RoomShrinking {
            room: RoomSerial(1),
            room_id: "!a:b".to_owned(),
            before: (9, 0),
            next: (5, 0),
            with_local: true,
        };
        let task = RoomTaskRecord {
            by: None,
            started_at: 0,
            work: RoomWork::Shrinking(work),
            state: RoomTaskState::Active,
            done: 5,
            expected: 9,
            finished_at: 0,
        };
        let failed = RoomTaskRecord {
            state: RoomTaskState::Failed("x<".to_owned()),
            expected: 0,
            ..task.clone()
        };
        let shown = tasks_card([&task, &failed].into_iter()).render();
        let words = &WORDS.moderation;
        for part in ["5 / 9", "<div>5</div>", "x&lt;", words.active, words.failed] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        let nothing = tasks_card(std::iter::empty()).render();
        assert!(nothing.contains(words.no_tasks), "{nothing}");
    }
}
