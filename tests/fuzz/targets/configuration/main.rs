#![no_main]

// The binary is no library: its module is a part of this program.
#[allow(dead_code, unused_imports, clippy::allow_attributes)]
mod config;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| config::fuzzing::configuration(bytes));
