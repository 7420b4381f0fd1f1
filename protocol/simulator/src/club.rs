//! What people do about a private group: found it, invite, join, leave, remove, open
//! epochs, share. Each does it by what its own node knows.
//!
//! **Invariant:** secrets of epochs are with those who can open them only.
//! Deliberately absent: when anything is done, which scenarios decide.

use std::collections::BTreeMap;
use std::sync::Arc;

use tallystick_protocol::body::Salt;
use tallystick_protocol::entry::Entry;
use tallystick_protocol::group::epoch::{EpochOpening, Keyring};
use tallystick_protocol::group::operation::{Invite, Join, Terms};
use tallystick_protocol::group::seal::{SealingSecret, Suite};
use tallystick_protocol::group::{
    Continuation, ControlEntry, EntryRef, Grant, History, LogEnd, Membership, Operation, Role,
    group_id, origin,
};
use tallystick_protocol::id::{AuthorityId, EpochId, GroupId, LogId, Space};
use tallystick_protocol::identity::SealingKey;
use tallystick_protocol::key::SecretKey;
use tallystick_protocol::sync::Input;
use tallystick_protocol::time::UnixTime;

use crate::authority::network;
use crate::disk::Write;
use crate::world::World;

/// The time that all say it is when they do something.
pub const NOW: UnixTime = UnixTime::from_seconds(1_790_000_000);

/// A group, and what its people have at hand.
pub struct Club {
    /// Its id.
    pub group: GroupId,
    /// Invitations under way, by guest: the one-time key and who is to be found there.
    letters: BTreeMap<usize, (SecretKey, Vec<AuthorityId>)>,
    /// Who invited those who have joined: their drivers say so again at every start.
    hosts: BTreeMap<usize, Vec<AuthorityId>>,
    rings: BTreeMap<usize, Keyring>,
    /// Counts what must not be used twice.
    used: u64,
}

impl Club {
    /// A group that node `founder` may create.
    #[must_use]
    pub fn new(world: &World, founder: usize, random: [u8; 32]) -> Self {
        let group = group_id(&network(), &world.nodes[founder].who.authority(), &random);
        let (letters, hosts, rings) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { group, letters, hosts, rings, used: 0 }
    }

    /// Its founder creates it.
    pub fn found(&mut self, world: &mut World, founder: usize, random: [u8; 32]) {
        let terms = Terms {
            random,
            name: "Wychwood purchasing".to_owned(),
            history: History::All,
            text: "What is shared here stays here.".to_owned(),
            least: 3,
            kinds: Vec::new(),
            continuation: Continuation::Majority,
        };
        self.say(world, founder, &Operation::Create(Box::new(terms)));
    }

    /// The log of a node's authority in the group.
    #[must_use]
    pub fn log(&self, world: &World, node: usize) -> LogId {
        LogId { space: Space::Group(self.group), ..world.nodes[node].who.log() }
    }

    /// Who is in the group, as a running node sees it.
    #[must_use]
    pub fn membership(&self, world: &World, node: usize) -> Option<Arc<Membership>> {
        world.nodes[node].machine.as_ref()?.group(&self.group).cloned()
    }

    /// What a running node's authority is in the group, as it sees it.
    #[must_use]
    pub fn role(&self, world: &World, node: usize) -> Option<Role> {
        self.membership(world, node)?.role(&world.nodes[node].who.authority())
    }

    /// A control entry that has seen all that the node knows. Gives its place, if
    /// nothing that is handed to the disk before it fails.
    pub fn say(&mut self, world: &mut World, node: usize, operation: &Operation) -> EntryRef {
        let known = self.membership(world, node);
        let seen = known.map(|known| known.heads().to_vec()).unwrap_or_default();
        self.say_after(world, node, &seen, operation)
    }

    /// A control entry that names these as seen.
    ///
    /// # Panics
    /// If it breaks a bound.
    pub fn say_after(
        &mut self,
        world: &mut World,
        node: usize,
        seen: &[EntryRef],
        operation: &Operation,
    ) -> EntryRef {
        let salt = Salt::from_random(self.random(node));
        let entry = ControlEntry::write(&self.group, seen, operation, NOW, &salt).unwrap();
        let log = self.log(world, node);
        let disk = &world.nodes[node].disk;
        let waiting = disk.pending.iter().map(|write| match write {
            Write::Append(_, append) if append.log == log => append.entries.len() as u64,
            _ => 0,
        });
        let index = disk.logs.get(&log).map_or(0, |log| log.size()) + waiting.sum::<u64>();
        let place = ControlEntry::read(&log, index, &entry).unwrap().place();
        world.author_in(node, Space::Group(self.group), vec![entry]);
        place
    }

    /// 32 bytes that nobody else has.
    fn random(&mut self, node: usize) -> [u8; 32] {
        self.used += 1;
        let mut random = *self.group.as_bytes();
        random[..8].copy_from_slice(&self.used.to_be_bytes());
        random[8..16].copy_from_slice(&(node as u64).to_be_bytes());
        random
    }

    /// `host` invites a guest, which gets its letter by mail.
    pub fn invite(&mut self, world: &mut World, host: usize, guest: usize, role: Role) {
        let Some(known) = self.membership(world, host) else { return };
        let key = SecretKey::from_seed(self.random(guest));
        let invite = Invite {
            key: key.public(),
            grant: Grant::of(role),
            authority: Some(world.nodes[guest].who.authority()),
            expires: UnixTime::from_seconds(NOW.as_seconds() + 1000),
        };
        self.say(world, host, &Operation::Invite(Box::new(invite)));
        self.letters.insert(guest, (key, known.members().keys().copied().collect()));
    }

    /// A letter gets into the hands of somebody else, too.
    pub fn steal(&mut self, of: usize, thief: usize) {
        let letter = self.letters[&of].clone();
        self.letters.insert(thief, letter);
    }

    /// A guest joins with its letter, if `host` knows of the invitation.
    pub fn join(&mut self, world: &mut World, host: usize, guest: usize) -> bool {
        let Some(known) = self.membership(world, host) else { return false };
        let Some((key, hosts)) = self.letters.get(&guest).cloned() else { return false };
        let mut invitations = known.invitations().iter();
        let fits = invitations.find(|(_, state)| state.invite.key == key.public() && state.stands);
        let (Some((place, _)), Some(terms)) = (fits, known.terms()) else { return false };
        let author = world.nodes[guest].who.authority();
        let join = Join::new(&self.group, *place, &key, terms.hash(), &author);
        self.hosts.insert(guest, hosts);
        self.remind(world, guest);
        self.say_after(world, guest, &[*place], &Operation::Join(Box::new(join)));
        self.letters.remove(&guest);
        true
    }

    /// A node is told who invited it, as at every start.
    pub fn remind(&self, world: &mut World, node: usize) {
        if let Some(hosts) = self.hosts.get(&node).cloned() {
            world.give(node, Input::Invited { group: self.group, hosts });
        }
    }

    /// Where the log of an authority ends, as far as `node` has it.
    fn end(&self, world: &World, node: usize, of: usize) -> LogEnd {
        let log = self.log(world, of);
        let size = world.nodes[node].disk.logs.get(&log).map_or(0, |log| log.size());
        LogEnd { generation: log.generation, size }
    }

    /// `by` removes somebody.
    pub fn remove(&mut self, world: &mut World, by: usize, whom: usize) {
        let (authority, end) = (world.nodes[whom].who.authority(), self.end(world, by, whom));
        self.say(world, by, &Operation::Remove { authority, end });
    }

    /// `by` gives somebody a role.
    pub fn assign(&mut self, world: &mut World, by: usize, whom: usize, role: Role) {
        let (authority, end) = (world.nodes[whom].who.authority(), self.end(world, by, whom));
        self.say(world, by, &Operation::Assign { authority, grant: Grant::of(role), end });
    }

    /// A node acknowledges what it is to, as its driver does at once.
    pub fn acknowledge(&mut self, world: &mut World, node: usize) -> bool {
        let Some(known) = self.membership(world, node) else { return false };
        let due = !known.to_acknowledge(&world.nodes[node].who.authority()).is_empty();
        if due {
            self.say(world, node, &Operation::Acknowledge);
        }
        due
    }

    /// Opens an epoch for all whom the node knows to be members, if one is needed.
    ///
    /// # Panics
    /// If a member has no key.
    pub fn renew(&mut self, world: &mut World, node: usize) -> bool {
        let Some(known) = self.membership(world, node) else { return false };
        let author = world.nodes[node].who.authority();
        let keys = sealing_keys(&known);
        let ring = self.unlock(world, node);
        // One whose secret was given to nobody, or to others only, is of no use either.
        let current = known.current_epoch(NOW).map(|epoch| epoch.id());
        let shut = current.is_some_and(|id| ring.secret(&id).is_none());
        let needed = shut || known.epoch_needed(NOW, &keys).is_some();
        let needed = needed && !known.is_behind(&author);
        if known.role(&author) < Some(Role::Member) || !needed {
            return false;
        }
        let random = self.random(node);
        let ring = self.unlock(world, node);
        let opened = known.open_epoch(&network(), &author, NOW, &keys, ring, random);
        let (opening, _) = opened.unwrap();
        self.say(world, node, &Operation::Epoch(Arc::new(opening)));
        true
    }

    /// An opening of old is said once more, by whoever has it.
    pub fn replay(&mut self, world: &mut World, node: usize, opening: &Arc<EpochOpening>) {
        self.say(world, node, &Operation::Epoch(Arc::clone(opening)));
    }

    /// What a node's people can read, after they have opened what they can.
    pub fn unlock(&mut self, world: &World, node: usize) -> &Keyring {
        let known = self.membership(world, node);
        let ring = self.rings.entry(node).or_default();
        if let Some(known) = known {
            let me = world.nodes[node].who.authority();
            let _complaints = ring.unlock(&network(), &known, &me, &[sealing_secret(&me)]);
        }
        ring
    }

    /// Shares records, sealed to the members. Says whether there was an epoch to do it under.
    ///
    /// # Panics
    /// If they cannot be sealed.
    pub fn share(&mut self, world: &mut World, node: usize, count: usize) -> bool {
        let me = world.nodes[node].who.authority();
        let known = self.membership(world, node).filter(|known| !known.is_behind(&me));
        let current = known.and_then(|known| known.current_epoch(NOW).map(|epoch| epoch.id()));
        let group = self.group;
        let key = current.and_then(|id| self.unlock(world, node).body_key(&network(), &group, &id));
        let Some(key) = key else { return false };
        let origin = origin(&network(), &self.log(world, node)).unwrap();
        let mut entries = Vec::new();
        for _ in 0..count {
            let plain = world.entry(60);
            let mut header = plain.header().clone();
            header.epoch = Some(key.epoch());
            let plain = Entry::author(header, plain.body().unwrap().clone()).unwrap();
            let mut nonce = [0; 24];
            nonce.copy_from_slice(&self.random(node)[..24]);
            let sealed = key.seal(&origin, &plain, nonce).unwrap();
            entries.push(plain.sealed(sealed));
        }
        world.author_in(node, Space::Group(self.group), entries);
        true
    }

    /// Whether a node's people can read what was sealed under an epoch.
    pub fn reads(&mut self, world: &World, node: usize, epoch: &EpochId) -> bool {
        self.unlock(world, node).secret(epoch).is_some()
    }
}

/// The sealing key of an authority, which its identity does not name in this world.
fn sealing_secret(of: &AuthorityId) -> SealingSecret {
    SealingSecret::from_seed(Suite::X25519, *of.as_bytes())
}

fn sealing_keys(known: &Membership) -> BTreeMap<AuthorityId, SealingKey> {
    let key = |who: &AuthorityId| (*who, sealing_secret(who).public().unwrap());
    known.members().keys().map(key).collect()
}
