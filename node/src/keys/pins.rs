//! What opens the pins of group logs in this authority's own chain.
//!
//! Whoever replaces the log key pins the newest head of each of its group logs as a
//! salted hash, among others that are random: the chain is public, and says neither of
//! which groups nor of how many. The salts stay here, in a file of mode 0600, and go
//! into proofs of what was signed before, one at a time.
//!
//! **Invariants:** the file is durable before the event exists that has the pins; an
//! opening of an event that never came in force pins nothing and does no harm.
//! Deliberately absent: openings of other authorities, which do not hand them on.

use std::io;
use std::path::Path;

use tallystick_protocol::cbor::{CborError, Reader, Writer};
use tallystick_protocol::checkpoint::Checkpoint;
use tallystick_protocol::id::Hash;
use tallystick_protocol::identity::{GroupPin, PinOpening, PinSalt};
use tallystick_protocol::limits;
use zeroize::Zeroizing;

use super::file::read_bounded;
use super::identity::AS_THE_NODE;
use crate::author::random_salt;
use crate::failure::Failure;
use crate::partner::replace;

/// Name of the file with the openings.
const PINS_FILE: &str = "group-pins.cbor";
const FORMAT_VERSION: u64 = 1;
/// Most openings that are kept; the oldest go first.
const KEPT: usize = 8 * limits::GROUP_PINS;
/// Largest file: an opening is an origin and three numbers or hashes.
const FILE_BYTES: u64 = (KEPT * (limits::KEY_NAME_BYTES + 96) + 64) as u64;
/// Pins are filled up to a multiple of this.
const ROUND: usize = 16;

/// The openings that are kept in a data directory, oldest first.
///
/// # Errors
/// A [`Failure`] if the file is there and cannot be read.
pub fn load(data: &Path) -> Result<Vec<PinOpening>, Failure> {
    let path = data.join(PINS_FILE);
    let damaged = |why: &dyn std::fmt::Display| {
        Failure::usage(
            format!("{} cannot be read ({why})", path.display()),
            "put the file back from a backup; without it move it away, and what was said in \
             groups under replaced keys cannot be proved",
        )
    };
    match read_bounded(&path, FILE_BYTES).map(Zeroizing::new) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(damaged(&error)),
        Ok(bytes) => read(&bytes).map_err(|error| damaged(&error)),
    }
}

/// Makes pins of heads of group logs for an identity event, and keeps what opens them.
///
/// # Errors
/// A [`Failure`] if there are more than an event has room for, or the file cannot be written.
pub fn pin(data: &Path, heads: Vec<Checkpoint>) -> Result<Vec<GroupPin>, Failure> {
    if heads.len() > limits::GROUP_PINS {
        return Err(Failure::usage(
            format!("an event has room for heads of {} groups", limits::GROUP_PINS),
            "leave groups that are not used any more",
        ));
    }
    let salt = || random_salt().map_err(Failure::internal);
    let mut openings = Vec::new();
    for head in heads {
        openings.extend(PinOpening::new(PinSalt::new(salt()?), head));
    }
    let mut pins: Vec<_> = openings.iter().map(PinOpening::pin).collect();
    let most = pins.len().max(1).next_multiple_of(ROUND).min(limits::GROUP_PINS);
    while pins.len() < most {
        pins.push(GroupPin::decoy(salt()?));
    }
    pins.sort_unstable();
    if !openings.is_empty() {
        let mut all = load(data)?;
        all.extend(openings);
        let spare = all.len().saturating_sub(KEPT);
        let (path, bytes) = (data.join(PINS_FILE), write(all.get(spare..).unwrap_or_default()));
        let written = replace(&path, &bytes);
        written.map_err(|error| Failure::unwritten(&path, &error, AS_THE_NODE))?;
    }
    Ok(pins)
}

fn write(openings: &[PinOpening]) -> Zeroizing<Vec<u8>> {
    // Room for all of it, so that no half of a secret is left behind by growing.
    let mut writer = Writer::with_capacity(openings.len() * (limits::KEY_NAME_BYTES + 96) + 64);
    writer.map(2).unsigned(0).unsigned(FORMAT_VERSION).unsigned(1).array(openings.len());
    for opening in openings {
        let head = opening.head();
        writer.array(4).bytes(opening.salt().as_bytes()).text(head.origin().as_str());
        writer.unsigned(head.size()).bytes(head.root().as_bytes());
    }
    Zeroizing::new(writer.finish())
}

fn read(bytes: &[u8]) -> Result<Vec<PinOpening>, CborError> {
    let mut reader = Reader::new(bytes);
    let expect =
        |found: u64, wanted| if found == wanted { Ok(()) } else { Err(CborError::Unexpected) };
    expect(reader.map(2)? as u64, 2)?;
    for wanted in [0, FORMAT_VERSION, 1] {
        expect(reader.unsigned()?, wanted)?;
    }
    let mut openings = Vec::new();
    for _ in 0..reader.array(KEPT)? {
        expect(reader.array(4)? as u64, 4)?;
        let salt = read_hash(&mut reader)?;
        let origin = reader.text(limits::KEY_NAME_BYTES)?.parse();
        let origin = origin.map_err(|_| CborError::Unexpected)?;
        let head = Checkpoint::new(origin, reader.unsigned()?, read_hash(&mut reader)?);
        let opening =
            head.ok().and_then(|head| PinOpening::new(PinSalt::new(*salt.as_bytes()), head));
        openings.push(opening.ok_or(CborError::Unexpected)?);
    }
    reader.end()?;
    Ok(openings)
}

fn read_hash(reader: &mut Reader<'_>) -> Result<Hash, CborError> {
    Hash::try_from(reader.bytes(Hash::LEN)?).map_err(|_| CborError::Unexpected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tallystick_protocol::checkpoint::Origin;

    fn head(n: u8) -> Checkpoint {
        let origin = Origin::private(&"made-up".parse().unwrap(), &Hash::from_bytes([n; 32]));
        Checkpoint::new(origin, u64::from(n), Hash::from_bytes([n; 32])).unwrap()
    }

    #[test]
    fn what_opens_each_pin_is_kept_and_their_number_does_not_say_how_many_groups() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path();
        assert_eq!(pin(data, Vec::new()).unwrap().len(), ROUND);
        assert!(!data.join(PINS_FILE).exists(), "there is nothing to open");
        let first = pin(data, vec![head(1), head(2)]).unwrap();
        let second = pin(data, vec![head(1)]).unwrap();
        assert_eq!((first.len(), second.len()), (ROUND, ROUND));
        assert!(first.is_sorted() && second.is_sorted());
        let kept = load(data).unwrap();
        assert_eq!(kept.iter().map(|it| it.head().size()).collect::<Vec<_>>(), [1, 2, 1]);
        for (at, pins) in [(0, &first), (1, &first), (2, &second)] {
            assert_eq!(pins.iter().filter(|pin| kept[at].opens(pin)).count(), 1);
        }
        assert!(!second.iter().any(|pin| kept[0].opens(pin)), "one head, another salt");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(data.join(PINS_FILE)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let most = (0..17).map(|n| head(n + 1)).collect();
        assert_eq!(pin(data, most).unwrap().len(), 2 * ROUND);
        assert!(pin(data, vec![head(1); limits::GROUP_PINS + 1]).is_err());
        std::fs::write(data.join(PINS_FILE), b"no openings").unwrap();
        assert!(load(data).is_err());
        assert!(pin(data, vec![head(1)]).is_err(), "what is damaged is not overwritten");
    }
}
