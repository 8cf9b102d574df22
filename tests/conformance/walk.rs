//! The operations as they are walked, and what is noted of each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use harness::{Answer, Api};

use crate::call::Call;
use crate::coverage::Held;
use crate::events::{self, Counts};
use crate::exceptions;
use crate::schema::Schemas;
use crate::specification::{Operation, Specification};

/// What is known of one operation.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// How many valid requests were answered as the specification says.
    pub(crate) valid: u32,
    /// How many invalid ones were.
    pub(crate) refused: u32,
    /// Whether the requests that follow from the specification alone were sent.
    pub(crate) is_challenged: bool,
    /// Whether the server knows no such path or method.
    pub(crate) is_unrecognised: bool,
    pub(crate) held: Held,
    /// The statuses of right refusals that the operation does not list: the
    /// specification's prose has them for all operations.
    pub(crate) unlisted: BTreeSet<u16>,
    pub(crate) mistakes: Vec<String>,
    /// Why a refusal of every request is right.
    pub(crate) exception: Option<&'static str>,
}

/// The specification, the server, and what was found.
pub(crate) struct Walk {
    pub(crate) api: Api,
    pub(crate) specification: Arc<Specification>,
    pub(crate) schemas: Schemas,
    pub(crate) operations: BTreeMap<String, Arc<Operation>>,
    records: Mutex<BTreeMap<String, Record>>,
    /// The events that were held against the schemas of their types.
    pub(crate) events: Mutex<Counts>,
    /// Areas whose cases ended before their end.
    pub(crate) broken: Mutex<Vec<String>>,
}

impl Walk {
    /// Reads all operations.
    pub(crate) fn new(specification: Specification, api: Api) -> Result<Self, String> {
        let operations = specification.operations()?;
        let specification = Arc::new(specification);
        Ok(Self {
            api,
            schemas: Schemas::new(specification.clone()),
            specification,
            operations: operations
                .into_iter()
                .map(|operation| (operation.id.clone(), Arc::new(operation)))
                .collect(),
            records: Mutex::default(),
            events: Mutex::default(),
            broken: Mutex::default(),
        })
    }

    /// A request to an operation, named as in the specification.
    pub(crate) fn to(&self, id: &str) -> Call<'_> {
        let operation = self.operations.get(id);
        let operation = operation.unwrap_or_else(|| panic!("the specification has no {id}"));
        Call::new(self, operation.clone())
    }

    /// What is known of the operations.
    pub(crate) fn records(&self) -> MutexGuard<'_, BTreeMap<String, Record>> {
        self.records.lock().expect("no panic while it is held")
    }

    /// Notes something of an operation.
    pub(crate) fn note<T>(&self, id: &str, what: impl FnOnce(&mut Record) -> T) -> T {
        what(self.records().entry(id.to_owned()).or_default())
    }

    /// Notes a wrong answer.
    pub(crate) fn mistake(&self, operation: &Operation, what: &str, answer: &Answer) {
        let mut told = format!("{answer:?}");
        if told.len() > 700 {
            told = told.chars().take(700).chain("…".chars()).collect();
        }
        self.note(&operation.id, |record| {
            record.mistakes.push(format!("{what}\n        {told}"));
        });
    }

    /// Whether the server does not know the operation; noted if so.
    pub(crate) fn is_unrecognised(&self, operation: &Operation, answer: &Answer) -> bool {
        // Some refuse with 405 what they know: what the server itself keeps, for instance.
        let may_refuse = operation.responses.contains_key(&405);
        let is_unrecognised =
            answer.body["errcode"] == "M_UNRECOGNIZED" || (answer.status == 405 && !may_refuse);
        if is_unrecognised {
            let answered = |record: &mut Record| record.is_unrecognised = record.valid == 0;
            self.note(&operation.id, answered);
        }
        is_unrecognised
    }

    /// Judges the answer to a valid request.
    pub(crate) fn judge_valid(&self, operation: &Operation, answer: &Answer) {
        let id = &operation.id;
        if let Some(reason) = exceptions::refusal(id, answer.status, &answer.body) {
            return self.except(operation, reason, answer);
        }
        if self.is_unrecognised(operation, answer) {
            return;
        }
        let Some(listed) = operation.responses.get(&answer.status) else {
            return self.mistake(operation, "a status that is not listed", answer);
        };
        if answer.status >= 400 {
            return self.mistake(operation, "a valid request was refused", answer);
        }
        let mut headers = listed.headers.iter();
        if let Some(missing) = headers.find(|name| answer.header(name).is_empty()) {
            let what = format!("an answer without {missing}");
            return self.mistake(operation, &what, answer);
        }
        let Some(schema) = &listed.schema else {
            let wants_body = !listed.types.is_empty();
            if wants_body && answer.text.is_empty() {
                return self.mistake(operation, "an answer without a body", answer);
            }
            return self.note(id, |record| record.valid += 1);
        };
        if !answer
            .header("Content-Type")
            .starts_with("application/json")
        {
            return self.mistake(operation, "an answer that is not called JSON", answer);
        }
        let mut mistakes = self.schemas.mistakes(schema, &answer.body);
        let mut events = self.events.lock().expect("no panic while it is held");
        mistakes.extend(events::mistakes(
            &self.specification,
            &self.schemas,
            &answer.body,
            &mut events,
        ));
        drop(events);
        mistakes.retain(|mistake| !exceptions::is_defect(id, mistake));
        if !mistakes.is_empty() {
            return self.mistake(operation, &mistakes.join("\n      "), answer);
        }
        let noted = self.note(id, |record| {
            record.valid += 1;
            record.held.note(&self.specification, schema, &answer.body)
        });
        if let Err(error) = noted {
            self.note(id, |record| record.mistakes.push(error));
        }
    }

    /// Notes a refusal that is right for a reason of its own.
    fn except(&self, operation: &Operation, reason: &'static str, answer: &Answer) {
        let schema = self.specification.error();
        let mistakes = self.schemas.mistakes(&schema, &answer.body);
        if mistakes.is_empty() {
            self.note(&operation.id, |record| record.exception = Some(reason));
        } else {
            self.mistake(operation, &mistakes.join("; "), answer);
        }
    }

    /// Judges the answer to an invalid request.
    pub(crate) fn judge_refused(
        &self,
        operation: &Operation,
        what: &str,
        answer: &Answer,
        expected: &[(u16, &str)],
    ) {
        let id = &operation.id;
        let code = answer.body["errcode"].as_str().unwrap_or_default();
        let is_expected = expected
            .iter()
            .any(|(status, errcode)| *status == answer.status && *errcode == code);
        if !is_expected {
            if let Some(reason) = exceptions::refusal(id, answer.status, &answer.body) {
                return self.except(operation, reason, answer);
            }
            if self.is_unrecognised(operation, answer) {
                return;
            }
            if exceptions::leniency(id, what) {
                return;
            }
            let what = format!("{what}: expected {expected:?}");
            return self.mistake(operation, &what, answer);
        }
        let general = self
            .schemas
            .mistakes(&self.specification.error(), &answer.body);
        let listed = operation.responses.get(&answer.status);
        let listed = listed.and_then(|listed| listed.schema.as_ref());
        let own = listed.map_or_else(Vec::new, |schema| {
            self.schemas.mistakes(schema, &answer.body)
        });
        if general.is_empty() || (listed.is_some() && own.is_empty()) {
            let is_unlisted = !operation.responses.contains_key(&answer.status);
            self.note(id, |record| {
                record.refused += 1;
                if is_unlisted && answer.status != 401 {
                    record.unlisted.insert(answer.status);
                }
            });
        } else {
            let what = format!("{what}: {} {}", general.join("; "), own.join("; "));
            self.mistake(operation, &what, answer);
        }
    }
}
