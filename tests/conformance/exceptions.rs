//! What need not be as the specification says, each with its reason.

use serde_json::Value;

/// Operations that are refused until an operator configures what they need, or for good.
const REFUSALS: &[(&str, u16, &str, &str)] = &[
    ("getAuthMetadata", 404, "M_UNRECOGNIZED", NO_OAUTH),
    (
        "getWellknownPolicy",
        404,
        "M_UNRECOGNIZED",
        NO_POLICY_SERVER,
    ),
    ("getWellknownPolicy", 404, "M_NOT_FOUND", NO_POLICY_SERVER),
    ("redirectToSSO", 404, "M_UNRECOGNIZED", NO_PROVIDER),
    ("redirectToIdP", 404, "M_UNRECOGNIZED", NO_PROVIDER),
    (
        "requestTokenToRegisterEmail",
        403,
        "M_THREEPID_DENIED",
        NO_ADDRESSES,
    ),
    (
        "requestTokenToRegisterMSISDN",
        403,
        "M_THREEPID_DENIED",
        NO_ADDRESSES,
    ),
    (
        "requestTokenToResetPasswordEmail",
        403,
        "M_THREEPID_DENIED",
        NO_ADDRESSES,
    ),
    (
        "requestTokenToResetPasswordMSISDN",
        403,
        "M_THREEPID_DENIED",
        NO_ADDRESSES,
    ),
    (
        "requestTokenTo3PIDEmail",
        403,
        "M_THREEPID_DENIED",
        NO_ADDRESSES,
    ),
    (
        "requestTokenTo3PIDMSISDN",
        403,
        "M_THREEPID_DENIED",
        NO_ADDRESSES,
    ),
    ("post3PIDs", 403, "M_FORBIDDEN", NO_ADDRESSES),
    ("add3PID", 403, "M_FORBIDDEN", NO_ADDRESSES),
    ("bind3PID", 403, "M_FORBIDDEN", NO_ADDRESSES),
    ("inviteBy3PID", 403, "M_FORBIDDEN", NO_ADDRESSES),
];

const NO_OAUTH: &str =
    "the specification's own answer of a server whose sign-in is not OAuth 2.0's";
const NO_POLICY_SERVER: &str = "the specification's own status where there is no policy server";
const NO_PROVIDER: &str = "no identity provider is configured";
const NO_ADDRESSES: &str =
    "e-mail addresses and telephone numbers belong to no account; m.3pid_changes says so";

/// Parts of answers that no case can fill.
const EMPTY: &[(&str, &str, &str)] = &[
    ("getAccount3PIDs", "threepids[]", NO_ADDRESSES),
    ("queryKeys", "failures{}{}", BARE_FAILURE),
    ("claimKeys", "failures{}{}", BARE_FAILURE),
];

const BARE_FAILURE: &str =
    "of a server that is not reached the name says all; the specification's example is {} too";

/// Wrong requests that may be answered otherwise.
const LENIENCIES: &[(&str, &str, &str)] = &[];

/// Mistakes of the specification's schemas: the operation, words of what is found, the reason.
const DEFECTS: &[(&str, &str, &str)] = &[(
    "getRoomStateWithKey",
    "valid under more than one of the schemas",
    "its alternatives are an event and any object, and an event is an object",
)];

/// Why this refusal of a valid request is right; `None` if it is not.
pub(crate) fn refusal(id: &str, status: u16, body: &Value) -> Option<&'static str> {
    let code = body["errcode"].as_str()?;
    let mut known = REFUSALS.iter();
    known
        .find(|(known, expected, errcode, _)| {
            *known == id && *expected == status && *errcode == code
        })
        .map(|(_, _, _, reason)| *reason)
}

/// Why this list or map is always empty; `None` if it should not be.
pub(crate) fn empty(id: &str, part: &str) -> Option<&'static str> {
    let mut known = EMPTY.iter();
    known
        .find(|(known, name, _)| *known == id && *name == part)
        .map(|(_, _, reason)| *reason)
}

/// Whether what is wrong with an answer is its schema's mistake.
pub(crate) fn is_defect(id: &str, mistake: &str) -> bool {
    let mut known = DEFECTS.iter();
    known.any(|(known, words, _)| *known == id && mistake.contains(words))
}

/// Whether this wrong request may be answered otherwise than its case says.
pub(crate) fn leniency(id: &str, what: &str) -> bool {
    let mut known = LENIENCIES.iter();
    known.any(|(known, case, _)| *known == id && *case == what)
}

/// All of them, as lines of the report.
pub(crate) fn lines() -> Vec<String> {
    let refusals = REFUSALS.iter().map(|(id, status, code, reason)| {
        format!("{id} is refused with {status} {code}: {reason}")
    });
    let empty = EMPTY
        .iter()
        .map(|(id, part, reason)| format!("{id}, {part} is empty: {reason}"));
    let leniencies = LENIENCIES
        .iter()
        .map(|(id, what, reason)| format!("{id} {what}: {reason}"));
    let defects = DEFECTS
        .iter()
        .map(|(id, words, reason)| format!("{id}, the schema is wrong ({words}): {reason}"));
    refusals
        .chain(empty)
        .chain(leniencies)
        .chain(defects)
        .collect()
}
