//! `tally run`: the node itself, until it is told to stop.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use libp2p::Multiaddr;
use serde_json::json;

use super::Global;
use super::output::{Answer, write_out};
use super::question::Source;
use crate::config::Config;
use crate::failure::Failure;
use crate::network::Proxy;
use crate::service::{Overrides, Service};
use crate::telemetry;

/// Run the node until it is stopped (Ctrl-C, or SIGTERM)
#[derive(Clone, Debug, clap::Args)]
pub struct Run {
    /// Where to wait for other nodes, instead of the configured addresses; may be repeated.
    #[arg(long, value_name = "MULTIADDR")]
    listen: Vec<Multiaddr>,
    /// Where to wait for commands on this machine, for instance 127.0.0.1:0.
    #[arg(long, value_name = "ADDR")]
    http: Option<SocketAddr>,
    /// Show this authority's public logs to everybody at this address, and cosign
    /// other authorities' there; HTTP without TLS.
    #[arg(long, value_name = "ADDR")]
    publish_http: Option<SocketAddr>,
    /// Reach other nodes only through this HTTP proxy, by CONNECT; give a name and
    /// password in tally.toml, not here where other users of the machine see them.
    #[arg(long, value_name = "http://HOST:PORT")]
    proxy: Option<Proxy>,
    /// Let nodes connect that are no partners.
    #[arg(long)]
    accept_anyone: bool,
    /// A file whose first line is the passphrase of the node's keys, if they lie under
    /// one; else the systemd credential `tallystick-passphrase`, else it is asked for.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Sign although no partner has said what it knows of this authority's log.
    #[arg(long)]
    sign_alone: bool,
}

impl Run {
    /// Runs the node; returns after it was stopped.
    ///
    /// # Errors
    /// A [`Failure`] if it cannot start, or stopped because of a fault.
    pub fn run(&self, global: &Global) -> Result<Answer, Failure> {
        let place = global.place()?;
        let config = Config::load(place.config())?;
        telemetry::start(config.log_format, &config.log_level);
        let source = Source { file: self.passphrase_file.as_deref(), option: "--passphrase-file" };
        let overrides = Overrides {
            passphrase: source.open(place.data())?,
            listen: (!self.listen.is_empty()).then(|| self.listen.clone()),
            http: self.http,
            publish_http: self.publish_http,
            accept_anyone: self.accept_anyone.then_some(true),
            proxy: self.proxy.clone(),
            sign_alone: self.sign_alone,
            onlooker: None,
        };
        if self.sign_alone {
            tracing::warn!(
                "signing without asking partners: only safe if no other node has this authority's keys and nothing was restored"
            );
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(Failure::internal)?;
        runtime.block_on(async {
            let service = Service::start(&place, overrides).await?;
            let ready = json!({
                "authority": service.authority(),
                "peer": service.peer().to_string(),
                "listen": service.listen().await,
                "http": format!("http://{}", service.http()),
                "publication": service.publication().map(|address| format!("http://{address}")),
            });
            write_out(&format!("{ready}\n"));
            service.run_until(stopped()).await
        })?;
        // A request to an outside witness may be under way; nobody waits for its answer.
        runtime.shutdown_timeout(Duration::from_secs(1));
        Ok(Answer::silent())
    }
}

/// Waits until the process is asked to end.
pub(super) async fn stopped() {
    let interrupt = tokio::signal::ctrl_c();
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = interrupt => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    // Without a handler the system's own way of ending the process applies.
    let _asked = interrupt.await;
}
