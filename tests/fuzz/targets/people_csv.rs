#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| actions::fuzzing::people_csv(bytes));
