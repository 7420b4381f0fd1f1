//! Outside witnesses: asks them to cosign our own public log (C2SP tlog-witness).
//!
//! Each witness that `tally.toml` names is asked by a task of its own, once per
//! new head and at most once a second, with the proof from what it saw last. It
//! tells that itself, so nothing about it need be remembered. What comes back
//! is verified under the configured key and added to the newest head, which is
//! kept with its cosignatures in the file `cosignatures` of the data directory.
//!
//! **Invariants:** a line is kept only if it verifies and fits our own signed
//! head; what a witness answers is read up to a bound, and a witness that does
//! not answer is asked less and less often. A witness that has seen more of our
//! log than we hold, or another root, is reported loudly: this node was put back
//! to an earlier state, or somebody else has its key. Deliberately absent:
//! witnesses that are partners, which need no HTTP, and what a cosignature is
//! worth (see [`tallystick_protocol::witness::confirmation`]).

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use serde::Deserialize;
use tallystick_protocol::checkpoint::{UnverifiedCheckpoint, VerifiedCheckpoint};
use tallystick_protocol::id::{Hash, LogId};
use tallystick_protocol::key::PublicKey;
use tallystick_protocol::limits;
use tallystick_protocol::log::consistency_proof;
use tallystick_protocol::note::{Algorithm, SignatureLine, VerifierKey};
use tallystick_protocol::witness::{
    COSIGN_PAUSE, encode_request, parse_cosignatures, parse_recorded,
};
use tokio::task::JoinSet;
use ureq::Agent;
use ureq::tls::{RootCerts, TlsConfig, TlsProvider};

use crate::driver::Handle;
use crate::failure::Failure;
use crate::network::Proxy;
use crate::partner::replace;
use crate::store::Replica;

/// File with the newest head that was cosigned, in the data directory.
pub const COSIGNATURES_FILE: &str = "cosignatures";
/// Longest address of a witness, in bytes.
const URL_BYTES: usize = 1 << 10;
/// How long a witness may take for an answer, with everything.
const ANSWER_TIME: Duration = Duration::from_secs(10);
/// Longest time until a witness that did not answer is asked again.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// A witness as the configuration names it: `{ key = VKEY, url = URL }`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "WrittenWitness")]
pub struct OutsideWitness {
    /// Its key.
    pub key: VerifierKey,
    /// Its submission prefix, without a slash at the end.
    pub url: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenWitness {
    key: String,
    url: String,
}

impl TryFrom<WrittenWitness> for OutsideWitness {
    type Error = &'static str;

    fn try_from(written: WrittenWitness) -> Result<Self, &'static str> {
        let key: Result<VerifierKey, _> = written.key.parse();
        let key = key.ok().filter(|key| key.algorithm() == Algorithm::CosignatureV1);
        let key = key.ok_or("not the key of a witness, as NAME+ID+BASE64 of type 4")?;
        let url = written.url.trim_end_matches('/');
        let plain = url.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#".contains(&byte));
        let web = ["https://", "http://"].iter().any(|scheme| {
            url.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
        });
        match web && plain && url.len() <= URL_BYTES {
            true => Ok(Self { key, url: url.to_owned() }),
            false => Err("not the address of a witness, as https://HOST/PATH"),
        }
    }
}

/// Why a witness did not cosign.
#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error("the witness cannot be reached ({0})")]
    Unreachable(Box<ureq::Error>),
    #[error("the witness did not answer within {time} seconds", time = ANSWER_TIME.as_secs())]
    TooSlow,
    #[error("the witness has no valid certificate for its name")]
    Certificate,
    #[error("the witness sends this node somewhere else, which is not followed")]
    Redirect,
    #[error("the witness's answer is longer than an answer can be")]
    TooLong,
    #[error("the witness answered with status {0}")]
    Status(u16),
    #[error("the witness answered what its protocol does not know")]
    Answer,
    #[error(
        "the witness has seen {0} entries of this authority's log, more than are here: this node is an older copy, or somebody else has its key"
    )]
    Ahead(u64),
    #[error(
        "the witness has seen another history of this authority's log: this node is an older copy, or somebody else has its key"
    )]
    Contradicts,
    #[error("the log cannot be read")]
    Log,
}

/// How an outside witness was when it was asked last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Its key.
    pub key: VerifierKey,
    /// Its address.
    pub url: String,
    /// Entries under the newest head that it cosigned for this run of the node.
    pub cosigned: Option<u64>,
    /// Why it did not cosign when it was asked last, if so.
    pub failure: Option<String>,
}

impl From<ureq::Error> for AskError {
    fn from(error: ureq::Error) -> Self {
        match error {
            ureq::Error::Timeout(_) => Self::TooSlow,
            ureq::Error::BodyExceedsLimit(_) => Self::TooLong,
            ureq::Error::Tls(_) | ureq::Error::Rustls(_) => Self::Certificate,
            // What rustls finds wrong comes out of the stream as invalid data.
            ureq::Error::Io(error) if error.kind() == ErrorKind::InvalidData => Self::Certificate,
            error => Self::Unreachable(Box::new(error)),
        }
    }
}

/// The cosignatures of our own log's newest head.
pub struct Witnesses {
    log: LogId,
    log_key: PublicKey,
    witnesses: Vec<OutsideWitness>,
    agent: Agent,
    file: PathBuf,
    /// The newest head that somebody cosigned.
    cosigned: Mutex<Option<VerifiedCheckpoint>>,
    /// How each was when it was asked last.
    reports: Mutex<Vec<Report>>,
}

impl Witnesses {
    /// The configured witnesses of our own `log`, with what they cosigned before
    /// according to `file`.
    ///
    /// # Errors
    /// A [`Failure`] if there are too many, or the proxy cannot be used.
    pub fn open(
        log: LogId,
        log_key: PublicKey,
        witnesses: Vec<OutsideWitness>,
        proxy: Option<&Proxy>,
        file: PathBuf,
    ) -> Result<Self, Failure> {
        if witnesses.len() > limits::WITNESSES {
            return Err(Failure::usage(
                format!("more than {} outside witnesses are configured", limits::WITNESSES),
                "leave the others out of `witness_urls` in tally.toml",
            ));
        }
        // What the environment says of proxies does not count, only the configuration.
        let agent = agent(proxy.map(Proxy::for_http).transpose()?, RootCerts::WebPki, ANSWER_TIME);
        let report = |OutsideWitness { key, url }: &OutsideWitness| Report {
            key: key.clone(),
            url: url.clone(),
            cosigned: None,
            failure: None,
        };
        let reports = Mutex::new(witnesses.iter().map(report).collect());
        let cosigned = Mutex::new(None);
        let opened = Self { log, log_key, witnesses, agent, file, cosigned, reports };
        // What does not verify is of another key or damaged, and is collected anew.
        let stored = std::fs::read(&opened.file).ok().and_then(|note| opened.verify(&note));
        *opened.cosigned() = stored;
        Ok(opened)
    }

    /// How each witness was when it was asked last, in the order of the configuration.
    #[must_use]
    pub fn reports(&self) -> Vec<Report> {
        self.told().clone()
    }

    fn told(&self) -> MutexGuard<'_, Vec<Report>> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of how asking a witness for a head of `size` entries ended.
    fn note(&self, witness: &VerifierKey, size: u64, asked: Result<(), &AskError>) {
        let mut reports = self.told();
        let Some(report) = reports.iter_mut().find(|report| report.key == *witness) else { return };
        report.failure = asked.err().map(ToString::to_string);
        if asked.is_ok() {
            report.cosigned = Some(size);
        }
    }

    /// Verifies a head of our own log with the lines of configured witnesses.
    fn verify(&self, note: &[u8]) -> Option<VerifiedCheckpoint> {
        let keys: Vec<_> = self.witnesses.iter().map(|witness| witness.key.clone()).collect();
        UnverifiedCheckpoint::parse(note).ok()?.verify_with(&self.log_key, &keys).ok()
    }

    /// The note of a head of our own log, with the cosignatures there are for it.
    #[must_use]
    pub fn add_to(&self, log: &LogId, note: Vec<u8>) -> Vec<u8> {
        let cosigned = self.cosigned().clone().filter(|_| *log == self.log);
        let Some(cosigned) = cosigned else { return note };
        let Some(mut head) = self.verify(&note) else { return note };
        if head.checkpoint() != cosigned.checkpoint() {
            return note;
        }
        for line in cosigned.note().lines() {
            for witness in &self.witnesses {
                // Lines by others, ours among them, stand there already.
                let _added = head.add(line.clone(), &witness.key);
            }
        }
        head.to_bytes()
    }

    /// Keeps a line that `witness` made for `head`.
    fn keep(
        &self,
        head: &VerifiedCheckpoint,
        line: SignatureLine,
        witness: &VerifierKey,
    ) -> Result<(), AskError> {
        let mut cosigned = self.cosigned();
        let size = |head: &VerifiedCheckpoint| head.checkpoint().size();
        let mut newest = match cosigned.take() {
            Some(other) if size(&other) > size(head) => {
                *cosigned = Some(other);
                return Ok(());
            }
            Some(same) if same.checkpoint() == head.checkpoint() => same,
            _ => head.clone(),
        };
        let added = newest.add(line, witness);
        let note = newest.to_bytes();
        *cosigned = Some(newest);
        added.map_err(|_| AskError::Answer)?;
        if let Err(error) = replace(&self.file, &note) {
            // They can be had again.
            tracing::warn!(%error, file = %self.file.display(), "cosignatures cannot be kept");
        }
        Ok(())
    }

    fn cosigned(&self) -> MutexGuard<'_, Option<VerifiedCheckpoint>> {
        self.cosigned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_cosigned_by(&self, head: &VerifiedCheckpoint, witness: &VerifierKey) -> bool {
        let cosigned = self.cosigned();
        let same = cosigned.as_ref().filter(|other| other.checkpoint() == head.checkpoint());
        same.is_some_and(|same| same.cosignatures().any(|signer| signer.key == *witness))
    }

    /// Asks one witness to cosign `head`, of which it saw `seen` entries as far
    /// as we know; that is corrected if it says otherwise. Blocks.
    fn ask(
        &self,
        witness: &OutsideWitness,
        replica: &Weak<dyn Replica>,
        head: &VerifiedCheckpoint,
        seen: &mut u64,
    ) -> Result<(), AskError> {
        let size = head.checkpoint().size();
        *seen = size.min(*seen);
        // Once to learn what it saw last, if need be, and once more with that.
        for _ in 0..2 {
            let proof = self.proof(replica, *seen, size).ok_or(AskError::Log)?;
            match self.post(&witness.url, &encode_request(*seen, &proof, head))? {
                (200, answer) => {
                    let lines = parse_cosignatures(&answer).map_err(|_| AskError::Answer)?;
                    let own = |line: &&SignatureLine| {
                        (line.name(), line.key_id()) == (witness.key.name(), witness.key.key_id())
                    };
                    let line = lines.iter().find(own).ok_or(AskError::Answer)?;
                    self.keep(head, line.clone(), &witness.key)?;
                    *seen = size;
                    return Ok(());
                }
                (409, answer) => {
                    let recorded = parse_recorded(&answer).ok_or(AskError::Answer)?;
                    if recorded > size {
                        return Err(AskError::Ahead(recorded));
                    }
                    if recorded == *seen {
                        return Err(AskError::Contradicts);
                    }
                    *seen = recorded;
                }
                (422, _) => return Err(AskError::Contradicts),
                (status, _) => return Err(AskError::Status(status)),
            }
        }
        // It moved on in between; its answer counts the next time.
        Err(AskError::Status(409))
    }

    /// The replica is held no longer than this takes: a node that stops waits for no witness.
    fn proof(&self, replica: &Weak<dyn Replica>, old: u64, size: u64) -> Option<Vec<Hash>> {
        let replica = replica.upgrade()?;
        let nodes = replica.nodes(&self.log).ok()?;
        consistency_proof(&*nodes, old, size).ok()
    }

    fn post(&self, url: &str, body: &[u8]) -> Result<(u16, Vec<u8>), AskError> {
        let sent = self.agent.post(format!("{url}/add-checkpoint")).send(body);
        let mut answer = sent.map_err(AskError::from)?;
        let status = answer.status().as_u16();
        if (300..400).contains(&status) {
            return Err(AskError::Redirect);
        }
        let most = limits::NOTE_BYTES as u64;
        let read = answer.body_mut().with_config().limit(most).read_to_vec();
        Ok((status, read?))
    }

    /// Asks each witness whenever there is a new head, until the set is dropped.
    #[must_use]
    pub fn follow(self: &Arc<Self>, handle: &Handle) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        for witness in &self.witnesses {
            tasks.spawn(follow(Arc::clone(self), witness.clone(), handle.clone()));
        }
        tasks
    }
}

async fn follow(witnesses: Arc<Witnesses>, witness: OutsideWitness, handle: Handle) {
    let (mut seen, mut failures) = (0, 0);
    loop {
        tokio::time::sleep(pause_after(failures)).await;
        let Some(head) = handle.head(witnesses.log).await else { continue };
        if witnesses.is_cosigned_by(&head, &witness.key) {
            continue;
        }
        let (all, one) = (Arc::clone(&witnesses), witness.clone());
        let (replica, size) = (Arc::downgrade(&handle.replica()), head.checkpoint().size());
        let asked = tokio::task::spawn_blocking(move || {
            let asked = all.ask(&one, &replica, &head, &mut seen);
            (asked, seen)
        });
        let Ok((asked, known)) = asked.await else { return };
        seen = known;
        let Err(error) = asked else {
            failures = 0;
            witnesses.note(&witness.key, size, Ok(()));
            continue;
        };
        failures += 1;
        witnesses.note(&witness.key, size, Err(&error));
        let name = witness.key.name();
        match error {
            // A partner may have got a newer head before it was asked about this one.
            AskError::Ahead(size) if is_ours(&handle, witnesses.log, size).await => failures = 0,
            AskError::Ahead(_) | AskError::Contradicts => {
                tracing::error!(witness = %name, %error, "our log is not cosigned");
            }
            error => tracing::warn!(witness = %name, %error, "our log is not cosigned"),
        }
    }
}

/// What speaks HTTP, to servers whose certificates `roots` vouch for.
fn agent(proxy: Option<ureq::Proxy>, roots: RootCerts, patience: Duration) -> Agent {
    let tls = TlsConfig::builder().provider(TlsProvider::Rustls).root_certs(roots).build();
    Agent::config_builder()
        .tls_config(tls)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_global(Some(patience))
        .proxy(proxy)
        .user_agent("tallystick")
        .build()
        .new_agent()
}

/// Whether our own head has come to this size by now.
async fn is_ours(handle: &Handle, log: LogId, size: u64) -> bool {
    handle.head(log).await.is_some_and(|head| head.checkpoint().size() >= size)
}

/// How long to wait after so many failures in a row.
fn pause_after(failures: u32) -> Duration {
    COSIGN_PAUSE.saturating_mul(2_u32.saturating_pow(failures)).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests;
