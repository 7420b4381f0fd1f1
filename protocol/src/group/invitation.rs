//! Invitations: the note by which an authority comes into a group.
//!
//! An invitation is a signed note under a node key of the convenor's authority,
//! like a partner card. Its text has one fact per line, in this order:
//!
//! | line | what |
//! |---|---|
//! | `tallystick invitation v1 NETWORK` | type and network |
//! | `authority ID` | who invites |
//! | `group ID` | into which group |
//! | `entry GENERATION.INDEX LEAF` | the `invite` entry in the convenor's log |
//! | `key BASE64` | the seed of the one-time key that the entry names |
//! | `role ROLE` | `observer`, `member` or `convenor` |
//! | `until SECONDS` | end of an observer's time; may be absent |
//! | `for ID` | who alone may use it; may be absent |
//! | `issued SECONDS` | when it was made, a claim |
//! | `expires SECONDS` | last second in which to join |
//! | `terms BASE64` | the `create` operation: name, rules and text, to be read before joining |
//!
//! For people it is armoured as a card is, between [`BEGIN`] and [`END`], or on
//! one line. It is a secret: whoever holds it may join, once, unless it names
//! somebody. That it has been used up is for the merge to say: a join counts once
//! ([`super::membership`]).
//!
//! **Invariants:** an [`Invitation`] exists only if one of the node keys of
//! the authority it names made the only signature; the seed is wiped when
//! dropped and never printed. Deliberately absent: the convenor's identity, which
//! the reader has as its partner's; whether the entry exists and counts, which the
//! group's members know; clocks.

use core::fmt;
use core::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::operation::{ControlEntry, ControlError, EntryRef, Join, Operation, Terms};
use super::{Grant, Role};
use crate::armour;
use crate::card::key_name;
use crate::checkpoint::decimal;
use crate::id::{AuthorityId, GroupId, Hash, NetworkName, Version};
use crate::identity::Identity;
use crate::key::{PublicKey, SecretKey};
use crate::limits;
use crate::note::{Algorithm, NoteError, UnverifiedNote, VerifierKey, sign_note};
use crate::time::UnixTime;

/// First line of an armoured invitation.
pub const BEGIN: &str = "-----BEGIN TALLYSTICK INVITATION-----";
/// Last line of an armoured invitation.
pub const END: &str = "-----END TALLYSTICK INVITATION-----";
/// What the one-line form starts with.
const LINE_PREFIX: &str = "tallystick-invitation:";
const HEADING: &str = "tallystick invitation v1 ";

/// Why a text is no invitation, or none to use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvitationError {
    /// Larger than [`limits::INVITATION_TEXT_BYTES`].
    #[error("the invitation is larger than the limit")]
    TooLarge,
    /// No invitation between [`BEGIN`] and [`END`], and no one-line form.
    #[error("there is no invitation in the text")]
    Absent,
    /// Between the marks stands something that is not base64, or not all of it.
    #[error("the invitation is damaged or incomplete")]
    Armour,
    /// No signed note, or not signed by a node of the authority.
    #[error("the invitation is not a valid signed note: {0}")]
    Note(#[from] NoteError),
    /// A line is missing, malformed or out of place.
    #[error("the invitation has a malformed or missing line: {0}")]
    Line(&'static str),
    /// An invitation of another network.
    #[error("the invitation belongs to another network")]
    Network,
    /// The terms on it cannot be read.
    #[error("the terms of the group cannot be read: {0}")]
    Terms(ControlError),
    /// The identity is not that of the authority that invites: the caller's fault.
    #[error("the invitation is by another authority")]
    Authority,
    /// The key that should sign is none of the identity's node keys, or the
    /// one-time key is not the entry's: the caller's fault.
    #[error("the key does not belong to the invitation")]
    Key,
    /// It names somebody else.
    #[error("the invitation is for somebody else")]
    SomebodyElse,
    /// It is too late.
    #[error("the invitation has expired")]
    Expired,
}

/// What the text of an invitation says.
#[derive(Clone)]
struct Claims {
    authority: AuthorityId,
    group: GroupId,
    entry: EntryRef,
    one_time: SecretKey,
    grant: Grant,
    bound: Option<AuthorityId>,
    issued: UnixTime,
    expires: UnixTime,
    terms: Terms,
}

impl Claims {
    fn text(&self, network: &NetworkName) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(1024));
        let mut line = |label: &str, value: &dyn fmt::Display| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{label} {value}");
        };
        line(HEADING.trim_end(), network);
        line("authority", &self.authority);
        line("group", &self.group);
        line("entry", &format_args!("{} {}", self.entry.version, self.entry.leaf));
        let seed = self.one_time.to_seed();
        line("key", &Zeroizing::new(STANDARD.encode(*seed)).as_str());
        line("role", &role_name(self.grant.role()));
        if let Some(until) = self.grant.until() {
            line("until", &until.as_seconds());
        }
        if let Some(bound) = &self.bound {
            line("for", bound);
        }
        line("issued", &self.issued.as_seconds());
        line("expires", &self.expires.as_seconds());
        line("terms", &STANDARD.encode(self.terms.encode()));
        text
    }

    fn parse(text: &str, network: &NetworkName) -> Result<Self, InvitationError> {
        let mut lines = Lines::of(text);
        let heading = lines.rest.next().and_then(|line| line.strip_prefix(HEADING));
        if heading.ok_or(InvitationError::Line("heading"))? != network.as_str() {
            return Err(InvitationError::Network);
        }
        let authority = lines.must("authority", |id| id.parse().ok())?;
        let group = lines.must("group", |id| id.parse().ok())?;
        let (version, leaf) = lines.must("entry", entry)?;
        let one_time = lines.must("key", one_time)?;
        let role = lines.must("role", role_of)?;
        let until = lines.may("until", seconds)?;
        let bound = lines.may("for", |id| id.parse().ok())?;
        let issued = lines.must("issued", seconds)?;
        let expires = lines.must("expires", seconds)?;
        let terms = lines.must("terms", |encoded| STANDARD.decode(encoded).ok())?;
        if lines.rest.next().is_some() {
            return Err(InvitationError::Line("something unknown"));
        }
        let grant = match (role, until) {
            (role, None) => Grant::of(role),
            (Role::Observer, Some(until)) => Grant::observer_until(until),
            _ => return Err(InvitationError::Line("until")),
        };
        let terms = Terms::decode(&terms).map_err(InvitationError::Terms)?;
        let entry = EntryRef { authority, version, leaf };
        Ok(Self { authority, group, entry, one_time, grant, bound, issued, expires, terms })
    }
}

/// Labelled lines, one after the other.
struct Lines<'a> {
    rest: core::iter::Peekable<core::str::Split<'a, char>>,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Self {
        Self { rest: text.strip_suffix('\n').unwrap_or(text).split('\n').peekable() }
    }

    fn may<T>(
        &mut self,
        label: &'static str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, InvitationError> {
        let line = self.rest.next_if(|line| line.split(' ').next() == Some(label));
        let Some(line) = line else { return Ok(None) };
        let value = line.get(label.len() + 1..).and_then(read);
        value.map(Some).ok_or(InvitationError::Line(label))
    }

    fn must<T>(
        &mut self,
        label: &'static str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<T, InvitationError> {
        self.may(label, read)?.ok_or(InvitationError::Line(label))
    }
}

fn entry(text: &str) -> Option<(Version, Hash)> {
    let (version, leaf) = text.split_once(' ')?;
    Some((version.parse().ok()?, leaf.parse().ok()?))
}

fn one_time(text: &str) -> Option<SecretKey> {
    let seed = Zeroizing::new(STANDARD.decode(text).ok()?);
    seed.as_slice().try_into().ok().map(SecretKey::from_seed)
}

fn seconds(text: &str) -> Option<UnixTime> {
    decimal(text).map(UnixTime::from_seconds)
}

const fn role_name(role: Role) -> &'static str {
    match role {
        Role::Observer => "observer",
        Role::Member => "member",
        Role::Convenor => "convenor",
    }
}

fn role_of(name: &str) -> Option<Role> {
    [Role::Observer, Role::Member, Role::Convenor].into_iter().find(|role| role_name(*role) == name)
}

/// An invitation as it came in. Only who is said to invite can be read, to find the identity.
pub struct UnverifiedInvitation {
    note: UnverifiedNote,
    claims: Claims,
    bytes: Zeroizing<Vec<u8>>,
}

impl UnverifiedInvitation {
    /// Finds the invitation in a text: armoured anywhere in it, or the one-line form.
    ///
    /// # Errors
    /// [`InvitationError::TooLarge`], [`InvitationError::Absent`],
    /// [`InvitationError::Armour`], [`InvitationError::Note`],
    /// [`InvitationError::Line`], [`InvitationError::Network`] or
    /// [`InvitationError::Terms`].
    pub fn parse(text: &str, network: &NetworkName) -> Result<Self, InvitationError> {
        if text.len() > limits::INVITATION_TEXT_BYTES {
            return Err(InvitationError::TooLarge);
        }
        let found = armour::find(text, BEGIN, END, LINE_PREFIX);
        let bytes = Zeroizing::new(found.map_err(|missing| match missing {
            armour::Missing::Absent => InvitationError::Absent,
            armour::Missing::Damaged => InvitationError::Armour,
        })?);
        let note = UnverifiedNote::parse(&bytes)?;
        let claims = Claims::parse(note.claimed_text(), network)?;
        Ok(Self { note, claims, bytes })
    }

    /// Whose invitation it says it is.
    #[must_use]
    pub const fn claimed_authority(&self) -> AuthorityId {
        self.claims.authority
    }

    /// Checks that a node of the authority that invites has signed it, and nobody else.
    ///
    /// # Errors
    /// [`InvitationError::Authority`], [`InvitationError::Network`] or
    /// [`InvitationError::Note`].
    pub fn verify(self, identity: &Identity) -> Result<Invitation, InvitationError> {
        if identity.authority() != self.claims.authority {
            return Err(InvitationError::Authority);
        }
        let network = identity.network();
        if !self.note.claimed_text().starts_with(&format!("{HEADING}{network}\n")) {
            return Err(InvitationError::Network);
        }
        let name = key_name(network, &self.claims.authority)?;
        let verifier = |key: &PublicKey| VerifierKey::new(name.clone(), Algorithm::Ed25519, *key);
        let keys: Vec<_> = identity.node_keys().iter().map(verifier).collect();
        let note = self.note.verify_attributed(&keys)?;
        let ([_], [_]) = (note.signers(), note.lines()) else {
            return Err(InvitationError::Line("one signature"));
        };
        Ok(Invitation { claims: self.claims, bytes: self.bytes })
    }
}

impl fmt::Debug for UnverifiedInvitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UnverifiedInvitation(..)")
    }
}

/// An invitation that its convenor's node has signed.
#[derive(Clone)]
pub struct Invitation {
    claims: Claims,
    bytes: Zeroizing<Vec<u8>>,
}

impl Invitation {
    /// Makes and signs the note for an `invite` entry of one's own.
    ///
    /// # Errors
    /// [`InvitationError::Authority`] for an entry of somebody else,
    /// [`InvitationError::Key`] for keys that are not the identity's and the
    /// entry's, or an entry that invites nobody; [`InvitationError::Note`].
    pub fn issue(
        identity: &Identity,
        node_key: &SecretKey,
        entry: &ControlEntry,
        one_time: &SecretKey,
        terms: &Terms,
        issued: UnixTime,
    ) -> Result<Self, InvitationError> {
        let authority = identity.authority();
        if entry.author() != authority {
            return Err(InvitationError::Authority);
        }
        let Operation::Invite(invite) = entry.operation() else {
            return Err(InvitationError::Key);
        };
        if !identity.node_keys().contains(&node_key.public()) || one_time.public() != invite.key {
            return Err(InvitationError::Key);
        }
        let claims = Claims {
            authority,
            group: entry.group(),
            entry: entry.place(),
            one_time: one_time.clone(),
            grant: invite.grant,
            bound: invite.authority,
            issued,
            expires: invite.expires,
            terms: terms.clone(),
        };
        let network = identity.network();
        let text = claims.text(network);
        let bytes = Zeroizing::new(sign_note(&text, &key_name(network, &authority)?, node_key)?);
        let note = UnverifiedNote::parse(&bytes)?;
        // What could not be read back must not be sent.
        Claims::parse(note.claimed_text(), network)?;
        UnverifiedInvitation { note, claims, bytes }.verify(identity)
    }

    /// Who invites.
    #[must_use]
    pub const fn authority(&self) -> AuthorityId {
        self.claims.authority
    }

    /// Into which group.
    #[must_use]
    pub const fn group(&self) -> GroupId {
        self.claims.group
    }

    /// The `invite` entry: all that the join has to have seen.
    #[must_use]
    pub const fn entry(&self) -> EntryRef {
        self.claims.entry
    }

    /// As what.
    #[must_use]
    pub const fn grant(&self) -> Grant {
        self.claims.grant
    }

    /// Who alone may use it.
    #[must_use]
    pub const fn bound(&self) -> Option<AuthorityId> {
        self.claims.bound
    }

    /// When it was made, a claim.
    #[must_use]
    pub const fn issued(&self) -> UnixTime {
        self.claims.issued
    }

    /// Last second in which to join.
    #[must_use]
    pub const fn expires(&self) -> UnixTime {
        self.claims.expires
    }

    /// What joining signs.
    #[must_use]
    pub const fn terms(&self) -> &Terms {
        &self.claims.terms
    }

    /// The operation by which `author` joins at `now`, for a control entry that
    /// has seen [`Invitation::entry`]. It signs the terms.
    ///
    /// # Errors
    /// [`InvitationError::SomebodyElse`] or [`InvitationError::Expired`].
    pub fn accept(
        &self,
        author: &AuthorityId,
        now: UnixTime,
    ) -> Result<Operation, InvitationError> {
        let Claims { group, entry, one_time, bound, expires, terms, .. } = &self.claims;
        if bound.is_some_and(|bound| bound != *author) {
            return Err(InvitationError::SomebodyElse);
        }
        if now > *expires {
            return Err(InvitationError::Expired);
        }
        let join = Join::new(group, *entry, one_time, terms.hash(), author);
        Ok(Operation::Join(Box::new(join)))
    }

    /// The invitation for a mail or a file, with a line feed at the end. A secret.
    #[must_use]
    pub fn to_armour(&self) -> String {
        armour::write(BEGIN, END, &self.bytes)
    }

    /// The invitation on one line, for JSON. A secret.
    #[must_use]
    pub fn to_line(&self) -> String {
        format!("{LINE_PREFIX}{}", STANDARD.encode(&self.bytes))
    }
}

impl fmt::Debug for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Invitation({}, {}, ..)", self.claims.group, self.claims.authority)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::group::operation::Invite;
    use crate::group::{Continuation, History};
    use crate::identity::UnverifiedChain;
    use crate::identity::tests::{event, secret};

    fn network() -> NetworkName {
        "test".parse().unwrap()
    }

    fn identity(n: u8) -> Identity {
        let signed = event(n).sign(&[(0, &secret(n))]).unwrap();
        UnverifiedChain::new(vec![signed]).verify(&network()).unwrap()
    }

    fn terms() -> Terms {
        Terms {
            random: [1; 32],
            name: "Seven boroughs".into(),
            history: History::All,
            text: "What is shared here stays here.".into(),
            least: 3,
            kinds: Vec::new(),
            continuation: Continuation::Nobody,
        }
    }

    fn invite(bound: Option<AuthorityId>, grant: Grant) -> Invite {
        let expires = UnixTime::from_seconds(2_000);
        Invite { key: secret(90).public(), grant, authority: bound, expires }
    }

    /// An invitation with this one-time key.
    pub(crate) fn invitation_with(one_time: &SecretKey) -> Invitation {
        let key = one_time.public();
        let invite = Invite { key, ..invite(None, Grant::of(Role::Member)) };
        issue_with(&invite, 14, one_time).unwrap()
    }

    fn issue(invite: &Invite, node: u8, one_time: u8) -> Result<Invitation, InvitationError> {
        issue_with(invite, node, &secret(one_time))
    }

    fn issue_with(
        invite: &Invite,
        node: u8,
        one_time: &SecretKey,
    ) -> Result<Invitation, InvitationError> {
        let identity = identity(10);
        let version = Version { generation: 0, index: 7 };
        let leaf = Hash::from_bytes([4; 32]);
        let issued = UnixTime::from_seconds(1_000);
        let entry = ControlEntry {
            group: GroupId::from_bytes([3; 32]),
            place: EntryRef { authority: identity.authority(), version, leaf },
            issued,
            seen: Vec::new(),
            operation: Operation::Invite(Box::new(invite.clone())),
        };
        Invitation::issue(&identity, &secret(node), &entry, one_time, &terms(), issued)
    }

    fn invitation() -> Invitation {
        issue(&invite(None, Grant::of(Role::Member)), 14, 90).unwrap()
    }

    fn read(text: &str) -> Result<Invitation, InvitationError> {
        UnverifiedInvitation::parse(text, &network())?.verify(&identity(10))
    }

    #[test]
    fn both_forms_are_read_back() {
        let until = UnixTime::from_seconds(9_000);
        let bound = Some(AuthorityId::from_bytes([8; 32]));
        for invite in [
            invite(None, Grant::of(Role::Member)),
            invite(bound, Grant::of(Role::Convenor)),
            invite(bound, Grant::observer_until(until)),
        ] {
            let made = issue(&invite, 14, 90).unwrap();
            for text in [made.to_armour(), made.to_line()] {
                let again = read(&text).unwrap();
                assert_eq!(again.bytes, made.bytes);
                assert_eq!((again.grant(), again.bound()), (invite.grant, invite.authority));
                assert_eq!((again.terms(), again.entry()), (&terms(), made.entry()));
                assert_eq!((again.group(), again.expires()), (made.group(), invite.expires));
            }
        }
        assert!(invitation().to_armour().lines().all(|line| line.len() <= 64));
    }

    #[test]
    fn what_mail_programs_do_to_a_text_does_not_hurt() {
        let armour = invitation().to_armour();
        let quoted: String = armour.lines().map(|line| format!("> > {line}  \r\n")).collect();
        let joined = armour.replace('\n', " ");
        for mail in [quoted, joined] {
            let mail = format!("Dear colleagues,\njoin us:\n\n{mail}\nKind regards\n");
            assert_eq!(read(&mail).unwrap().bytes, invitation().bytes, "{mail}");
        }
    }

    #[test]
    fn every_flipped_bit_of_the_note_is_refused() {
        let bytes = invitation().bytes;
        for at in 0..bytes.len() * 8 {
            let mut changed = bytes.to_vec();
            changed[at / 8] ^= 1 << (at % 8);
            let line = format!("{LINE_PREFIX}{}", STANDARD.encode(changed));
            assert!(read(&line).is_err(), "bit {at}");
        }
    }

    #[test]
    fn a_join_is_for_the_one_invited_and_in_time() {
        let friend = AuthorityId::from_bytes([8; 32]);
        let bound = issue(&invite(Some(friend), Grant::of(Role::Member)), 14, 90).unwrap();
        let at = UnixTime::from_seconds;
        let other = AuthorityId::from_bytes([9; 32]);
        assert_eq!(bound.accept(&other, at(1_500)), Err(InvitationError::SomebodyElse));
        assert_eq!(bound.accept(&friend, at(2_001)), Err(InvitationError::Expired));
        let Ok(Operation::Join(join)) = bound.accept(&friend, at(2_000)) else {
            panic!("in time");
        };
        assert_eq!((join.invitation, join.key), (bound.entry(), secret(90).public()));
        assert_eq!(join.terms, terms().hash());
        assert!(invitation().accept(&other, at(0)).is_ok());
    }

    #[test]
    fn only_a_node_of_the_convenor_signs_and_only_its_own_entry() {
        let good = invite(None, Grant::of(Role::Member));
        assert_eq!(issue(&good, 15, 90).unwrap_err(), InvitationError::Key);
        assert_eq!(issue(&good, 14, 91).unwrap_err(), InvitationError::Key);
        let made = UnverifiedInvitation::parse(&invitation().to_line(), &network()).unwrap();
        assert_eq!(made.claimed_authority(), identity(10).authority());
        assert_eq!(made.verify(&identity(20)).unwrap_err(), InvitationError::Authority);
        let other: NetworkName = "other".parse().unwrap();
        let elsewhere = UnverifiedInvitation::parse(&invitation().to_line(), &other);
        assert_eq!(elsewhere.unwrap_err(), InvitationError::Network);
    }

    #[test]
    fn signed_nonsense_is_refused() {
        let note = UnverifiedNote::parse(&invitation().bytes).unwrap();
        let text = note.claimed_text();
        let name = key_name(&network(), &identity(10).authority()).unwrap();
        let signed = |text: &str, key: u8| {
            let note = sign_note(text, &name, &secret(key)).unwrap();
            read(&format!("{LINE_PREFIX}{}", STANDARD.encode(note)))
        };
        assert!(signed(text, 14).is_ok());
        assert!(matches!(signed(text, 13), Err(InvitationError::Note(_))));
        for label in ["authority", "group", "entry", "key", "role", "issued", "expires", "terms"] {
            let without: String =
                text.lines().filter(|l| !l.starts_with(label)).map(|l| format!("{l}\n")).collect();
            assert!(matches!(signed(&without, 14), Err(InvitationError::Line(_))), "{label}");
        }
        for (from, to) in [
            ("role member", "role owner"),
            ("role member", "role member\nuntil 5"),
            ("entry 0.7", "entry 0.07"),
            ("expires 2000", "expires 02000"),
            ("expires 2000", "expires 2000\nextra 1"),
            ("key ", "key AA"),
        ] {
            assert!(signed(&text.replace(from, to), 14).is_err(), "{to}");
        }
        let terms = text.lines().last().unwrap();
        let broken = text.replace(terms, "terms AAAA");
        assert!(matches!(signed(&broken, 14), Err(InvitationError::Terms(_))));
        assert_eq!(read("nothing here").unwrap_err(), InvitationError::Absent);
        assert_eq!(read(&format!("{BEGIN}\nAAAA")).unwrap_err(), InvitationError::Armour);
        let huge = "x".repeat(limits::INVITATION_TEXT_BYTES + 1);
        assert_eq!(read(&huge).unwrap_err(), InvitationError::TooLarge);
    }

    #[test]
    fn the_one_time_key_is_never_printed() {
        let unverified = UnverifiedInvitation::parse(&invitation().to_line(), &network()).unwrap();
        let printed = format!("{:?} {:#?} {unverified:?}", invitation(), invitation());
        let seed = secret(90).to_seed();
        let hex: String = seed.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        let base64 = STANDARD.encode(*seed);
        assert!(!printed.contains(&hex) && !printed.contains(&base64[..8]), "{printed}");
    }
}
