#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| web::fuzzing::file_form(bytes));
