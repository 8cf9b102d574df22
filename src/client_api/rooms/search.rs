//! Searching what was said (client-server API, "Search").

use ::rooms::EventFilter;
use ::search::{EventContext, Field, Found, FoundEvent, Group, GroupKey, Order, Question, Search};
use ruma_client_api::search::search_events::v3::{
    self as search_events, Criteria, GroupingKey, OrderBy, SearchKeys,
};
use serde_json::json;
use web::{ApiError, Part, RawJson, Reply, Routes, User};

use super::{answers, sender};
use crate::ClientParts;

pub(crate) fn routes() -> Routes<ClientParts> {
    Routes::new().on(search)
}

/// `POST /_matrix/client/v3/search`
async fn search(
    Part(search): Part<Search>,
    caller: User,
    request: search_events::Request,
) -> Reply<RawJson> {
    let mut categories = Vec::new();
    let answer;
    if let Some(criteria) = request.search_categories.room_events {
        let question = question(criteria, request.next_batch)?;
        let found = search.find(sender(&caller).viewer(), question).await?;
        answer = room_events(&found);
        categories.push(("room_events", answer.as_str()));
    }
    let categories = answers::fields(&categories);
    Ok(answers::object(&[("search_categories", &categories)]))
}

fn question(criteria: Criteria, next_batch: Option<String>) -> Result<Question, ApiError> {
    let size = |number: js_int::UInt| usize::try_from(number).unwrap_or(usize::MAX);
    let fields = match criteria.keys {
        None => vec![Field::Body, Field::Name, Field::Topic],
        Some(keys) => keys.iter().map(field).collect::<Result<_, _>>()?,
    };
    let groups = criteria.groupings.group_by.iter();
    let groups = groups.filter_map(|grouping| grouping.key.as_ref());
    let context = criteria.event_context;
    Ok(Question {
        term: criteria.search_term,
        fields,
        filter: EventFilter::from(&criteria.filter),
        rooms: criteria
            .filter
            .rooms
            .map(|rooms| rooms.iter().map(ToString::to_string).collect()),
        limit: criteria.filter.limit.map(size),
        order: match criteria.order_by {
            None | Some(OrderBy::Rank) => Order::Rank,
            Some(OrderBy::Recent) => Order::Recent,
            Some(_) => return Err(ApiError::invalid_param("The order is recent or rank.")),
        },
        context: EventContext {
            before: size(context.before_limit),
            after: size(context.after_limit),
            profiles: context.include_profile,
        },
        include_state: criteria.include_state.unwrap_or(false),
        groups: groups.map(group_key).collect::<Result<_, _>>()?,
        next_batch,
    })
}

fn field(key: &SearchKeys) -> Result<Field, ApiError> {
    match key {
        SearchKeys::ContentBody => Ok(Field::Body),
        SearchKeys::ContentName => Ok(Field::Name),
        SearchKeys::ContentTopic => Ok(Field::Topic),
        _ => Err(ApiError::invalid_param("This key cannot be searched.")),
    }
}

fn group_key(key: &GroupingKey) -> Result<GroupKey, ApiError> {
    match key {
        GroupingKey::RoomId => Ok(GroupKey::Room),
        GroupingKey::Sender => Ok(GroupKey::Sender),
        _ => Err(ApiError::invalid_param("Nothing is grouped by this key.")),
    }
}

/// The fields of `room_events`; ids and tokens are JSON already.
fn room_events(found: &Found) -> String {
    let results: Vec<String> = found.results.iter().map(result).collect();
    let (count, results) = (found.count.to_string(), answers::array(&results));
    let highlights = answers::texts(&found.highlights);
    let mut fields = vec![
        ("count", count.as_str()),
        ("highlights", &highlights),
        ("results", &results),
    ];
    let groups: serde_json::Map<_, _> = found
        .groups
        .iter()
        .map(|(key, groups)| {
            let groups = groups
                .iter()
                .map(|(value, one)| (value.clone(), group(one)));
            (
                (*key).to_owned(),
                groups.collect::<serde_json::Map<_, _>>().into(),
            )
        })
        .collect();
    let groups = serde_json::Value::from(groups).to_string();
    if !found.groups.is_empty() {
        fields.push(("groups", &groups));
    }
    let state: Vec<String> = found
        .state
        .iter()
        .map(|(room, state)| format!("{}:{}", answers::text(room), answers::array(state)))
        .collect();
    let state = format!("{{{}}}", state.join(","));
    if !found.state.is_empty() {
        fields.push(("state", &state));
    }
    let next_batch = found.next_batch.as_ref().map(answers::text);
    fields.extend(next_batch.as_deref().map(|next| ("next_batch", next)));
    answers::fields(&fields)
}

fn result(found: &FoundEvent) -> String {
    let (start, end) = (answers::text(&found.start), answers::text(&found.end));
    let (before, after) = (answers::array(&found.before), answers::array(&found.after));
    let mut context = vec![
        ("start", start.as_str()),
        ("end", &end),
        ("events_before", &before),
        ("events_after", &after),
    ];
    context.extend(found.profiles.as_deref().map(|json| ("profile_info", json)));
    answers::fields(&[
        ("rank", &json!(found.rank).to_string()),
        ("result", &found.event),
        ("context", &answers::fields(&context)),
    ])
}

fn group(group: &Group) -> serde_json::Value {
    let mut json = json!({ "order": group.order, "results": group.results });
    if let Some(next_batch) = &group.next_batch {
        json["next_batch"] = next_batch.as_str().into();
    }
    json
}
