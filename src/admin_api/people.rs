//! People, as Synapse's tools administer them.

use accounts::Device;
use actions::{
    Actions, Administration, NewPerson, PeopleOrder, PeoplePage, PeopleQuery, Person,
    PersonChanges, Restraint,
};
use http::{Method, StatusCode};
use model::PersonKind;
use ruma_common::OwnedUserId;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};
use web::{Admin, ApiError, JsonBody, Part, PathOf, QueryOf, RawJson, Routes};

use crate::{
    AdminParts,
    answers::{answer, empty, reason, unsupported},
};

/// How many people a page of the list has, and at most.
const PAGE: usize = 100;
const LONGEST_PAGE: usize = 1_000;

const USER: &str = "/_synapse/admin/v2/users/{user_id}";
const ADMIN: &str = "/_synapse/admin/v1/users/{user_id}/admin";

pub(crate) fn routes() -> Routes<AdminParts> {
    Routes::new()
        .plain(Method::GET, "/_synapse/admin/v2/users", list)
        .plain(Method::GET, "/_synapse/admin/v3/users", list_newer)
        .plain(Method::GET, USER, show)
        .plain(Method::PUT, USER, put)
        .plain(Method::GET, "/_synapse/admin/v1/whois/{user_id}", whois)
        .plain(
            Method::POST,
            "/_synapse/admin/v1/deactivate/{user_id}",
            deactivate,
        )
        .plain(Method::PUT, "/_synapse/admin/v1/suspend/{user_id}", suspend)
        .plain(
            Method::POST,
            "/_synapse/admin/v1/reset_password/{user_id}",
            reset_password,
        )
        .plain(Method::GET, ADMIN, is_admin)
        .plain(Method::PUT, ADMIN, set_admin)
        .plain(
            Method::GET,
            "/_synapse/admin/v1/users/{user_id}/accountdata",
            account_data,
        )
        .plain(
            Method::GET,
            "/_synapse/admin/v1/users/{user_id}/pushers",
            pushers,
        )
        .plain(
            Method::GET,
            "/_synapse/admin/v1/username_available",
            username_available,
        )
        .plain(
            Method::GET,
            "/_synapse/admin/v1/threepid/{medium}/users/{address}",
            by_address,
        )
        .plain(
            Method::GET,
            "/_synapse/admin/v1/auth_providers/{provider}/users/{external_id}",
            by_provider,
        )
        .plain(
            Method::POST,
            "/_synapse/admin/v1/users/{user_id}/login",
            log_in_as,
        )
        .plain(
            Method::POST,
            "/_synapse/admin/v1/users/{user_id}/_allow_cross_signing_replacement_without_uia",
            without_proof,
        )
}

/// A person as Synapse shows one.
fn shown(person: &Person) -> Value {
    let account = &person.summary.account;
    json!({
        "name": person.summary.user_id,
        "displayname": person.summary.display_name,
        "avatar_url": person.avatar_url,
        "is_guest": person.is_guest,
        "admin": account.is_admin(),
        "deactivated": account.deactivated_at.is_some(),
        "erased": account.is_erased,
        // Nobody is told other things here than happen.
        "shadow_banned": false,
        "locked": account.is_locked,
        "suspended": person.is_suspended,
        "creation_ts": account.created_at,
        "last_seen_ts": person.summary.last_seen_at,
        "user_type": user_type(person.about.kind),
    })
}

/// A kind as Synapse calls it: members have none.
fn user_type(kind: PersonKind) -> Option<&'static str> {
    (kind != PersonKind::Member).then(|| kind.name())
}

/// Which people a list is to have.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Wanted {
    user_id: Option<String>,
    name: Option<String>,
    guests: Option<bool>,
    admins: Option<bool>,
    deactivated: Option<bool>,
    locked: Option<bool>,
    limit: Option<usize>,
    from: Option<usize>,
    order_by: Option<String>,
    dir: Option<String>,
}

impl Wanted {
    fn query(&self) -> Result<PeopleQuery, ApiError> {
        let order = match self.order_by.as_deref() {
            None | Some("name") => PeopleOrder::Name,
            Some("displayname") => PeopleOrder::DisplayName,
            Some("creation_ts") => PeopleOrder::Created,
            Some("last_seen_ts") => PeopleOrder::LastSeen,
            Some("admin") => PeopleOrder::Administrator,
            Some("deactivated") => PeopleOrder::Deactivated,
            // What all people have alike orders nothing.
            Some("is_guest" | "user_type" | "shadow_banned" | "avatar_url") => PeopleOrder::Name,
            Some(_) => return Err(ApiError::invalid_param("There is no such order.")),
        };
        let backwards = match self.dir.as_deref() {
            None | Some("f") => false,
            Some("b") => true,
            Some(_) => return Err(ApiError::invalid_param("A direction is f or b.")),
        };
        Ok(PeopleQuery {
            name: self.name.clone(),
            user_id: self.user_id.clone(),
            without_guests: self.guests == Some(false),
            administers: self.admins,
            deactivated: None,
            kind: None,
            without_locked: self.locked != Some(true),
            order,
            backwards,
            from: self.from.unwrap_or(0),
            limit: self.limit.unwrap_or(PAGE).min(LONGEST_PAGE),
        })
    }
}

fn page(found: &PeoplePage, from: usize) -> RawJson {
    let people: Vec<Value> = found.people.iter().map(shown).collect();
    let next = from.saturating_add(people.len());
    let mut told = json!({ "users": people, "total": found.total });
    if next < found.total && !found.people.is_empty() {
        told["next_token"] = next.to_string().into();
    }
    answer(&told)
}

/// `GET /_synapse/admin/v2/users`
async fn list(
    Part(actions): Part<Actions>,
    QueryOf(wanted): QueryOf<Wanted>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    let mut query = wanted.query()?;
    // Here `true` adds them.
    query.deactivated = (wanted.deactivated != Some(true)).then_some(false);
    let from = query.from;
    let found = actions.people(&caller.administrator(), query).await?;
    Ok(page(&found, from))
}

/// `GET /_synapse/admin/v3/users`
async fn list_newer(
    Part(actions): Part<Actions>,
    QueryOf(wanted): QueryOf<Wanted>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    let mut query = wanted.query()?;
    query.deactivated = wanted.deactivated;
    let from = query.from;
    let found = actions.people(&caller.administrator(), query).await?;
    Ok(page(&found, from))
}

async fn whole(actions: &Actions, caller: &Admin, user: &str) -> Result<Value, ApiError> {
    let by = caller.administrator();
    let person = actions.person(&by, user).await?;
    let emails = actions.emails_of(&by, person.summary.user).await?;
    let emails = emails.iter().map(|email| {
        json!({
            "medium": "email",
            "address": email.address,
            "added_at": email.added_at,
            "validated_at": email.validated_at,
        })
    });
    let mut told = shown(&person);
    told["cairn.organisation"] = json!(person.about.organisation);
    told["cairn.expires_at"] = json!(person.about.expires_at);
    told["threepids"] = emails.collect::<Vec<_>>().into();
    told["external_ids"] = json!([]);
    for absent in [
        "appservice_id",
        "consent_server_notice_sent",
        "consent_version",
        "consent_ts",
    ] {
        told[absent] = Value::Null;
    }
    Ok(told)
}

/// `GET /_synapse/admin/v2/users/{userId}`
async fn show(
    Part(actions): Part<Actions>,
    PathOf(user_id): PathOf<String>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    Ok(answer(&whole(&actions, &caller, &user_id).await?))
}

/// The body of `PUT /_synapse/admin/v2/users/{userId}`.
#[derive(Deserialize)]
struct Put {
    password: Option<String>,
    logout_devices: Option<bool>,
    displayname: Option<String>,
    avatar_url: Option<String>,
    threepids: Option<Vec<ThirdParty>>,
    external_ids: Option<Vec<Value>>,
    admin: Option<bool>,
    deactivated: Option<bool>,
    locked: Option<bool>,
    /// Left out, or none, or one.
    #[serde(default, deserialize_with = "said")]
    user_type: Option<Option<String>>,
}

/// What was said, be it that there is none.
fn said<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

#[derive(Deserialize)]
struct ThirdParty {
    medium: String,
    address: String,
}

impl Put {
    /// What is asked for, if all of it can be had.
    fn changes(self) -> Result<PersonChanges, ApiError> {
        if self.external_ids.is_some_and(|ids| !ids.is_empty()) {
            return Err(unsupported("There are no identity providers here."));
        }
        let kind = match self.user_type {
            None => None,
            Some(None) => Some(PersonKind::Member),
            Some(Some(name)) => {
                let kind = PersonKind::from_name(&name);
                let text = "There are members, who have no type, and partners here.";
                Some(kind.ok_or_else(|| unsupported(text))?)
            }
        };
        let emails = match self.threepids {
            None => None,
            Some(ids) => {
                if ids.iter().any(|id| id.medium != "email") {
                    return Err(unsupported("This server knows no telephone numbers."));
                }
                Some(ids.into_iter().map(|id| id.address).collect())
            }
        };
        Ok(PersonChanges {
            password: self.password,
            keeps_devices: self.logout_devices == Some(false),
            display_name: self.displayname,
            avatar_url: self.avatar_url,
            emails,
            administers: self.admin,
            deactivated: self.deactivated,
            locked: self.locked,
            kind,
        })
    }
}

/// `PUT /_synapse/admin/v2/users/{userId}`
async fn put(
    Part(actions): Part<Actions>,
    PathOf(user_id): PathOf<OwnedUserId>,
    caller: Admin,
    JsonBody(body): JsonBody<Put>,
) -> Result<(StatusCode, RawJson), ApiError> {
    let by = caller.administrator();
    let made = actions.put_person(&by, &user_id, body.changes()?).await?;
    let status = match made {
        NewPerson::Made => StatusCode::CREATED,
        NewPerson::Known => StatusCode::OK,
    };
    let told = whole(&actions, &caller, user_id.as_str()).await?;
    Ok((status, answer(&told)))
}

/// `GET /_synapse/admin/v1/whois/{userId}`
async fn whois(
    Part(actions): Part<Actions>,
    PathOf(user_id): PathOf<OwnedUserId>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    let devices = actions.whois(&caller.administrator(), &user_id).await?;
    let devices: Map<String, Value> = devices.iter().map(connections).collect();
    Ok(answer(&json!({ "user_id": user_id, "devices": devices })))
}

fn connections(device: &Device) -> (String, Value) {
    let seen = device.last_seen.iter().map(
        |seen| json!({ "ip": seen.address, "last_seen": seen.at, "user_agent": seen.user_agent }),
    );
    let connections: Vec<Value> = seen.collect();
    let sessions = json!({ "sessions": [{ "connections": connections }] });
    (device.device_id.to_string(), sessions)
}

#[derive(Default, Deserialize)]
struct Deactivate {
    #[serde(default)]
    erase: bool,
    reason: Option<String>,
}

/// `POST /_synapse/admin/v1/deactivate/{userId}`
async fn deactivate(
    Part(actions): Part<Actions>,
    PathOf(user_id): PathOf<String>,
    caller: Admin,
    JsonBody(body): JsonBody<Deactivate>,
) -> Result<RawJson, ApiError> {
    let by = caller.administrator().because(reason(body.reason));
    let wish = Administration::DeactivateUser {
        user: user_id,
        erase: body.erase,
    };
    actions.administer(&by, wish).await?;
    // No identity server has been told anything, so nothing is left bound.
    Ok(answer(&json!({ "id_server_unbind_result": "success" })))
}

#[derive(Deserialize)]
struct Suspend {
    suspend: bool,
    reason: Option<String>,
}

/// `PUT /_synapse/admin/v1/suspend/{userId}`
async fn suspend(
    Part(actions): Part<Actions>,
    PathOf(user_id): PathOf<OwnedUserId>,
    caller: Admin,
    JsonBody(body): JsonBody<Suspend>,
) -> Result<RawJson, ApiError> {
    let by = caller.administrator().because(reason(body.reason));
    actions
        .restrain(&by, &user_id, Restraint::Suspension, body.suspend, None)
        .await?;
    let key = format!("user_{user_id}_suspended");
    Ok(answer(&json!({ key: body.suspend })))
}

#[derive(Deserialize)]
struct ResetPassword {
    new_password: String,
    #[serde(default = "yes")]
    logout_devices: bool,
    reason: Option<String>,
}

fn yes() -> bool {
    true
}

/// `POST /_synapse/admin/v1/reset_password/{userId}`
async fn reset_password(
    Part(actions): Part<Actions>,
    PathOf(user_id): PathOf<OwnedUserId>,
    caller: Admin,
    JsonBody(body): JsonBody<ResetPassword>,
) -> Result<RawJson, ApiError> {
    let by = caller.administrator().because(reason(body.reason));
    let changes = PersonChanges {
        password: Some(body.new_password),
        keeps_devices: !body.logout_devices,
        ..PersonChanges::default()
    };
    actions.change_person(&by, &user_id, changes).await?;
    Ok(empty())
}

/// `GET /_synapse/admin/v1/users/{userId}/admin`
async fn is_admin(
    Part(actions): Part<Actions>,
    PathOf(user_id): PathOf<String>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    let person = actions.person(&caller.administrator(), &user_id).await?;
    let is = person.summary.account.is_admin();
    Ok(answer(&json!({ "admin": is })))
}

#[derive(Deserialize)]
struct SetAdmin {
    admin: bool,
}

/// `PUT /_synapse/admin/v1/users/{userId}/admin`
async fn set_admin(
    Part(actions): Part<Actions>,
    PathOf(user_id): PathOf<OwnedUserId>,
    caller: Admin,
    JsonBody(body): JsonBody<SetAdmin>,
) -> Result<RawJson, ApiError> {
    let changes = PersonChanges {
        administers: Some(body.admin),
        ..PersonChanges::default()
    };
    let by = caller.administrator();
    actions.change_person(&by, &user_id, changes).await?;
    Ok(empty())
}

/// `GET /_synapse/admin/v1/users/{userId}/accountdata`
async fn account_data(
    Part(actions): Part<Actions>,
    PathOf(user_id): PathOf<String>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    let by = caller.administrator();
    let data = actions.account_data_of(&by, &user_id).await?;
    Ok(answer(&json!({ "account_data": data })))
}

/// `GET /_synapse/admin/v1/users/{userId}/pushers`
async fn pushers(
    Part(actions): Part<Actions>,
    PathOf(user_id): PathOf<String>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    let pushers = actions
        .pushers_of(&caller.administrator(), &user_id)
        .await?;
    let shown = pushers.into_iter().map(|pusher| {
        let mut data = pusher.data;
        data.insert("url".to_owned(), pusher.url.into());
        json!({
            "app_display_name": pusher.app_display_name,
            "app_id": pusher.key.app_id,
            "data": data,
            "device_display_name": pusher.device_display_name,
            "kind": "http",
            "lang": pusher.lang,
            "profile_tag": pusher.profile_tag.unwrap_or_default(),
            "pushkey": pusher.key.pushkey,
        })
    });
    let shown: Vec<Value> = shown.collect();
    Ok(answer(&json!({ "total": shown.len(), "pushers": shown })))
}

#[derive(Deserialize)]
struct Username {
    username: String,
}

/// `GET /_synapse/admin/v1/username_available`
async fn username_available(
    Part(actions): Part<Actions>,
    QueryOf(query): QueryOf<Username>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    let by = caller.administrator();
    actions.check_username(&by, &query.username).await?;
    Ok(answer(&json!({ "available": true })))
}

/// `GET /_synapse/admin/v1/threepid/{medium}/users/{address}`
async fn by_address(
    Part(actions): Part<Actions>,
    PathOf((medium, address)): PathOf<(String, String)>,
    caller: Admin,
) -> Result<RawJson, ApiError> {
    let by = caller.administrator();
    let found = match medium.as_str() {
        "email" => actions.person_of_email(&by, &address).await?,
        _ => None,
    };
    let user_id = found.ok_or_else(|| ApiError::not_found("Nobody has this address."))?;
    Ok(answer(&json!({ "user_id": user_id })))
}

/// `GET /_synapse/admin/v1/auth_providers/{provider}/users/{externalId}`: there are none, so
/// nobody is known by them.
async fn by_provider(_: Admin) -> Result<RawJson, ApiError> {
    Err(ApiError::not_found(
        "There are no identity providers here, so nobody is known by one.",
    ))
}

/// `POST /_synapse/admin/v1/users/{userId}/login`: refused, whoever asks. What was done as a
/// person must have been done by that person.
async fn log_in_as(_: Admin) -> Result<RawJson, ApiError> {
    Err(unsupported("Nobody can act as somebody else here."))
}

/// `POST …/_allow_cross_signing_replacement_without_uia`: who replaces keys proves who they are.
async fn without_proof(_: Admin) -> Result<RawJson, ApiError> {
    Err(unsupported(
        "Whoever replaces cross-signing keys proves who they are.",
    ))
}
