//! What was found, for people.

use crate::exceptions;
use crate::specification::Operation;
use crate::walk::{Record, Walk};

/// Where an operation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Validated,
    Excepted,
    WithoutData,
    Failing,
    Unrecognised,
    WithoutCase,
}

/// The standings with their names, in the report's order.
const STANDINGS: &[(Standing, &str)] = &[
    (Standing::Validated, "validated with data"),
    (Standing::Excepted, "refused by design"),
    (Standing::WithoutData, "without data"),
    (Standing::Failing, "failing"),
    (Standing::Unrecognised, "not recognised by the server"),
    (Standing::WithoutCase, "no valid request written"),
];

/// Prints the report; whether all is well.
pub(crate) fn print(walk: &Walk) -> bool {
    let records = walk.records();
    let none = Record::default();
    let operations: Vec<(&Operation, &Record, Standing)> = walk
        .operations
        .values()
        .map(|operation| {
            let record = records.get(&operation.id).unwrap_or(&none);
            (operation.as_ref(), record, standing(operation, record))
        })
        .collect();
    for (standing, name) in STANDINGS {
        let those = operations.iter().filter(|(.., known)| known == standing);
        let those: Vec<_> = those.collect();
        println!("\n{name}: {}", those.len());
        for (operation, record, _) in those {
            print_one(operation, record, *standing);
        }
    }
    println!("\nKnown exceptions:");
    for line in exceptions::lines() {
        println!("  {line}");
    }
    print_numbers(&operations);
    let events = walk.events.lock().expect("no panic while it is held");
    println!(
        "| events in answers: held against the schemas of their {} types | {} |",
        events.len(),
        events.values().sum::<usize>()
    );
    let broken = walk.broken.lock().expect("no panic while it is held");
    for area in broken.iter() {
        println!("the cases of {area} ended before their end");
    }
    let is_well = |standing| matches!(standing, Standing::Validated | Standing::Excepted);
    broken.is_empty() && operations.iter().all(|(.., standing)| is_well(*standing))
}

fn print_numbers(operations: &[(&Operation, &Record, Standing)]) {
    let count = |wanted: Standing| {
        let those = operations
            .iter()
            .filter(|(.., standing)| *standing == wanted);
        those.count()
    };
    let sum = |number: fn(&Record) -> usize| -> usize {
        operations.iter().map(|(_, record, _)| number(record)).sum()
    };
    println!("\n| Operations | {} |\n|---|---|", operations.len());
    for (standing, name) in STANDINGS {
        println!("| {name} | {} |", count(*standing));
    }
    println!(
        "| valid requests answered as the schema says | {} |",
        sum(|record| record.valid as usize)
    );
    println!(
        "| invalid requests refused as they should | {} |",
        sum(|record| record.refused as usize)
    );
    println!(
        "| operations that refuse with a status, not 401, that they do not list | {} |",
        sum(|record| usize::from(!record.unlisted.is_empty()))
    );
    println!(
        "| wrong answers | {} |",
        sum(|record| record.mistakes.len())
    );
    println!(
        "| properties in schemas: held by an answer | {} of {} |",
        sum(|record| record.held.named.values().filter(|came| **came).count()),
        sum(|record| record.held.named.len())
    );
    // Of those that answer `{}` there is nothing to hold.
    let parts = |wanted: fn(&bool) -> bool| -> usize {
        let bodies = operations
            .iter()
            .filter(|(operation, record, _)| !is_bare(operation, record));
        let parts = bodies.flat_map(|(_, record, _)| record.held.filled.values());
        parts.filter(|came| wanted(came)).count()
    };
    println!(
        "| lists and maps in answers: with an element | {} of {} |",
        parts(|came| *came),
        parts(|_| true)
    );
}

fn standing(operation: &Operation, record: &Record) -> Standing {
    if !record.mistakes.is_empty() {
        Standing::Failing
    } else if record.valid == 0 && record.is_unrecognised {
        Standing::Unrecognised
    } else if record.valid == 0 && record.exception.is_some() {
        Standing::Excepted
    } else if record.valid == 0 {
        Standing::WithoutCase
    } else if !unfilled(operation, record).is_empty()
        || !(is_bare(operation, record) || record.held.has_something())
    {
        Standing::WithoutData
    } else {
        Standing::Validated
    }
}

/// Whether the operation answers `{}`, which says that it is done and nothing more.
fn is_bare(operation: &Operation, record: &Record) -> bool {
    record.held.named.is_empty() && operation.method != "GET"
}

/// The lists and maps that should have had an element.
fn unfilled<'a>(operation: &Operation, record: &'a Record) -> Vec<&'a str> {
    let mut empty = record.held.empty();
    let is_bare = is_bare(operation, record);
    empty.retain(|part| {
        exceptions::empty(&operation.id, part).is_none() && !(is_bare && *part == "{}")
    });
    empty
}

fn print_one(operation: &Operation, record: &Record, standing: Standing) {
    let Operation {
        id, method, path, ..
    } = operation;
    println!(
        "  {id}: {method} {path} ({} valid, {} invalid)",
        record.valid, record.refused
    );
    if let Some(reason) = record.exception {
        println!("      {reason}");
    }
    for mistake in &record.mistakes {
        println!("      {mistake}");
    }
    if standing != Standing::Unrecognised {
        let empty = unfilled(operation, record);
        if !empty.is_empty() {
            println!("      always empty: {}", empty.join(", "));
        }
        if !record.unlisted.is_empty() {
            println!(
                "      refused with what it does not list: {:?}",
                record.unlisted
            );
        }
        let missing = record.held.missing();
        if !missing.is_empty() {
            println!("      never came: {}", missing.join(", "));
        }
    }
}
