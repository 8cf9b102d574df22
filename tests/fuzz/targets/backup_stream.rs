#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| backup::fuzzing::backup_stream(bytes));
