//! What a person is to this server beside the account: kind, end, limits, departments, and the
//! rooms that they alone run.

use actions::{LimitChanges, PeopleWish, Right, last_day};
use model::{PersonKind, PersonRecord};

use super::{
    Desk,
    answers::Stop,
    parts::{self, Field, ROWS, badge, button, form, link, path},
    session::{Clerk, Fields},
};
use crate::{
    html::{Element, Node, element},
    texts::fill,
    words::WORDS,
};

/// How many bytes people call a megabyte.
const MEGABYTE: u64 = 1_000_000;

/// What is known of a person beside the account.
pub(super) struct Known {
    person: PersonRecord,
    departments: Vec<String>,
}

impl Known {
    pub(super) async fn of(desk: &Desk, clerk: &Clerk, user: &str) -> Result<Self, Stop> {
        let by = clerk.by();
        Ok(Self {
            person: desk.actions.about_person(&by, user).await?,
            departments: desk.actions.departments_of(&by, user).await?,
        })
    }
}

/// Its facts.
pub(super) fn facts(clerk: &Clerk, known: &Known) -> Vec<(&'static str, Node)> {
    let words = &WORDS.person;
    let person = &known.person;
    let mut rows: Vec<(&'static str, Node)> = Vec::new();
    if person.kind == PersonKind::Partner {
        rows.push((words.kind, badge("warn", words.partner).into()));
    }
    if let Some(organisation) = &person.organisation {
        rows.push((words.organisation, organisation.clone().into()));
    }
    if let Some(end) = person.expires_at {
        rows.push((words.ends, parts::when(end).into()));
    }
    let departments = known.departments.iter().map(|name| {
        let shown = match clerk.may(Right::ListDepartments) {
            true => link(&path("departments", name, ""), name),
            false => element("span").has(name.as_str()),
        };
        element("div").has(shown)
    });
    if !known.departments.is_empty() {
        let departments = element("div").has_all(departments);
        rows.push((words.departments, departments.into()));
    }
    let limits: Vec<Element> = limits(known)
        .into_iter()
        .filter(|(_, _, value)| !value.is_empty())
        .map(|(_, label, value)| element("div").has(format!("{label}: {value}")))
        .collect();
    if !limits.is_empty() {
        rows.push((words.limits, element("div").has_all(limits).into()));
    }
    rows
}

/// The limits of their own: the field of each, its label, and its value, empty if everybody's
/// holds.
fn limits(known: &Known) -> [(&'static str, &'static str, String); 4] {
    let words = &WORDS.person;
    let limits = &known.person.limits;
    let text = |limit: Option<u64>| limit.map(|limit| limit.to_string()).unwrap_or_default();
    let megabytes = limits.media_bytes.map(|bytes| bytes.div_ceil(MEGABYTE));
    [
        (
            "requests",
            words.limit_requests,
            text(limits.requests_per_second),
        ),
        ("burst", words.limit_burst, text(limits.burst)),
        ("megabytes", words.limit_megabytes, text(megabytes)),
        (
            "devices",
            words.limit_devices,
            text(limits.devices.map(u64::from)),
        ),
    ]
}

/// What can be done about it: forms of the person's page.
pub(super) fn acts(clerk: &Clerk, user_id: &str, known: &Known) -> Vec<Element> {
    let words = &WORDS.person;
    let act = |verb: &str, fields: Vec<Element>, text: &str, how: &str| {
        let form = form(clerk.form(), &path("people", user_id, &format!("/{verb}")))
            .has_all(fields)
            .has(parts::reason(&format!("{verb}-reason")))
            .has(button(text));
        parts::act(text, how, form, false)
    };
    let mut acts = Vec::new();
    if clerk.may(Right::ChangeEnd) {
        let end = Field::new("end", words.end)
            .hint(words.end_hint)
            .line(|input| input.with("maxlength", "25").with("autocomplete", "off"));
        let renewable = parts::tick("renewable", words.renewable, known.person.is_renewable);
        let fields = vec![end, renewable];
        acts.push(act("set-end", fields, words.set_end, words.set_end_how));
        if known.person.expires_at.is_some() {
            acts.push(act("renew", Vec::new(), words.renew, words.renew_how));
        }
    }
    if clerk.may(Right::ChangeKind) {
        let choices = [
            (PersonKind::Member.name(), words.member),
            (PersonKind::Partner.name(), words.partner),
        ];
        let organisation = known.person.organisation.as_deref().unwrap_or_default();
        let fields = vec![
            Field::new("kind", words.kind)
                .value(known.person.kind.name())
                .choice(&choices),
            Field::new("organisation", words.organisation)
                .value(organisation)
                .line(|input| input.with("maxlength", "255").with("autocomplete", "off")),
        ];
        acts.push(act("kind", fields, words.set_kind, words.set_kind_how));
    }
    if clerk.may(Right::ChangeLimits) {
        let numbers = limits(known).map(|(name, label, value)| {
            Field::new(name, label).value(&value).line(|input| {
                input
                    .with("inputmode", "numeric")
                    .with("maxlength", "12")
                    .with("autocomplete", "off")
            })
        });
        let fields = [parts::hint(words.limits_hint)];
        let fields = fields.into_iter().chain(numbers).collect();
        acts.push(act(
            "limits",
            fields,
            words.set_limits,
            words.set_limits_how,
        ));
    }
    acts
}

/// What else is asked when an account is closed: what becomes of the rooms that its person
/// alone runs, and of what they wrote.
pub(super) async fn closing_fields(
    desk: &Desk,
    clerk: &Clerk,
    user_id: &str,
) -> Result<Vec<Element>, Stop> {
    let words = &WORDS.person;
    let planned = desk
        .actions
        .plan_closing(&clerk.by(), user_id, None)
        .await?;
    let mut fields = Vec::new();
    if !planned.is_empty() {
        let count = planned.len().to_string();
        let rooms = planned.iter().take(ROWS).map(|one| {
            let name = one.room.name.as_deref().unwrap_or(&one.room.room_id);
            let to = one.to.as_ref().map_or(words.nobody, |to| to.as_str());
            element("li").has(fill(words.handover, &[("room", name), ("to", to)]))
        });
        fields.push(parts::hint(&fill(words.runs_alone, &[("count", &count)])));
        fields.push(element("ul").with("class", "plain").has_all(rooms));
        fields.push(parts::tick("hand-over", words.hand_over, true));
        fields.push(
            Field::new("to", words.heir)
                .hint(words.heir_hint)
                .line(|input| input.with("maxlength", "255").with("autocomplete", "off")),
        );
    }
    fields.push(parts::tick("erase", words.erase, false));
    Ok(fields)
}

/// What a form about it wants; none if it is about something else, and what is wrong with it if
/// it cannot be read.
pub(super) fn wish(
    verb: &str,
    user: &str,
    fields: &Fields,
) -> Result<Option<PeopleWish>, &'static str> {
    let user = user.to_owned();
    Ok(Some(match verb {
        "set-end" => {
            let expires_at = match fields.filled("end") {
                None => None,
                Some(text) => Some(last_day(&text).ok_or(WORDS.person.wrong_day)?),
            };
            PeopleWish::SetEnd {
                user,
                expires_at,
                is_renewable: fields.text("renewable") == "1",
            }
        }
        "renew" => PeopleWish::Renew { user },
        "kind" => PeopleWish::SetKind {
            user,
            kind: PersonKind::from_name(fields.text("kind")).ok_or(WORDS.acts.not_done)?,
            organisation: fields.filled("organisation"),
        },
        "limits" => PeopleWish::ChangeLimits {
            user,
            changes: limit_changes(fields)?,
        },
        "close" => PeopleWish::Close {
            user,
            erase: fields.text("erase") == "1",
            hands_over: fields.text("hand-over") == "1",
            to: fields.filled("to"),
        },
        _ => return Ok(None),
    }))
}

fn limit_changes(fields: &Fields) -> Result<LimitChanges, &'static str> {
    let wrong = WORDS.person.wrong_number;
    let number = |name: &str| match fields.filled(name) {
        None => Ok(None),
        Some(text) => text.parse::<u64>().map(Some).map_err(|_| wrong),
    };
    let devices = number("devices")?.map(u32::try_from).transpose();
    let megabytes = number("megabytes")?;
    Ok(LimitChanges {
        reset: true,
        requests_per_second: number("requests")?,
        burst: number("burst")?,
        media_bytes: megabytes.map(|megabytes| megabytes.saturating_mul(MEGABYTE)),
        devices: devices.map_err(|_| wrong)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_a_number_or_nothing() {
        let read = |query: &str| limit_changes(&Fields::of_query(query));
        let found = read("requests=5&megabytes=20&devices=+").unwrap();
        assert_eq!(
            (found.requests_per_second, found.media_bytes),
            (Some(5), Some(20_000_000))
        );
        assert_eq!(
            (found.burst, found.devices, found.reset),
            (None, None, true)
        );
        for query in ["requests=-1", "megabytes=many", "devices=5000000000"] {
            assert_eq!(read(query), Err(WORDS.person.wrong_number), "{query}");
        }
    }

    #[test]
    fn an_end_is_a_day_or_none() {
        let end = |query: &str| wish("set-end", "anna", &Fields::of_query(query));
        assert!(matches!(
            end("end=").unwrap(),
            Some(PeopleWish::SetEnd {
                expires_at: None,
                is_renewable: false,
                ..
            })
        ));
        assert!(matches!(
            end("end=2027-03-31&renewable=1").unwrap(),
            Some(PeopleWish::SetEnd {
                expires_at: Some(1_806_537_600_000),
                is_renewable: true,
                ..
            })
        ));
        assert_eq!(end("end=soon").unwrap_err(), WORDS.person.wrong_day);
    }
}
