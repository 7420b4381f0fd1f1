//! A node's public log and witness, checked by software that is not ours.
//!
//! Real nodes show their logs over HTTP; `check.go` reads them with Go's
//! `golang.org/x/mod/sumdb` (the checksum database's own libraries) and verifies
//! signatures, inclusion, consistency and cosignatures. Each check is made again
//! on tampered data, where it must fail.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests"
)]

#[path = "../process/mod.rs"]
mod process;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use process::{Tally, eventually};
use serde_json::Value;
use tallystick_node::config::Config;
use tallystick_node::driver::{self, NodeConfig};
use tallystick_node::keys::{self, NodeKeys};
use tallystick_node::store::{Store, StoreOptions};
use tallystick_protocol::body::{Body, Fields, FullBody, Salt};
use tallystick_protocol::checkpoint::UnverifiedCheckpoint;
use tallystick_protocol::entry::{Action, Entry, Header};
use tallystick_protocol::id::RecordId;
use tallystick_protocol::note::VerifierKey;
use tallystick_protocol::record::Kind;
use tallystick_protocol::sync::Quota;
use tallystick_protocol::time::UnixTime;

/// Where Debian's packages of Go libraries are.
const GO_PATH: &str = "/usr/share/gocode";
const LIBRARY: &str = "src/golang.org/x/mod/sumdb/tlog/tlog.go";
const SHOWN: [&str; 2] = ["--publish-http", "127.0.0.1:0"];

/// The built checker; `None`, said aloud, where there is no Go.
fn checker(dir: &Path) -> Option<PathBuf> {
    let installed = Command::new("go").arg("version").output().is_ok_and(|go| go.status.success())
        && Path::new(GO_PATH).join(LIBRARY).exists();
    if !installed {
        let why = "golang-go and golang-golang-x-mod-dev are not installed";
        eprintln!("skipped: {why}");
        assert!(std::env::var_os("CI").is_none(), "interoperability must be tested in CI: {why}");
        return None;
    }
    let program = dir.join("check");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/check.go");
    let built = Command::new("go")
        .args(["build", "-o"])
        .args([&program, &source])
        .envs([("GO111MODULE", "off"), ("GOPATH", GO_PATH), ("GOFLAGS", "")])
        .env("GOCACHE", dir.join("cache"))
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    Some(program)
}

/// A council that shows its log, and what the checker remembers of it.
struct Shown {
    tally: Tally,
    log_key: String,
    witness_key: String,
    state: PathBuf,
}

impl Shown {
    fn init(name: &str) -> Self {
        let mut tally = Tally::init(&["--name", name]);
        tally.start_with(&SHOWN);
        let whoami = tally.ok(&["whoami"]);
        let key = |key: &str| whoami[key].as_str().unwrap().to_owned();
        let (log_key, witness_key) = (key("logKey"), key("witnessKey"));
        let state = tally.dir.path().join("heads.json");
        Self { tally, log_key, witness_key, state }
    }

    fn base(&self) -> &str {
        self.tally.publication.as_deref().unwrap()
    }

    /// Imports rows with these numbers as own contracts.
    fn import(&self, numbers: std::ops::Range<usize>) {
        let mut rows = "Reference,Title,Buyer Name,Supplier,Value,End date\n".to_owned();
        for n in numbers {
            rows.push_str(&format!("R{n},Lot {n},Ash Borough Council,Elm Ltd,{n},2030-03-31\n"));
        }
        let file = self.tally.dir.path().join("rows.csv");
        std::fs::write(&file, rows).unwrap();
        self.tally.ok(&["import", file.to_str().unwrap(), "--public", "--register"]);
    }

    /// Checks the log, which comes to have `size` entries.
    fn check(&self, checker: &Path, size: u64) {
        eventually(Duration::from_secs(60), "a head over all entries", || {
            let heads = self.tally.heads();
            let own = heads.iter().any(|(authority, signed, _)| {
                self.log_key.contains(authority.as_str()) && *signed == size
            });
            if own { Ok(()) } else { Err(format!("{heads:?}")) }
        });
        let state = self.state.to_str().unwrap();
        let found = run(checker, &["log", self.base(), &self.log_key, state]);
        assert_eq!(found["size"], size);
        println!("log of {size}: {} checks", found["checks"]);
    }

    /// Has the head cosigned by a witness.
    fn cosigned_by(&self, checker: &Path, witness: &Self) {
        let (base, key) = (witness.base(), &witness.witness_key);
        let found = run(checker, &["witness", self.base(), &self.log_key, base, key]);
        assert!(found["time"].as_u64().unwrap() > 1_700_000_000);
        println!("cosigned at {}: {} checks", found["size"], found["checks"]);
    }

    /// Names an outside witness in the configuration, and starts anew.
    fn ask(&mut self, witness: &Self) {
        self.tally.kill();
        let file = self.tally.data().join("tally.toml");
        let (key, url) = (&witness.witness_key, witness.base());
        let line = format!("\nwitness_urls = [{{ key = \"{key}\", url = \"{url}/\" }}]\n");
        let config = std::fs::read_to_string(&file).unwrap() + &line;
        std::fs::write(&file, config).unwrap();
        self.tally.start_with(&SHOWN);
    }

    /// Waits until the head that is shown has a cosignature of `witness`, and gives its size.
    fn wait_for_cosignature(&self, witness: &Self) -> u64 {
        let (log, witness): (VerifierKey, VerifierKey) =
            (self.log_key.parse().unwrap(), witness.witness_key.parse().unwrap());
        let mut size = 0;
        eventually(Duration::from_secs(30), "a cosignature", || {
            let url = format!("{}/{}/checkpoint", self.base(), log.name());
            let note = ureq::get(url).call().unwrap().body_mut().read_to_vec().unwrap();
            let head = UnverifiedCheckpoint::parse(&note).unwrap();
            let head = head.verify_with(log.key(), std::slice::from_ref(&witness)).unwrap();
            size = head.checkpoint().size();
            match head.cosignatures().count() {
                1 => Ok(()),
                _ => Err(String::from_utf8_lossy(&note).into_owned()),
            }
        });
        size
    }

    /// Lets the log grow to `size` entries while the node is stopped; by
    /// command that many would take too long.
    fn grow(&mut self, size: u64) {
        self.tally.kill();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(grow(&self.tally.data(), size));
        drop(runtime);
        self.tally.start_with(&SHOWN);
    }
}

async fn grow(data: &Path, size: u64) {
    let network = Config::default().network;
    let identity = keys::load_identity(data, &network).unwrap();
    let keys = NodeKeys::load(data, &identity, None).unwrap();
    let store = Store::open(data, &StoreOptions::default(), identity.authority()).unwrap();
    let config = NodeConfig {
        network,
        identity: identity.events().to_vec(),
        log_key: keys.log,
        witness_key: keys.witness,
        node_key: keys.node.to_seed(),
        listen: Vec::new(),
        partners: Vec::new(),
        card: String::new(),
        accept_anyone: false,
        own_head_answers: 0,
        quota: Quota::default(),
        proxy: None,
        sign_alone: true,
        onlooker: None,
    };
    let (handle, task) = driver::start(config, store).await.unwrap();
    let status = handle.status().await.unwrap();
    let mut at =
        status.logs.iter().find(|log| log.log.authority == identity.authority()).unwrap().size;
    while at < size {
        let end = size.min(at + 4096);
        let authored = handle.author((at..end).map(entry).collect()).await.unwrap();
        assert!(authored.signed);
        at = end;
    }
    handle.shutdown().await;
    task.await.unwrap().unwrap();
}

/// A small entry of a kind that nobody interprets.
fn entry(n: u64) -> Entry {
    let mut fields = Fields::new();
    fields.insert("title", &format!("Made-up {n}").into()).unwrap();
    let mut salt = [0; 32];
    salt[..8].copy_from_slice(&n.to_be_bytes());
    let (body, commitment) = FullBody::new(&Salt::from_random(salt), &fields).unwrap();
    let mut record = [0; 16];
    record[..8].copy_from_slice(&n.to_be_bytes());
    let record = RecordId::from_bytes(record);
    let size = u32::try_from(body.as_bytes().len()).unwrap();
    let issued = UnixTime::from_seconds(1_767_225_600);
    let header = Header::new(Kind::new(60_001), record, Action::Put, issued, commitment, size);
    Entry::author(header, Body::Full(body)).unwrap()
}

fn run(checker: &Path, arguments: &[&str]) -> Value {
    let output = Command::new(checker).args(arguments).stdin(Stdio::null()).output().unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {out}{err}");
    serde_json::from_str(&out).unwrap()
}

#[test]
fn software_that_is_not_ours_verifies_log_and_witness() {
    let dir = tempfile::tempdir().unwrap();
    let Some(checker) = checker(dir.path()) else { return };
    let mut ash = Shown::init("Ash Borough Council");
    let (dale, elm) = (Shown::init("Dale District Council"), Shown::init("Elm City Council"));
    // Dale replicates the log; Elm knows its author only, and sees what it is shown.
    ash.tally.befriend(&dale.tally);
    let card = elm.tally.dir.path().join("ash.card");
    std::fs::write(&card, ash.tally.card()).unwrap();
    elm.tally.ok(&["partner", "add", card.to_str().unwrap()]);

    // The identity is the first entry; 256 is where tiles fill and the next level begins.
    ash.check(&checker, 1);
    let mut rows = 0;
    for size in [255, 256, 257, 1000] {
        ash.import(rows..size - 1);
        rows = size - 1;
        ash.check(&checker, size as u64);
        if size != 256 {
            ash.cosigned_by(&checker, &elm);
        }
    }
    eventually(Duration::from_secs(30), "Dale has the log", || {
        let heads = dale.tally.heads();
        if heads.iter().any(|(_, size, _)| *size == 1000) {
            Ok(())
        } else {
            Err(format!("{heads:?}"))
        }
    });
    ash.cosigned_by(&checker, &dale);

    // Two full levels, and the third begun.
    ash.grow(66_000);
    ash.check(&checker, 66_000);
    ash.cosigned_by(&checker, &elm);
}

#[test]
fn a_node_has_its_log_cosigned_by_a_witness_it_only_knows_by_address() {
    let mut ash = Shown::init("Ash Borough Council");
    let mut elm = Shown::init("Elm City Council");
    let card = elm.tally.dir.path().join("ash.card");
    std::fs::write(&card, ash.tally.card()).unwrap();
    elm.tally.ok(&["partner", "add", card.to_str().unwrap()]);

    ash.ask(&elm);
    assert_eq!(ash.wait_for_cosignature(&elm), 1);
    // What grows is cosigned again, by a proof from what the witness saw last.
    ash.import(0..300);
    assert_eq!(ash.wait_for_cosignature(&elm), 301);
    // It is there after a restart, also where the witness cannot be reached.
    elm.tally.kill();
    ash.tally.kill();
    ash.tally.start_with(&SHOWN);
    assert_eq!(ash.wait_for_cosignature(&elm), 301);
}
