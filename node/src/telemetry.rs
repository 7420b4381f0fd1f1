//! Logging to standard error, for people or machines.
//!
//! Standard output belongs to results, so that `--json` can be piped.
//! **Invariant:** contents of records, secrets and tokens are never logged;
//! types that hold them print themselves redacted. Deliberately absent:
//! metrics, which come with their own module.

use std::io::stderr;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::LogFormat;

/// The variable that overrides the configured filter.
pub const FILTER_VARIABLE: &str = "TALLY_LOG";

/// Starts logging for the whole process. Only the first call counts.
///
/// A filter that cannot be read logs `info` and says so.
pub fn start(format: LogFormat, filter: &str) {
    let wanted = std::env::var(FILTER_VARIABLE).unwrap_or_else(|_| filter.to_owned());
    let parsed = EnvFilter::try_new(&wanted);
    let refused = parsed.is_err();
    let filter = parsed.unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    let started = match format {
        LogFormat::Human => builder.with_ansi(false).with_target(false).finish().try_init(),
        LogFormat::Json => builder.json().flatten_event(true).finish().try_init(),
    };
    if started.is_ok() && refused {
        tracing::warn!(filter = wanted, "log filter not understood, logging at info");
    }
}
