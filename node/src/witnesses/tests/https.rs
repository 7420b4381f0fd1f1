//! A witness behind TLS, with a certificate of the test's own authority: what is
//! asked, what is taken, and what is not.

use super::*;

use std::net::SocketAddr;
use std::time::Instant;

use rcgen::CertifiedKey;
use tallystick_protocol::body::{Body, Fields, FullBody, Salt};
use tallystick_protocol::entry::{Action, Entry, Header};
use tallystick_protocol::id::RecordId;
use tallystick_protocol::log::Frontier;
use tallystick_protocol::record::Kind;
use tallystick_protocol::witness::{Refusal, Seen, UnverifiedRequest, decide};

use crate::https_server::{Root, serve};
use crate::store::Extension;
use crate::store::memory::MemoryReplica;

const PATIENT: Duration = Duration::from_secs(10);
const HOST: &str = "127.0.0.1";

fn entry(n: u64) -> Entry {
    let mut fields = Fields::new();
    fields.insert("title", &format!("Made-up {n}").into()).unwrap();
    let (body, commitment) = FullBody::new(&Salt::from_random([7; 32]), &fields).unwrap();
    let size = u32::try_from(body.as_bytes().len()).unwrap();
    let (record, issued) = (RecordId::from_bytes([1; 16]), UnixTime::from_seconds(n));
    let header = Header::new(Kind::new(1), record, Action::Put, issued, commitment, size);
    Entry::author(header, Body::Full(body)).unwrap()
}

/// Our log, of 20 entries, and a configured witness, seed 2.
struct Asking {
    entries: Vec<Entry>,
    replica: Arc<dyn Replica>,
    witnesses: Witnesses,
    seen: u64,
    _dir: tempfile::TempDir,
}

impl Asking {
    /// Of the witness at `address`, whose certificate `root` must vouch for.
    fn new(address: SocketAddr, root: &Root, patience: Duration) -> Self {
        let (dir, memory) = (tempfile::tempdir().unwrap(), MemoryReplica::new([0; 16]));
        let entries: Vec<_> = (0..20).map(entry).collect();
        let (start, head, changed) = (0, None, 1);
        let frontier = grown(&entries);
        let entries_in = &entries[..];
        let whole = Extension { log: log(), start, entries: entries_in, frontier, head, changed };
        memory.extend(&[whole]).unwrap();
        let outside = OutsideWitness { key: witness(2), url: format!("https://{address}/w") };
        let file = dir.path().join(COSIGNATURES_FILE);
        let witnesses = Witnesses::open(log(), secret(1).public(), vec![outside], None, file);
        let mut witnesses = witnesses.unwrap();
        witnesses.agent = agent(None, root.trusted(), patience);
        Self { entries, replica: Arc::new(memory), witnesses, seen: 0, _dir: dir }
    }

    fn head(&self, size: usize) -> VerifiedCheckpoint {
        let origin = Origin::of(&"made-up".parse().unwrap(), &log()).unwrap();
        let root = grown(&self.entries[..size]).root();
        sign(&Checkpoint::new(origin, size as u64, root).unwrap(), &secret(1)).unwrap()
    }

    fn ask(&mut self, size: usize) -> Result<(), AskError> {
        let (head, replica) = (self.head(size), Arc::downgrade(&self.replica));
        let witness = self.witnesses.witnesses[0].clone();
        self.witnesses.ask(&witness, &replica, &head, &mut self.seen)
    }
}

fn grown(entries: &[Entry]) -> Frontier {
    let mut frontier = Frontier::new();
    entries.iter().for_each(|entry| frontier.push(entry.leaf()));
    frontier
}

fn answer(status: u16, kind: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

/// A witness as C2SP tlog-witness has it, which remembers what it has seen.
fn honest(mut seen: Option<Seen>) -> impl FnMut(&str) -> Vec<u8> + Send + 'static {
    move |asked| {
        let (head, body) = asked.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("POST /w/add-checkpoint HTTP/1.1\r\n"), "{head}");
        let request = UnverifiedRequest::parse(body.as_bytes()).unwrap();
        let request = request.verify(&secret(1).public()).unwrap();
        match decide(seen, request) {
            Ok(decision) => {
                seen = Some(decision.head());
                let time = UnixTime::from_seconds(1_774_965_900);
                let line = decision.cosign(witness(2).name(), &secret(2), time).unwrap();
                answer(200, "text/plain; charset=utf-8", &format!("{line}\n"))
            }
            Err(Refusal::Recorded(size)) => answer(409, "text/x.tlog.size", &format!("{size}\n")),
            Err(refusal) => answer(refusal.http_status(), "text/plain", ""),
        }
    }
}

fn seen(entries: &[Entry], size: usize) -> Option<Seen> {
    Some(Seen { size: size as u64, root: grown(&entries[..size]).root() })
}

/// The certificate of a witness that does what is expected of it.
fn witness_of(root: &Root) -> CertifiedKey {
    root.issue(HOST)
}

#[test]
fn a_head_is_cosigned_over_tls_and_the_line_kept() {
    let root = Root::new();
    let (address, visits) = serve(&witness_of(&root), 2, honest(None));
    let mut asking = Asking::new(address, &root, PATIENT);
    asking.ask(5).unwrap();
    assert!(asking.witnesses.is_cosigned_by(&asking.head(5), &witness(2)));
    asking.ask(20).unwrap();
    assert!(asking.witnesses.is_cosigned_by(&asking.head(20), &witness(2)));
    let note = asking.witnesses.add_to(&log(), asking.head(20).to_bytes());
    assert_eq!(asking.witnesses.verify(&note).unwrap().cosignatures().count(), 1);
    let asked = visits.join().unwrap();
    assert!(asked[0].contains("\r\n\r\nold 0\n") && asked[1].contains("\r\n\r\nold 5\n"));
}

#[test]
fn a_409_names_the_older_size_and_the_next_request_goes_on_from_there() {
    let root = Root::new();
    let entries: Vec<_> = (0..20).map(entry).collect();
    let (address, visits) = serve(&witness_of(&root), 2, honest(seen(&entries, 7)));
    let mut asking = Asking::new(address, &root, PATIENT);
    asking.ask(20).unwrap();
    assert_eq!(asking.seen, 20);
    let asked = visits.join().unwrap();
    assert!(asked[0].contains("\r\n\r\nold 0\n") && asked[1].contains("\r\n\r\nold 7\n"));

    // One that has seen more than there is, and one that says what cannot be.
    let (address, visits) = serve(&witness_of(&root), 1, honest(seen(&entries, 15)));
    let ahead = Asking::new(address, &root, PATIENT).ask(9);
    assert!(matches!(ahead, Err(AskError::Ahead(15))), "{ahead:?}");
    visits.join().unwrap();
    for nonsense in ["", "7", "-7\n", "07\n", "many\n", "7\n7\n"] {
        let (address, visits) =
            serve(&witness_of(&root), 1, move |_| answer(409, "text/x.tlog.size", nonsense));
        let said = Asking::new(address, &root, PATIENT).ask(9);
        assert!(matches!(said, Err(AskError::Answer)), "{nonsense:?}: {said:?}");
        visits.join().unwrap();
    }
    // A size that changes each time is not followed for ever.
    let mut size = 0;
    let (address, visits) = serve(&witness_of(&root), 2, move |_| {
        size += 1;
        answer(409, "text/x.tlog.size", &format!("{size}\n"))
    });
    let said = Asking::new(address, &root, PATIENT).ask(9);
    assert!(matches!(said, Err(AskError::Status(409))), "{said:?}");
    visits.join().unwrap();
}

#[test]
fn a_server_without_a_trusted_certificate_is_asked_for_nothing() {
    let (root, stranger) = (Root::new(), Root::new());
    for certificate in [stranger.issue(HOST), root.issue("witness.example")] {
        let (address, visits) = serve(&certificate, 1, honest(None));
        let mut asking = Asking::new(address, &root, PATIENT);
        let said = asking.ask(5);
        assert!(matches!(said, Err(AskError::Certificate)), "{said:?}");
        assert_eq!(visits.join().unwrap(), [""], "nothing is sent before that is clear");
        assert!(!asking.witnesses.is_cosigned_by(&asking.head(5), &witness(2)));
        // What is told of it: the failure, until it has cosigned.
        let key = witness(2);
        asking.witnesses.note(&key, 5, said.as_ref().copied());
        let report = asking.witnesses.reports().remove(0);
        assert_eq!(report.cosigned, None);
        assert!(report.failure.unwrap().contains("certificate"));
        asking.witnesses.note(&key, 5, Ok(()));
        let report = asking.witnesses.reports().remove(0);
        assert_eq!((report.cosigned, report.failure), (Some(5), None));
    }
}

#[test]
fn a_redirection_is_not_followed_wherever_it_leads() {
    let root = Root::new();
    // A witness that would cosign, if it was ever asked.
    let elsewhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let other = elsewhere.local_addr().unwrap();
    for scheme in ["https", "http"] {
        for status in [301, 302, 307, 308] {
            let place = format!("{scheme}://{other}/w/add-checkpoint");
            let moved = format!(
                "HTTP/1.1 {status} Moved\r\nLocation: {place}\r\nContent-Length: 0\r\n\
                 Connection: close\r\n\r\n"
            );
            let (address, visits) =
                serve(&witness_of(&root), 1, move |_| moved.clone().into_bytes());
            let said = Asking::new(address, &root, PATIENT).ask(5);
            assert!(matches!(said, Err(AskError::Redirect)), "{status} to {place}: {said:?}");
            visits.join().unwrap();
            assert!(elsewhere.accept().is_err(), "{status} to {place} was followed");
        }
    }
}

#[test]
fn what_a_witness_answers_is_read_up_to_a_bound() {
    let root = Root::new();
    let long = "x".repeat(limits::NOTE_BYTES + 1);
    let endless = [b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), long.repeat(64).into_bytes()].concat();
    let conflict = answer(409, "text/x.tlog.size", &long);
    for body in [answer(200, "text/plain", &long), endless, conflict] {
        let (address, visits) = serve(&witness_of(&root), 1, move |_| body.clone());
        let said = Asking::new(address, &root, PATIENT).ask(5);
        assert!(matches!(said, Err(AskError::TooLong)), "{said:?}");
        visits.join().unwrap();
    }
    // One that takes its time is left.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let started = Instant::now();
    let patience = Duration::from_millis(300);
    let said = Asking::new(silent.local_addr().unwrap(), &root, patience).ask(5);
    assert!(matches!(said, Err(AskError::TooSlow)), "{said:?}");
    assert!(started.elapsed() < PATIENT);
}

#[test]
fn other_answers_are_no_cosignature() {
    let root = Root::new();
    let line = |head: &VerifiedCheckpoint, seed: u8| {
        let time = UnixTime::from_seconds(9);
        head.cosign(witness(seed).name(), &secret(seed), time).unwrap()
    };
    let entries: Vec<_> = (0..20).map(entry).collect();
    let origin = Origin::of(&"made-up".parse().unwrap(), &log()).unwrap();
    let other = Checkpoint::new(origin, 6, grown(&entries[..6]).root()).unwrap();
    let other = sign(&other, &secret(1)).unwrap();
    for body in [String::new(), "yes\n".into(), format!("{}\n", line(&other, 3))] {
        let (address, visits) =
            serve(&witness_of(&root), 1, move |_| answer(200, "text/plain", &body));
        let said = Asking::new(address, &root, PATIENT).ask(5);
        assert!(matches!(said, Err(AskError::Answer)), "{said:?}");
        visits.join().unwrap();
    }
    // A good line of another head is not kept for this one.
    let wrong = format!("{}\n", line(&other, 2));
    let (address, visits) =
        serve(&witness_of(&root), 1, move |_| answer(200, "text/plain", &wrong));
    let mut asking = Asking::new(address, &root, PATIENT);
    assert!(matches!(asking.ask(5), Err(AskError::Answer)));
    assert!(!asking.witnesses.is_cosigned_by(&asking.head(5), &witness(2)));
    visits.join().unwrap();
    for status in [400, 403, 404, 429, 500] {
        let (address, visits) =
            serve(&witness_of(&root), 1, move |_| answer(status, "text/plain", ""));
        let said = Asking::new(address, &root, PATIENT).ask(5);
        assert!(matches!(said, Err(AskError::Status(found)) if found == status), "{said:?}");
        visits.join().unwrap();
    }
}
