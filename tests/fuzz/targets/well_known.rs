#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| peers::fuzzing::well_known(bytes));
