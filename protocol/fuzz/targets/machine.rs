//! Fuzz target: see `machine/mod.rs`.
#![no_main]

#[path = "../machine/mod.rs"]
mod machine;

libfuzzer_sys::fuzz_target!(|data: &[u8]| machine::machine(data));
