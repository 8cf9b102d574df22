//! Places where two devices meet, one of which is not signed in yet (MSC4108 as of 2024,
//! with texts and entity tags, and MSC4388, with JSON; both under unstable prefixes).

use std::sync::Arc;

use accounts::{Accounts, MAX_RENDEZVOUS_BYTES, Rendezvous};
use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use ruma_common::api::error::ErrorCode;
use serde::Deserialize;
use serde_json::json;
use web::{Anonymous, Anyone, ApiError, JsonBody, Part, PathOf, RawJson, Reply, Routes, TextBody};

use crate::{ClientParts, ServerInfo, answers};

const OPEN: &str = "/_matrix/client/unstable/org.matrix.msc4108/rendezvous";
const ONE: &str = "/_matrix/client/unstable/org.matrix.msc4108/rendezvous/{id}";
const OPEN_JSON: &str = "/_matrix/client/unstable/io.element.msc4388/rendezvous";
const ONE_JSON: &str = "/_matrix/client/unstable/io.element.msc4388/rendezvous/{id}";

pub(crate) fn routes() -> Routes<ClientParts> {
    Routes::new()
        .plain(Method::POST, OPEN, open)
        .plain(Method::GET, ONE, get)
        .plain(Method::PUT, ONE, put)
        .plain(Method::DELETE, ONE, close)
        .plain(Method::GET, OPEN_JSON, discover)
        .plain(Method::POST, OPEN_JSON, open_json)
        .plain(Method::GET, ONE_JSON, get_json)
        .plain(Method::PUT, ONE_JSON, put_json)
        .plain(Method::DELETE, ONE_JSON, close_json)
}

/// A text of at most as many bytes as are kept.
type Text = TextBody<MAX_RENDEZVOUS_BYTES>;

/// `POST …/org.matrix.msc4108/rendezvous`
async fn open(
    Part(accounts): Part<Accounts>,
    Part(info): Part<Arc<ServerInfo>>,
    _: Anonymous,
    headers: HeaderMap,
    TextBody(text): Text,
) -> Reply<Response> {
    let meeting = accounts.open_rendezvous(text)?;
    let url = format!("{}{OPEN}/{}", base(&info, &headers)?, meeting.id);
    let body = json!({ "url": url }).to_string();
    let answer = answer(StatusCode::CREATED, &meeting, body.into());
    Ok(with(answer, header::CONTENT_TYPE, "application/json"))
}

/// Where clients reach this server: as the administrator says, or as this one did.
fn base(info: &ServerInfo, headers: &HeaderMap) -> Result<String, ApiError> {
    let named = info.well_known.client.trim_end_matches('/');
    if !named.is_empty() {
        return Ok(named.to_owned());
    }
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let host = host.ok_or_else(|| ApiError::invalid_param("The request names no host."))?;
    let scheme = headers.get("x-forwarded-proto");
    let scheme = scheme.and_then(|scheme| scheme.to_str().ok());
    let scheme = scheme.filter(|scheme| *scheme == "https").unwrap_or("http");
    Ok(format!("{scheme}://{host}"))
}

/// `GET …/org.matrix.msc4108/rendezvous/{id}`
async fn get(
    Part(accounts): Part<Accounts>,
    _: Anonymous,
    PathOf(id): PathOf<String>,
    headers: HeaderMap,
) -> Reply<Response> {
    let meeting = accounts.rendezvous(&id)?;
    let known = tag_in(&headers, header::IF_NONE_MATCH);
    if known == Some(meeting.token.as_str()) {
        return Ok(answer(StatusCode::NOT_MODIFIED, &meeting, Body::empty()));
    }
    let text = Body::from(meeting.text.clone());
    let answer = answer(StatusCode::OK, &meeting, text);
    Ok(with(answer, header::CONTENT_TYPE, "text/plain"))
}

/// `PUT …/org.matrix.msc4108/rendezvous/{id}`
async fn put(
    Part(accounts): Part<Accounts>,
    _: Anonymous,
    PathOf(id): PathOf<String>,
    headers: HeaderMap,
    TextBody(text): Text,
) -> Reply<Response> {
    let seen = tag_in(&headers, header::IF_MATCH)
        .ok_or_else(|| ApiError::missing_param("The header If-Match is missing."))?;
    let known = accounts.rendezvous(&id)?;
    if known.token != seen {
        let error = ApiError::new(
            StatusCode::PRECONDITION_FAILED,
            ErrorCode::Unknown,
            "Something else was left there meanwhile.",
        );
        let error = error.with("org.matrix.msc4108.errcode", "M_CONCURRENT_WRITE");
        return Ok(tagged(error.into_response(), &known));
    }
    let meeting = accounts.leave_at_rendezvous(&id, seen, text)?;
    let answer = answer(StatusCode::ACCEPTED, &meeting, Body::empty());
    // Some proxies take the entity tag off an answer without a type.
    Ok(with(answer, header::CONTENT_TYPE, "text/plain"))
}

/// `DELETE …/org.matrix.msc4108/rendezvous/{id}`
async fn close(
    Part(accounts): Part<Accounts>,
    _: Anonymous,
    PathOf(id): PathOf<String>,
) -> Reply<StatusCode> {
    accounts.close_rendezvous(&id)?;
    Ok(StatusCode::NO_CONTENT)
}

/// The entity tag in a header, without what stands around it.
fn tag_in(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let text = headers.get(name)?.to_str().ok()?.trim();
    Some(text.trim_start_matches("W/").trim_matches('"'))
}

fn answer(status: StatusCode, meeting: &Rendezvous, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    tagged(response, meeting)
}

/// The headers that every answer has which is about what was left.
fn tagged(response: Response, meeting: &Rendezvous) -> Response {
    let response = with(response, header::ETAG, &format!("\"{}\"", meeting.token));
    let response = with(response, header::EXPIRES, &meeting.ends_at.http_date());
    let changed = meeting.changed_at.http_date();
    let response = with(response, header::LAST_MODIFIED, &changed);
    let response = with(response, header::PRAGMA, "no-cache");
    with(response, header::CACHE_CONTROL, "no-store, no-transform")
}

fn with(mut response: Response, name: HeaderName, value: &str) -> Response {
    // Dates, tokens and fixed words: always a header's value.
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
    response
}

/// `GET …/io.element.msc4388/rendezvous`
async fn discover(_: Anyone) -> Reply<RawJson> {
    Ok(answers::json(&json!({ "create_available": true })))
}

#[derive(Deserialize)]
struct First {
    data: String,
}

/// `POST …/io.element.msc4388/rendezvous`
async fn open_json(
    Part(accounts): Part<Accounts>,
    _: Anyone,
    JsonBody(first): JsonBody<First>,
) -> Reply<RawJson> {
    let meeting = accounts.open_rendezvous(first.data)?;
    Ok(answers::json(&json!({
        "id": meeting.id,
        "sequence_token": meeting.token,
        "expires_in_ms": left(&accounts, &meeting),
    })))
}

/// `GET …/io.element.msc4388/rendezvous/{id}`
async fn get_json(
    Part(accounts): Part<Accounts>,
    _: Anonymous,
    PathOf(id): PathOf<String>,
    headers: HeaderMap,
) -> Reply<RawJson> {
    check_not_shown(&headers)?;
    let meeting = accounts.rendezvous(&id)?;
    Ok(answers::json(&json!({
        "data": meeting.text,
        "sequence_token": meeting.token,
        "expires_in_ms": left(&accounts, &meeting),
    })))
}

/// Refuses what a browser would show to a person: strangers can leave anything.
fn check_not_shown(headers: &HeaderMap) -> Result<(), ApiError> {
    let is = |name: &str, wrong: fn(&str) -> bool| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.is_some_and(wrong)
    };
    let is_shown = is("sec-fetch-dest", |dest| dest != "empty")
        || is("sec-fetch-mode", |mode| mode == "navigate")
        || is("sec-fetch-user", |user| user == "?1")
        || is("sec-fetch-site", |site| site == "none");
    if is_shown {
        return Err(ApiError::forbidden(
            "This is for programs, not to be shown.",
        ));
    }
    Ok(())
}

#[derive(Deserialize)]
struct Next {
    sequence_token: String,
    data: String,
}

/// `PUT …/io.element.msc4388/rendezvous/{id}`
async fn put_json(
    Part(accounts): Part<Accounts>,
    _: Anonymous,
    PathOf(id): PathOf<String>,
    JsonBody(next): JsonBody<Next>,
) -> Reply<RawJson> {
    let meeting = accounts.leave_at_rendezvous(&id, &next.sequence_token, next.data)?;
    let token = meeting.token;
    Ok(answers::json(&json!({ "sequence_token": token })))
}

/// `DELETE …/io.element.msc4388/rendezvous/{id}`
async fn close_json(
    Part(accounts): Part<Accounts>,
    _: Anonymous,
    PathOf(id): PathOf<String>,
) -> Reply<RawJson> {
    accounts.close_rendezvous(&id)?;
    Ok(answers::json(&json!({})))
}

fn left(accounts: &Accounts, meeting: &Rendezvous) -> u64 {
    let left = accounts.rendezvous_left(meeting).as_millis();
    u64::try_from(left).unwrap_or(u64::MAX)
}
