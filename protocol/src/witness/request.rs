//! The body of `add-checkpoint` and of its answers: C2SP tlog-witness.
//!
//! ```text
//! old SIZE
//! BASE64                        (one line per hash of the consistency proof)
//!
//! the checkpoint, verbatim
//! ```
//!
//! The answer is one or more cosignature lines or, with status 409, the size
//! that the witness has on record. **Invariant:** every accepted request has one
//! spelling. Deliberately absent: what a witness decides about it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Refusal;
use crate::checkpoint::{
    CheckpointError, Origin, UnverifiedCheckpoint, VerifiedCheckpoint, decimal, decode_hash,
};
use crate::id::Hash;
use crate::key::PublicKey;
use crate::limits;
use crate::note::{NoteError, SignatureLine};

/// Why bytes are no request, or no answer to one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// Larger than [`limits::ADD_CHECKPOINT_BYTES`] or with more than
    /// [`limits::ADD_CHECKPOINT_HASHES`] hashes.
    #[error("the request is larger than the limit")]
    TooLarge,
    /// The first line is not `old` and a plain number.
    #[error("the request does not begin with the old size")]
    Old,
    /// A line that should be a hash is none.
    #[error("a hash of the proof is not valid")]
    Hash,
    /// No empty line, or not text.
    #[error("the lines before the checkpoint are malformed")]
    Lines,
    /// The checkpoint is malformed.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The answer is not one or more signature lines, each with its line feed.
    #[error("the answer is no list of signatures")]
    Answer,
}

impl From<RequestError> for Refusal {
    fn from(_: RequestError) -> Self {
        Self::Malformed
    }
}

/// A well-formed request of which nothing is known to be true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnverifiedRequest {
    old: u64,
    proof: Vec<Hash>,
    checkpoint: UnverifiedCheckpoint,
}

impl UnverifiedRequest {
    /// Takes the body of a request apart.
    ///
    /// # Errors
    /// The first violation of the format found.
    pub fn parse(body: &[u8]) -> Result<Self, RequestError> {
        if body.len() > limits::ADD_CHECKPOINT_BYTES {
            return Err(RequestError::TooLarge);
        }
        let text = core::str::from_utf8(body).map_err(|_| RequestError::Lines)?;
        let (lines, checkpoint) = text.split_once("\n\n").ok_or(RequestError::Lines)?;
        let mut lines = lines.split('\n');
        let old = lines.next().and_then(|line| line.strip_prefix("old "));
        let old = old.and_then(decimal).ok_or(RequestError::Old)?;
        let hashes = lines.take(limits::ADD_CHECKPOINT_HASHES + 1);
        let proof = hashes.map(|line| decode_hash(line).ok_or(RequestError::Hash));
        let proof = proof.collect::<Result<Vec<_>, _>>()?;
        if proof.len() > limits::ADD_CHECKPOINT_HASHES {
            return Err(RequestError::TooLarge);
        }
        let checkpoint = UnverifiedCheckpoint::parse(checkpoint.as_bytes())?;
        Ok(Self { old, proof, checkpoint })
    }

    /// The log it claims to be of, for finding the key.
    #[must_use]
    pub const fn claimed_origin(&self) -> &Origin {
        self.checkpoint.claimed_origin()
    }

    /// The body's bytes, as received.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        assemble(self.old, &self.proof, &self.checkpoint.to_bytes())
    }

    /// Verifies that the log signed under `key`; other lines are ignored and dropped.
    ///
    /// # Errors
    /// [`Refusal::Unsigned`].
    pub fn verify(self, key: &PublicKey) -> Result<VerifiedRequest, Refusal> {
        let head = self.checkpoint.verify(key).map_err(|_| Refusal::Unsigned)?;
        Ok(VerifiedRequest { old: self.old, proof: self.proof, head: head.attributed() })
    }
}

/// A request whose checkpoint the log signed; its proof is not checked yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedRequest {
    pub(super) old: u64,
    pub(super) proof: Vec<Hash>,
    pub(super) head: VerifiedCheckpoint,
}

impl VerifiedRequest {
    /// A request that did not come over HTTP: the log showed, by `proof`, that
    /// `head` continues its first `old` entries.
    #[must_use]
    pub const fn new(old: u64, proof: Vec<Hash>, head: VerifiedCheckpoint) -> Self {
        Self { old, proof, head }
    }

    /// The head that the witness is asked to cosign.
    #[must_use]
    pub const fn head(&self) -> &VerifiedCheckpoint {
        &self.head
    }
}

/// The body by which a log asks a witness that last saw `old` entries of it.
#[must_use]
pub fn encode_request(old: u64, proof: &[Hash], head: &VerifiedCheckpoint) -> Vec<u8> {
    assemble(old, proof, &head.to_bytes())
}

fn assemble(old: u64, proof: &[Hash], checkpoint: &[u8]) -> Vec<u8> {
    let hashes: String =
        proof.iter().map(|hash| format!("{}\n", STANDARD.encode(hash.as_bytes()))).collect();
    let mut body = format!("old {old}\n{hashes}\n").into_bytes();
    body.extend_from_slice(checkpoint);
    body
}

/// The lines of a witness's answer, not verified: see [`VerifiedCheckpoint::add`].
///
/// # Errors
/// [`RequestError::TooLarge`] or [`RequestError::Answer`].
pub fn parse_cosignatures(body: &[u8]) -> Result<Vec<SignatureLine>, RequestError> {
    if body.len() > limits::NOTE_BYTES {
        return Err(RequestError::TooLarge);
    }
    let text = core::str::from_utf8(body).map_err(|_| RequestError::Answer)?;
    let lines = text.strip_suffix('\n').ok_or(RequestError::Answer)?.split('\n');
    let lines = lines.take(limits::NOTE_SIGNATURES + 1).map(str::parse);
    let lines: Result<Vec<_>, NoteError> = lines.collect();
    let lines = lines.map_err(|_| RequestError::Answer)?;
    if lines.len() > limits::NOTE_SIGNATURES { Err(RequestError::TooLarge) } else { Ok(lines) }
}

/// The size that an answer of status 409 names: what the witness saw last.
#[must_use]
pub fn parse_recorded(body: &[u8]) -> Option<u64> {
    decimal(core::str::from_utf8(body).ok()?.strip_suffix('\n')?)
}

#[cfg(test)]
mod tests {
    use super::super::tests::log_key;
    use super::*;
    use crate::checkpoint::{Checkpoint, sign, witness_key};
    use crate::id::AuthorityId;
    use crate::key::SecretKey;
    use crate::log::leaf_hash;
    use crate::time::UnixTime;
    use proptest::prelude::*;

    fn head() -> VerifiedCheckpoint {
        let origin = "clay.example/log".parse().unwrap();
        sign(&Checkpoint::new(origin, 9, leaf_hash(b"root")).unwrap(), &log_key()).unwrap()
    }

    fn proof(len: usize) -> Vec<Hash> {
        (0..len).map(|i| leaf_hash(&i.to_be_bytes())).collect()
    }

    #[test]
    fn the_example_of_the_specification_is_read() {
        // tlog-witness, "Example request body", with the signatures as printed there.
        let body = "old 20852014\n\
            PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n\
            jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=\n\
            5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=\n\
            /6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=\n\
            \n\
            example.com/behind-the-sofa\n\
            20852163\n\
            CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\
            \n\
            \u{2014} example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n";
        let request = UnverifiedRequest::parse(body.as_bytes()).unwrap();
        assert_eq!(request.old, 20_852_014);
        assert_eq!(request.proof.len(), 4);
        assert_eq!(request.claimed_origin().as_str(), "example.com/behind-the-sofa");
        assert_eq!(request.to_bytes(), body.as_bytes());
        assert_eq!(request.verify(&log_key().public()), Err(Refusal::Unsigned));
    }

    #[test]
    fn a_request_round_trips_and_needs_the_logs_own_signature() {
        let body = encode_request(4, &proof(3), &head());
        let request = || UnverifiedRequest::parse(&body).unwrap();
        assert_eq!(request().to_bytes(), body);
        let verified = request().verify(&log_key().public()).unwrap();
        assert_eq!(verified, VerifiedRequest::new(4, proof(3), head()));
        let stranger = SecretKey::from_seed([9; 32]).public();
        assert_eq!(request().verify(&stranger), Err(Refusal::Unsigned));
    }

    #[test]
    fn malformed_requests_are_refused_one_by_one() {
        let note = String::from_utf8(head().to_bytes()).unwrap();
        let hash = STANDARD.encode(leaf_hash(b"x").as_bytes());
        let cases = [
            (String::new(), RequestError::Lines),
            ("old 4\n".to_owned(), RequestError::Lines),
            (format!("old 4\n{note}"), RequestError::Hash),
            (format!("old 04\n\n{note}"), RequestError::Old),
            (format!("old +4\n\n{note}"), RequestError::Old),
            (format!("old  4\n\n{note}"), RequestError::Old),
            (format!("old 4 \n\n{note}"), RequestError::Old),
            (format!("old 4\r\n\n{note}"), RequestError::Old),
            (format!("Old 4\n\n{note}"), RequestError::Old),
            (format!("old -1\n\n{note}"), RequestError::Old),
            (format!("old 18446744073709551616\n\n{note}"), RequestError::Old),
            (format!("\nold 4\n\n{note}"), RequestError::Old),
            (format!("old 4\n{}\n\n{note}", hash.trim_end_matches('=')), RequestError::Hash),
            (format!("old 4\n{hash} \n\n{note}"), RequestError::Hash),
            (format!("old 4\n{}\n\n{note}", &hash[4..]), RequestError::Hash),
            (format!("old 4\n{hash}\n\n"), RequestError::Checkpoint(NoteError::Structure.into())),
        ];
        for (body, error) in cases {
            assert_eq!(UnverifiedRequest::parse(body.as_bytes()), Err(error), "{body:?}");
        }
        assert_eq!(UnverifiedRequest::parse(b"old 4\n\xff\n\n"), Err(RequestError::Lines));
        assert_eq!(Refusal::from(RequestError::Old), Refusal::Malformed);
    }

    #[test]
    fn limits_hold_before_anything_is_read() {
        let most = encode_request(1, &proof(63), &head());
        assert!(UnverifiedRequest::parse(&most).is_ok());
        let more = encode_request(1, &proof(64), &head());
        assert_eq!(UnverifiedRequest::parse(&more), Err(RequestError::TooLarge));
        let huge = vec![b'\n'; limits::ADD_CHECKPOINT_BYTES + 1];
        assert_eq!(UnverifiedRequest::parse(&huge), Err(RequestError::TooLarge));
    }

    #[test]
    fn an_answer_is_lines_that_fit_the_head() {
        let (mut head, key) = (head(), SecretKey::from_seed([2; 32]));
        let network = "made-up".parse().unwrap();
        let witness = witness_key(&network, &AuthorityId::from_bytes([6; 32]), key.public());
        let line = head.cosign(witness.name(), &key, UnixTime::from_seconds(7)).unwrap();
        let lines = parse_cosignatures(format!("{line}\n{line}\n").as_bytes()).unwrap();
        assert_eq!(lines, [line.clone(), line.clone()]);
        assert!(head.add(lines[0].clone(), &witness).is_ok());
        for bad in [String::new(), "\n".to_owned(), line.to_string(), format!("{line}\n\n")] {
            assert_eq!(parse_cosignatures(bad.as_bytes()), Err(RequestError::Answer), "{bad:?}");
        }
        let many = format!("{line}\n").repeat(limits::NOTE_SIGNATURES + 1);
        assert_eq!(parse_cosignatures(many.as_bytes()), Err(RequestError::TooLarge));
    }

    #[test]
    fn a_recorded_size_is_a_plain_number_and_a_line_feed() {
        assert_eq!(parse_recorded(b"20852163\n"), Some(20_852_163));
        assert_eq!(parse_recorded(b"0\n"), Some(0));
        for bad in [&b"20852163"[..], b"007\n", b"\n", b"-1\n", b"7\n\n", b"7\r\n", b""] {
            assert_eq!(parse_recorded(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_read_to_the_same_bytes_or_not_at_all(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            cut in any::<prop::sample::Index>(),
            with in any::<u8>(),
        ) {
            if let Ok(request) = UnverifiedRequest::parse(&bytes) {
                prop_assert_eq!(request.to_bytes(), bytes);
            }
            let mut body = encode_request(4, &proof(3), &head());
            let at = cut.index(body.len());
            body[at] = with;
            if let Ok(request) = UnverifiedRequest::parse(&body) {
                prop_assert_eq!(request.to_bytes(), body);
            }
        }
    }
}
