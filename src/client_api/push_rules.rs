//! Push rules (client-server API, "Push Rules").

use accounts::{Accounts, Session};
use ruma_client_api::push::{
    delete_pushrule::v3 as delete_rule, get_pushrule::v3 as get_rule,
    get_pushrule_actions::v3 as get_actions, get_pushrule_enabled::v3 as get_enabled,
    get_pushrules_all::v3 as get_all, get_pushrules_global_scope::v3 as get_global,
    set_pushrule::v3 as set_rule, set_pushrule_actions::v3 as set_actions,
    set_pushrule_enabled::v3 as set_enabled,
};
use ruma_common::push::{AnyPushRuleRef, RuleKind, Ruleset};
use store::{Snapshot, Store};
use web::{ApiError, Part, Reply, Routes, User};

use crate::{ClientParts, put_push_rule};

pub(crate) fn routes() -> Routes<ClientParts> {
    Routes::new()
        .on(get_all)
        .on(get_global)
        .on(get_rule)
        .on(set_rule)
        .on(delete_rule)
        .on(get_enabled)
        .on(set_enabled)
        .on(get_actions)
        .on(set_actions)
}

/// The caller's rules.
async fn rules(store: &Store, caller: &Session) -> Result<Ruleset, ApiError> {
    let user = caller.user;
    let read = move |view: &Snapshot| accounts::push_rules(view, user);
    let rules = store.read(read).await?;
    Ok(rules.unwrap_or_else(|| accounts::default_push_rules(&caller.user_id)))
}

fn rule<'a>(
    rules: &'a Ruleset,
    kind: RuleKind,
    rule_id: &str,
) -> Result<AnyPushRuleRef<'a>, ApiError> {
    rules
        .get(kind, rule_id)
        .ok_or_else(|| ApiError::not_found("There is no such push rule."))
}

/// `GET /_matrix/client/v3/pushrules/`
async fn get_all(
    Part(store): Part<Store>,
    caller: User,
    _: get_all::Request,
) -> Reply<get_all::Response> {
    Ok(get_all::Response::new(rules(&store, &caller).await?))
}

/// `GET /_matrix/client/v3/pushrules/global/`
async fn get_global(
    Part(store): Part<Store>,
    caller: User,
    _: get_global::Request,
) -> Reply<get_global::Response> {
    Ok(get_global::Response::new(rules(&store, &caller).await?))
}

/// `GET /_matrix/client/v3/pushrules/global/{kind}/{ruleId}`
async fn get_rule(
    Part(store): Part<Store>,
    caller: User,
    request: get_rule::Request,
) -> Reply<get_rule::Response> {
    let rules = rules(&store, &caller).await?;
    let found = rule(&rules, request.kind, &request.rule_id)?;
    Ok(get_rule::Response::new(found.into()))
}

/// `PUT /_matrix/client/v3/pushrules/global/{kind}/{ruleId}`
async fn set_rule(
    Part(accounts): Part<Accounts>,
    caller: User,
    put_push_rule::Request(request): put_push_rule::Request,
) -> Reply<set_rule::Response> {
    accounts
        .put_push_rule(caller.user, request.rule, request.before, request.after)
        .await?;
    Ok(set_rule::Response::new())
}

/// `DELETE /_matrix/client/v3/pushrules/global/{kind}/{ruleId}`
async fn delete_rule(
    Part(accounts): Part<Accounts>,
    caller: User,
    request: delete_rule::Request,
) -> Reply<delete_rule::Response> {
    accounts
        .delete_push_rule(caller.user, request.kind, request.rule_id)
        .await?;
    Ok(delete_rule::Response::new())
}

/// `GET /_matrix/client/v3/pushrules/global/{kind}/{ruleId}/enabled`
async fn get_enabled(
    Part(store): Part<Store>,
    caller: User,
    request: get_enabled::Request,
) -> Reply<get_enabled::Response> {
    let rules = rules(&store, &caller).await?;
    let found = rule(&rules, request.kind, &request.rule_id)?;
    Ok(get_enabled::Response::new(found.enabled()))
}

/// `PUT /_matrix/client/v3/pushrules/global/{kind}/{ruleId}/enabled`
async fn set_enabled(
    Part(accounts): Part<Accounts>,
    caller: User,
    request: set_enabled::Request,
) -> Reply<set_enabled::Response> {
    accounts
        .set_push_rule_enabled(caller.user, request.kind, request.rule_id, request.enabled)
        .await?;
    Ok(set_enabled::Response::new())
}

/// `GET /_matrix/client/v3/pushrules/global/{kind}/{ruleId}/actions`
async fn get_actions(
    Part(store): Part<Store>,
    caller: User,
    request: get_actions::Request,
) -> Reply<get_actions::Response> {
    let rules = rules(&store, &caller).await?;
    let found = rule(&rules, request.kind, &request.rule_id)?;
    Ok(get_actions::Response::new(found.actions().to_vec()))
}

/// `PUT /_matrix/client/v3/pushrules/global/{kind}/{ruleId}/actions`
async fn set_actions(
    Part(accounts): Part<Accounts>,
    caller: User,
    request: set_actions::Request,
) -> Reply<set_actions::Response> {
    accounts
        .set_push_rule_actions(caller.user, request.kind, request.rule_id, request.actions)
        .await?;
    Ok(set_actions::Response::new())
}
