//! The `tally` command: see [`tallystick_node::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    tallystick_node::cli::run(std::env::args_os())
}
