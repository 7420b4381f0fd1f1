//! The resources of a public log: their addresses, and what stands there.
//!
//! **Invariant:** nothing is shown that no signed head covers. Whatever is not
//! there is `None`, whether it never was, is not there yet, or was erased.
//! Deliberately absent: whose logs are shown.

use tallystick_protocol::checkpoint::Origin;
use tallystick_protocol::id::LogId;
use tallystick_protocol::log::{LogError, Tile, TileSpan};

use crate::driver::unix_time;
use crate::store::{Replica, StoreError, erasure};
use crate::witnesses::Witnesses;

/// Parts of an origin of a public log.
const ORIGIN_PARTS: usize = 4;
/// Of what changes with every new head: asked for anew, or a moment old.
const BRIEFLY: &str = "max-age=2";
/// Of what never changes.
const FOR_EVER: &str = "public, max-age=31536000, immutable";
/// Of bodies, which their author may erase: then no cache may have them.
const NEVER: &str = "no-store";

/// One thing that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resource {
    /// The newest signed head.
    Checkpoint,
    /// Hashes of the tree.
    Tile(Tile),
    /// Headers.
    Entries(TileSpan),
    /// The body of the entry with this index.
    Body(u64),
}

/// What is answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) bytes: Vec<u8>,
    pub(super) content_type: &'static str,
    pub(super) caching: &'static str,
}

/// Which log and what of it a path names.
pub(super) fn find(path: &str) -> Option<(Origin, Resource)> {
    let path = path.strip_prefix('/')?;
    let (at, _) = path.match_indices('/').nth(ORIGIN_PARTS - 1)?;
    let (origin, rest) = path.split_at_checked(at)?;
    let origin: Origin = origin.parse().ok()?;
    let resource = match rest.strip_prefix('/')?.split_once('/') {
        None if rest == "/checkpoint" => Resource::Checkpoint,
        Some(("tile", tile)) => match tile.strip_prefix("entries/") {
            Some(span) => Resource::Entries(span.parse().ok()?),
            None => Resource::Tile(tile.parse().ok()?),
        },
        Some(("body", index)) => {
            let span: TileSpan = index.parse().ok()?;
            span.is_full().then(|| Resource::Body(span.index()))?
        }
        _ => return None,
    };
    Some((origin, resource))
}

/// Reads a resource of `log`; blocks.
pub(super) fn read(
    replica: &dyn Replica,
    witnesses: &Witnesses,
    log: &LogId,
    resource: &Resource,
) -> Result<Option<Answer>, StoreError> {
    let Some(head) = replica.head(log)? else { return Ok(None) };
    let hashes = "application/octet-stream";
    let answer = |bytes, content_type, caching| Some(Answer { bytes, content_type, caching });
    Ok(match resource {
        Resource::Checkpoint => {
            answer(witnesses.add_to(log, head.note), "text/plain; charset=utf-8", BRIEFLY)
        }
        Resource::Tile(tile) => match tile.hashes(&*replica.nodes(log)?, head.size) {
            Ok(tile) => {
                answer(tile.iter().flat_map(|hash| *hash.as_bytes()).collect(), hashes, FOR_EVER)
            }
            Err(LogError::Range) => None,
            Err(_) => return Err(unreadable(log)),
        },
        Resource::Entries(span) => {
            let Some(range) = span.items().ok().filter(|range| range.end <= head.size) else {
                return Ok(None);
            };
            let count = range.end - range.start;
            let headers = replica.headers(log, range)?;
            if headers.len() as u64 != count {
                return Err(unreadable(log));
            }
            answer(bundle(&headers)?, hashes, FOR_EVER)
        }
        Resource::Body(index) if *index < head.size => {
            body(replica, log, *index)?.and_then(|body| answer(body, "application/cbor", NEVER))
        }
        Resource::Body(_) => None,
    })
}

/// What is left of an entry's body without what is erased.
fn body(replica: &dyn Replica, log: &LogId, index: u64) -> Result<Option<Vec<u8>>, StoreError> {
    let stored = replica.entries(log, index..index + 1, usize::MAX)?.pop();
    let Some(stored) = stored.filter(|stored| stored.body.is_some()) else { return Ok(None) };
    let entry = stored.into_unverified().check().map_err(|_| unreadable(log))?;
    let erasures = erasure::of_record_at(replica, log, &entry.header().record, unix_time())?;
    Ok(erasures.veiled(log, index, entry).into_bytes().1)
}

/// Headers behind their lengths.
fn bundle(headers: &[Vec<u8>]) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::with_capacity(headers.iter().map(|header| header.len() + 2).sum());
    for header in headers {
        let len = u16::try_from(header.len()).map_err(|_| StoreError::TooLarge("header"))?;
        bytes.extend_from_slice(&len.to_be_bytes());
        bytes.extend_from_slice(header);
    }
    Ok(bytes)
}

fn unreadable(log: &LogId) -> StoreError {
    StoreError::Damaged { what: format!("the tree of log {log}"), offset: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Extension, SignedHead, memory::MemoryReplica};
    use tallystick_protocol::body::{Body, Fields, FullBody, Salt};
    use tallystick_protocol::entry::{Action, Entry, Header};
    use tallystick_protocol::id::{AuthorityId, RecordId};
    use tallystick_protocol::key::SecretKey;
    use tallystick_protocol::log::{Frontier, leaf_hash};
    use tallystick_protocol::record::Kind;
    use tallystick_protocol::time::UnixTime;

    fn origin() -> Origin {
        let network = "made-up".parse().unwrap();
        Origin::public(&network, &AuthorityId::from_bytes([5; 32]), 3)
    }

    fn log() -> LogId {
        LogId::public(AuthorityId::from_bytes([5; 32]), 3)
    }

    fn entry(n: u64) -> Entry {
        let mut fields = Fields::new();
        fields.insert("title", &format!("Made-up {n}").into()).unwrap();
        let (body, commitment) = FullBody::new(&Salt::from_random([7; 32]), &fields).unwrap();
        let size = u32::try_from(body.as_bytes().len()).unwrap();
        let record = RecordId::from_bytes([1; 16]);
        let issued = UnixTime::from_seconds(n);
        let kind = Kind::new(1);
        let header = Header::new(kind, record, Action::Put, issued, commitment, size);
        Entry::author(header, Body::Full(body)).unwrap()
    }

    /// A log of 300 entries whose head covers 260.
    fn replica() -> (MemoryReplica, Vec<Entry>) {
        let replica = MemoryReplica::new([0; 16]);
        let entries: Vec<_> = (0..300).map(entry).collect();
        let grown = |count: usize| {
            let mut frontier = Frontier::new();
            entries.iter().take(count).for_each(|entry| frontier.push(entry.leaf()));
            frontier
        };
        for (start, end, signed) in [(0, 260, true), (260, 300, false)] {
            let frontier = grown(end);
            let note = b"note".to_vec();
            let head = SignedHead { size: end as u64, root: frontier.root(), note };
            let extension = Extension {
                log: log(),
                start: start as u64,
                entries: &entries[start..end],
                frontier,
                head: signed.then_some(head),
                changed: 1,
            };
            replica.extend(&[extension]).unwrap();
        }
        (replica, entries)
    }

    fn get(replica: &MemoryReplica, path: &str) -> Option<Answer> {
        let (found, resource) = find(&format!("/{}/{path}", origin()))?;
        assert_eq!(found, origin());
        let key = SecretKey::from_seed([1; 32]).public();
        let witnesses = Witnesses::open(log(), key, Vec::new(), None, "none".into()).unwrap();
        read(replica, &witnesses, &log(), &resource).unwrap()
    }

    #[test]
    fn a_log_is_shown_up_to_its_signed_head_and_no_further() {
        let (replica, entries) = replica();
        let answer = get(&replica, "checkpoint").unwrap();
        assert_eq!((answer.bytes, answer.caching), (b"note".to_vec(), BRIEFLY));

        let leaves = get(&replica, "tile/0/000").unwrap();
        assert_eq!((leaves.bytes.len(), leaves.caching), (8192, FOR_EVER));
        assert_eq!(leaves.bytes[32..64], *entries[1].leaf().as_bytes());
        assert_eq!(get(&replica, "tile/0/001.p/4").unwrap().bytes.len(), 128);
        assert_eq!(get(&replica, "tile/1/000.p/1").unwrap().bytes.len(), 32);
        let bundle = get(&replica, "tile/entries/001.p/4").unwrap().bytes;
        let (mut rest, mut read) = (&bundle[..], Vec::new());
        while let Some((len, more)) = rest.split_first_chunk::<2>() {
            let (header, more) = more.split_at(u16::from_be_bytes(*len).into());
            read.push(leaf_hash(header));
            rest = more;
        }
        assert_eq!(read, entries[256..260].iter().map(Entry::leaf).collect::<Vec<_>>());

        let body = get(&replica, "body/259").unwrap();
        assert_eq!(body.bytes, entries[259].body().unwrap().as_bytes());
        assert_eq!((body.content_type, body.caching), ("application/cbor", NEVER));

        for absent in [
            "tile/0/001",
            "tile/0/001.p/5",
            "tile/1/000",
            "tile/1/000.p/2",
            "tile/2/000.p/1",
            "tile/entries/001",
            "tile/entries/001.p/5",
            "body/260",
            "body/299",
            "body/x001/000",
        ] {
            assert_eq!(get(&replica, absent), None, "{absent}");
        }
    }

    #[test]
    fn an_erased_body_is_shown_no_more() {
        let (replica, _) = replica();
        assert!(get(&replica, "body/007").is_some());
        replica.set_body(&log(), 7, None).unwrap();
        assert_eq!(get(&replica, "body/007"), None);
        assert!(get(&replica, "tile/entries/000").is_some());
    }

    #[test]
    fn a_log_without_a_head_is_none() {
        let empty = MemoryReplica::new([0; 16]);
        assert_eq!(get(&empty, "checkpoint"), None);
        assert_eq!(get(&empty, "tile/0/000.p/1"), None);
    }

    #[test]
    fn other_paths_are_no_resources() {
        let origin = origin();
        for bad in [
            String::new(),
            "/".to_owned(),
            "/checkpoint".to_owned(),
            "/add-checkpoint".to_owned(),
            format!("/{origin}"),
            format!("/{origin}/"),
            format!("/{origin}/checkpoint/"),
            format!("//{origin}/checkpoint"),
            format!("{origin}/checkpoint"),
            format!("/{origin}/tile"),
            format!("/{origin}/tile/"),
            format!("/{origin}/tile/0"),
            format!("/{origin}/tile/0/0"),
            format!("/{origin}/tile/entries"),
            format!("/{origin}/body"),
            format!("/{origin}/body/7"),
            format!("/{origin}/body/007.p/4"),
            format!("/{origin}/body/-07"),
            format!("/{origin}/other"),
            format!("/{origin}/other/000"),
            format!("/{origin}/%63heckpoint"),
        ] {
            assert_eq!(find(&bad), None, "{bad:?}");
        }
        let strange = find(&format!("/{origin}x/checkpoint")).unwrap();
        assert_eq!(strange.0.public_log(), None);
    }
}
