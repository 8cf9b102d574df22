#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| client_api::fuzzing::client_request(bytes));
