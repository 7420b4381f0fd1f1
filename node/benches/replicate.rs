//! What replication costs, measured on full nodes: libp2p on loopback, sled on
//! disk at both ends, nothing left out but search.
//!
//! | case | what it measures |
//! |---|---|
//! | `catch-up [RECORDS…]` | cold catch-up, 1 author and 32, beside bare sled storing the same bytes |
//! | `sealed [RECORDS…]` | the same records in a public log and in a private group, by turns |
//! | `groups [GROUPS…]` | memory and start of a node in a thousand private groups |
//! | `news [RECORDS…]` | 1 % new; nothing new |
//! | `live` | one new record: two nodes, then twenty |
//! | `author` | prepared entries, OCDS releases, single records into a node |
//! | `link` | catch-up over 60 ms round trip and 100 Mbit/s |
//!
//! Each figure is the median of at least five runs with the lowest and highest.
//! Ends of a connection are processes of their own on the same two cores. Wire
//! bytes are what the loopback interface counted, TCP and IP headers included,
//! so nothing else should use it meanwhile.
//!
//! `cargo bench -p tallystick-node --bench replicate [-- CASE [RECORDS…]]`;
//! without a case all of them run.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a benchmark may fail loudly, and prints"
)]

#[path = "../tests/fixture/mod.rs"]
mod fixture;

#[path = "replicate/author.rs"]
mod author;
#[path = "replicate/catch_up.rs"]
mod catch_up;
#[path = "replicate/circle.rs"]
mod circle;
#[path = "replicate/groups.rs"]
mod groups;
#[path = "replicate/link.rs"]
mod link;
#[path = "replicate/live.rs"]
mod live;
#[path = "replicate/measure.rs"]
mod measure;
#[path = "replicate/news.rs"]
mod news;
#[path = "replicate/sealed.rs"]
mod sealed;

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    // The command line itself, for cases that use it as people do.
    if std::env::args().nth(1).is_some_and(|first| first == "tally") {
        return tallystick_node::cli::run(std::env::args_os().skip(1));
    }
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let rest = arguments.get(1..).unwrap_or_default();
    let sizes: Vec<u64> = rest.iter().filter_map(|size| size.parse().ok()).collect();
    let sizes = |usual: &[u64]| if sizes.is_empty() { usual.to_vec() } else { sizes.clone() };
    match arguments.first().map(String::as_str) {
        // The ends of a connection, started by the cases; also by hand, to profile one.
        Some("prepare") => {
            let sizes = sizes(&[]);
            catch_up::prepare(Path::new(&rest[0]), sizes[0], sizes[1]);
        }
        Some("serve") => catch_up::serve(Path::new(&rest[0])),
        Some("receive") => catch_up::receive(Path::new(&rest[0]), &rest[1], &rest[2..]),
        Some("sled") => catch_up::bare_sled(Path::new(&rest[0]), Path::new(&rest[1])),
        Some("hear") => live::hear(&rest[0]),
        Some("follow") => {
            sealed::follow(Path::new(&rest[0]), &rest[1], &rest[2], rest[3].parse().unwrap());
        }
        Some("sealed") => sealed::run(&sizes(&[20_000, 100_000])),
        Some("groups") => groups::run(&sizes(&[1000])),
        Some("catch-up") => catch_up::run(&sizes(&[20_000, 100_000])),
        Some("news") => news::run(&sizes(&[20_000, 100_000])),
        Some("live") => live::run(),
        Some("author") => author::run(),
        Some("link") => link::run(),
        _ => {
            catch_up::run(&[20_000, 100_000]);
            sealed::run(&[20_000, 100_000]);
            groups::run(&[1000]);
            news::run(&[20_000, 100_000]);
            live::run();
            author::run();
            link::run();
        }
    }
    ExitCode::SUCCESS
}
