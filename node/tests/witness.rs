//! The witness over a real node: one history per log, also after a restart.
#![allow(clippy::unwrap_used, reason = "tests")]

mod fixture;

use std::time::Duration;

use fixture::{Council, Node, entry, network};
use tallystick_node::cosigner::{CosignError, Cosigner};
use tallystick_protocol::checkpoint::{Checkpoint, Origin, VerifiedCheckpoint, sign};
use tallystick_protocol::id::{AuthorityId, Hash};
use tallystick_protocol::key::SecretKey;
use tallystick_protocol::log::{Nodes, consistency_proof, leaf_hash, root_at};
use tallystick_protocol::witness::{Refusal, UnverifiedRequest, encode_request};

/// A log in memory whose entries from `fork` on are another history's.
struct Branch(Vec<Hash>);

impl Branch {
    fn new(size: u64, fork: u64) -> Self {
        let other = |i: u64| if i < fork { "entry" } else { "other" };
        Self((0..size).map(|i| leaf_hash(format!("{} {i}", other(i)).as_bytes())).collect())
    }

    /// What the author of the log sends to ask for a cosignature.
    fn request(&self, author: &Council, old: u64, size: u64) -> Vec<u8> {
        let proof = consistency_proof(self, old, size).unwrap();
        encode_request(old, &proof, &self.head(author, size))
    }

    fn head(&self, author: &Council, size: u64) -> VerifiedCheckpoint {
        let origin = Origin::of(&network(), &author.log()).unwrap();
        let head = Checkpoint::new(origin, size, root_at(self, size).unwrap()).unwrap();
        sign(&head, &author.log_key()).unwrap()
    }
}

impl Nodes for Branch {
    fn leaf(&self, index: u64) -> Option<Hash> {
        self.0.get(usize::try_from(index).ok()?).copied()
    }

    fn subtree(&self, _: u64) -> Option<Hash> {
        None
    }
}

async fn ask(cosigner: &Cosigner, body: &[u8]) -> Result<String, CosignError> {
    let request = UnverifiedRequest::parse(body).unwrap();
    cosigner.cosign(request).await.map(|line| line.to_string())
}

fn witness(council: &Council, node: &Node) -> Cosigner {
    let key = SecretKey::from_seed([council.number; 32]);
    Cosigner::new(node.handle.clone(), network(), council.authority(), key)
}

/// Longer than the pause between two cosignatures of a log that grows.
async fn pause() {
    tokio::time::sleep(Duration::from_millis(1050)).await;
}

fn refused(refusal: Refusal) -> Result<String, CosignError> {
    Err(CosignError::Refused(refusal))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_witness_keeps_to_one_history_over_a_restart() {
    let (clay, dale) = (Council::new(1), Council::new(2));
    let dir = tempfile::tempdir().unwrap();
    let (log, fork) = (Branch::new(300, 300), Branch::new(300, 100));
    let node = dale.start(dir.path(), Vec::new()).await;
    node.handle.introduce(clay.identity.events().to_vec()).await;
    let cosigner = witness(&dale, &node);

    let line = ask(&cosigner, &log.request(&clay, 0, 120)).await.unwrap();
    let mut head = log.head(&clay, 120);
    let signer = head.add(line.parse().unwrap(), cosigner.verifier()).unwrap();
    assert!(signer.time.unwrap().as_seconds() > 1_700_000_000);
    // The same head again, at once; a larger one not before a second has passed.
    assert!(ask(&cosigner, &log.request(&clay, 120, 120)).await.is_ok());
    let soon = ask(&cosigner, &log.request(&clay, 120, 200)).await;
    assert_eq!(soon, Err(CosignError::TooSoon));
    pause().await;
    // A refusal uses up nothing, so who asks wrongly may ask again at once.
    assert_eq!(ask(&cosigner, &log.request(&clay, 0, 200)).await, refused(Refusal::Recorded(120)));
    assert_eq!(ask(&cosigner, &fork.request(&clay, 120, 200)).await, refused(Refusal::Unproven));
    assert!(ask(&cosigner, &log.request(&clay, 120, 200)).await.is_ok());
    // Both have the replica open.
    drop(cosigner);
    node.stop().await;

    let node = dale.start(dir.path(), Vec::new()).await;
    let cosigner = witness(&dale, &node);
    assert_eq!(
        ask(&cosigner, &fork.request(&clay, 200, 200)).await,
        refused(Refusal::Contradicts(200))
    );
    assert_eq!(ask(&cosigner, &fork.request(&clay, 200, 300)).await, refused(Refusal::Unproven));
    assert_eq!(ask(&cosigner, &fork.request(&clay, 0, 150)).await, refused(Refusal::Recorded(200)));
    assert!(ask(&cosigner, &log.request(&clay, 200, 300)).await.is_ok());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_replicated_counts_as_seen() {
    let (clay, dale) = (Council::new(1), Council::new(2));
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let author = clay.start(dirs[0].path(), vec![dale.partner(Vec::new())]).await;
    let partner = clay.partner(vec![author.address.clone()]);
    let node = dale.start(dirs[1].path(), vec![partner]).await;
    let entries: Vec<_> = (0..40).map(entry).collect();
    author.handle.author(entries.clone()).await.unwrap();
    node.wait_for(&clay.log(), 40, Duration::from_secs(20)).await;
    let cosigner = witness(&dale, &node);

    // A thief of the log key shows another history to a witness that never cosigned.
    let fork = Branch::new(60, 0);
    assert_eq!(ask(&cosigner, &fork.request(&clay, 0, 60)).await, refused(Refusal::Recorded(40)));
    assert_eq!(ask(&cosigner, &fork.request(&clay, 40, 60)).await, refused(Refusal::Unproven));
    assert_eq!(
        ask(&cosigner, &fork.request(&clay, 40, 40)).await,
        refused(Refusal::Contradicts(40))
    );
    let honest = Branch(entries.iter().map(tallystick_protocol::entry::Entry::leaf).collect());
    assert!(ask(&cosigner, &honest.request(&clay, 40, 40)).await.is_ok());
    node.stop().await;
    author.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_other_log_is_known() {
    let (clay, dale, elm) = (Council::new(1), Council::new(2), Council::new(3));
    let dir = tempfile::tempdir().unwrap();
    let node = dale.start(dir.path(), Vec::new()).await;
    node.handle.introduce(clay.identity.events().to_vec()).await;
    let cosigner = witness(&dale, &node);
    let log = Branch::new(9, 9);
    let origins = [
        Origin::public(&network(), &clay.authority(), 1),
        Origin::public(&"other".parse().unwrap(), &clay.authority(), 0),
        Origin::public(&network(), &AuthorityId::from_bytes([9; 32]), 0),
        Origin::public(&network(), &elm.authority(), 0),
        Origin::public(&network(), &dale.authority(), 0),
        Origin::private(&network(), &leaf_hash(b"a group")),
        "elsewhere.example/log".parse().unwrap(),
    ];
    for origin in origins {
        let head = Checkpoint::new(origin.clone(), 9, root_at(&log, 9).unwrap()).unwrap();
        let head = sign(&head, &clay.log_key()).unwrap();
        let asked = ask(&cosigner, &encode_request(0, &[], &head)).await;
        assert_eq!(asked, refused(Refusal::UnknownLog), "{origin}");
    }
    // The right log under a wrong key, and then under its own.
    let head = Checkpoint::new(
        Origin::public(&network(), &clay.authority(), 0),
        9,
        root_at(&log, 9).unwrap(),
    );
    let forged = sign(&head.unwrap(), &elm.log_key()).unwrap();
    let asked = ask(&cosigner, &encode_request(0, &[], &forged)).await;
    assert_eq!(asked, refused(Refusal::Unsigned));
    assert!(ask(&cosigner, &log.request(&clay, 0, 9)).await.is_ok());
    node.stop().await;
}
