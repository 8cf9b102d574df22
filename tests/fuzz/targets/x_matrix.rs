#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| peers::fuzzing::x_matrix(bytes));
