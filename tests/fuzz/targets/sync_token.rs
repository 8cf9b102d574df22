#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sync::fuzzing::sync_token(bytes));
