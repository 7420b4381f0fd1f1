//! Two whole nodes in one process become partners and exchange a contract.
//!
//! Each has a directory with keys, journal, replica and search index, and talks
//! libp2p on the loopback interface. One publishes a contract; the other, which
//! asks nobody but its own replica, finds it a moment later and proves to a
//! third party who said it.
//!
//! Run it with `cargo run -p tallystick-examples --example two_councils`.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tallystick_node::config::Place;
use tallystick_node::keys;
use tallystick_node::search::{Hit, Query};
use tallystick_node::service::answer::{Audience, Publish};
use tallystick_node::service::{Overrides, Service};
use tallystick_protocol::identity::Profile;
use tallystick_protocol::proof::record::UnverifiedRecordProof;
use tallystick_protocol::time::UnixTime;

use crate::Outcome;
use crate::council::contract;

const PATIENCE: Duration = Duration::from_secs(30);

/// Runs the example with nodes below `dir`.
///
/// # Errors
/// If a node cannot start or the contract does not arrive.
pub async fn run(dir: &Path, out: &mut dyn Write) -> Outcome {
    let ash = open(&dir.join("ash"), "Ash Borough Council").await?;
    let oak = open(&dir.join("oak"), "Oak Borough Council").await?;

    // What people do by mail, each comparing the fingerprint over the telephone.
    ash.add_partner(&oak.whoami().await?.card).await?;
    oak.add_partner(&ash.whoami().await?.card).await?;

    let housing = contract("Housing system", "Ash Borough Council", "Quillfield Ltd", 1375, 900);
    let published = ash
        .publish(Publish {
            kind: "contract".to_owned(),
            document: serde_json::to_value(housing)?,
            audience: Audience::Public,
            reference: None,
            retain_until: None,
            without_reply: None,
            extract_of: None,
        })
        .await?;
    writeln!(out, "Ash published {}", published.reference)?;

    let begun = Instant::now();
    let hit = find(&oak, "housing").await?;
    writeln!(out, "Oak found it {} ms later:", begun.elapsed().as_millis())?;
    let said_by = hit.authority_name.unwrap_or_default();
    writeln!(out, "  {}, said by {said_by}, {}", hit.title, hit.address)?;

    let file = oak.prove(&published.reference, &[]).await?;
    let proof = UnverifiedRecordProof::parse(&file)?.verify(&[])?;
    if proof.authority() != ash.authority() {
        return Err("the proof is of somebody else".into());
    }
    writeln!(out, "Oak's proof of {} bytes verifies without either node.", file.len())?;

    ash.stop().await?;
    oak.stop().await?;
    Ok(())
}

/// Makes an authority and starts its node, on ports that the system chooses.
async fn open(dir: &Path, name: &str) -> Outcome<Service> {
    let place = Place::at(dir);
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let profile = Profile { name: name.to_owned(), ..Profile::default() };
    keys::create(&place, &"example".parse()?, profile, UnixTime::from_seconds(now))?;
    let overrides = Overrides {
        listen: Some(vec!["/ip4/127.0.0.1/tcp/0".parse()?]),
        http: Some(([127, 0, 0, 1], 0).into()),
        ..Overrides::default()
    };
    Ok(Box::pin(Service::start(&place, overrides)).await?)
}

/// Asks a node until it has an answer.
async fn find(node: &Service, text: &str) -> Outcome<Hit> {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        let found = node.search(Query::text(text)).await?;
        if let Some(hit) = found.results.into_iter().next() {
            return Ok(hit);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Err("the contract did not arrive".into())
}
