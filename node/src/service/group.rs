//! Private groups at the desk: creating, inviting, joining, removing.
//!
//! A member manages a group by control entries in its own log of the group's
//! space; who is a member, the machine merges from them. What a person asks for
//! is checked here first, so that nothing is written that would not count.
//!
//! - here: what convenors and members say, and who is who;
//! - [`accepted`]: invitations that were accepted and not answered yet;
//! - [`sharing`]: audiences, and sealing for them; [`selling`]: who in them also sells;
//! - [`upkeep`]: what members do for a group without being asked.
//!
//! **Invariants:** whatever is written is written under the desk's lock, with the
//! newest heads that are known as seen; a removal is followed by a new epoch in
//! the same command. Deliberately absent: the merge and its rules, which are the
//! protocol's, and any list of members of our own.

pub(super) mod accepted;
mod invitation;
mod selling;
pub(super) mod sharing;
pub(super) mod upkeep;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tallystick_protocol::body::Salt;
use tallystick_protocol::entry::{Entry, Header};
use tallystick_protocol::group::membership::Refusal;
use tallystick_protocol::group::operation::Terms;
use tallystick_protocol::group::{
    Continuation, ControlEntry, EntryRef, Grant, LogEnd, Membership, Operation, Role, group_id,
};
use tallystick_protocol::id::{AuthorityId, GroupId, Hash, LogId, Space};
use tallystick_protocol::identity::{Identity, SealingKey};
use tallystick_protocol::record::Kind;
use tallystick_protocol::time::UnixTime;

use super::answer::{Belonging, GroupChange, GroupMembers, GroupView, Groups, MemberView};
use super::names::names;
use super::partners::{is_meant, only};
use super::{Desk, answer, blocking, failed_store, now};
use crate::author::random_salt;
use crate::failure::Failure;

/// Fewest characters of an id that mean a group.
const ID_CHARACTERS: usize = 6;

impl Desk {
    /// Begins a group of which this authority is the first convenor; returns
    /// once that and its first epoch are durable.
    ///
    /// # Errors
    /// A [`Failure`] if name or terms are too long, or the node cannot write now.
    pub async fn create_group(&self, create: answer::CreateGroup) -> Result<GroupChange, Failure> {
        let random = random_salt().map_err(Failure::internal)?;
        let name = create.name.trim().to_owned();
        let terms = Terms {
            random,
            name: name.clone(),
            history: create.history.into(),
            text: create.terms,
            least: create.least,
            kinds: kinds(&create.kinds)?,
            continuation: self.continuation(&create.continuation).await?,
        };
        let group = group_id(&self.0.config.network, &self.authority(), &random);
        let operation = Operation::Create(Box::new(terms));
        let _writing = self.0.writing.lock().await;
        let create = control_entry(&group, &[], &operation).map_err(|error| {
            Failure::usage(error.error, "choose a shorter name or shorter terms and try again")
        })?;
        let log = self.log_in(Space::Group(group));
        let first = ControlEntry::read(&log, 0, &create).map_err(Failure::internal)?;
        let alone = Membership::merge(&self.0.config.network, &group, [&first]);
        let alone = Arc::new(alone.map_err(Failure::internal)?);
        let epoch = self.epoch_entry(&alone).await?;
        self.write_in(Space::Group(group), vec![create, epoch]).await?;
        self.learn_groups(Some(BTreeSet::from([group]))).await?;
        let (authority, authority_name) = (None, None);
        Ok(GroupChange { group, name, authority, authority_name, new_epoch: true, leads: None })
    }

    /// The groups that are known here, and those that were accepted.
    ///
    /// # Errors
    /// A [`Failure`] if the clock is wrong.
    pub async fn groups(&self) -> Result<Groups, Failure> {
        let (now, me) = (now()?, self.authority());
        let accepted = self.0.accepted.lock().await.names();
        let mut groups = BTreeMap::new();
        for membership in self.0.handle.groups().await {
            let group = membership.group();
            let role = membership.role(&me).filter(|_| membership.is_member(&me, now));
            let name = membership.terms().map(|terms| terms.name.clone());
            let name = name.or_else(|| accepted.get(&group).cloned()).unwrap_or_default();
            let state = match role {
                Some(_) => Belonging::Member,
                None if accepted.contains_key(&group) => Belonging::Joining,
                None => Belonging::Departed,
            };
            let (role, members) = (role.map(Into::into), membership.members_at(now).count());
            groups.insert(group, GroupView { group, name, state, role, members });
        }
        Ok(Groups { groups: groups.into_values().collect() })
    }

    /// Who is in a group, since when, as what and by which terms.
    ///
    /// # Errors
    /// A [`Failure`] if the text means no group, or several.
    pub async fn group_members(&self, name: &str) -> Result<GroupMembers, Failure> {
        let (membership, now) = (self.group_named(name).await?, now()?);
        let terms = membership.terms().ok_or_else(not_here_yet)?;
        let met = self.acquaintances().await;
        let known = names(met, membership.members().keys().copied().collect()).await?;
        let joined: Vec<_> =
            membership.members().iter().map(|(who, member)| (*who, member.joined)).collect();
        let replica = self.0.handle.replica();
        let space = Space::Group(membership.group());
        let since = move |(who, place): (AuthorityId, EntryRef)| {
            let generation = place.version.generation;
            let log = LogId { authority: place.authority, space, generation };
            let index = place.version.index;
            let headers = replica.headers(&log, index..index.saturating_add(1))?;
            let header = headers.first().and_then(|header| Header::decode(header).ok());
            Ok((who, header.map(|header| header.issued.as_seconds())))
        };
        let since = blocking(move || joined.into_iter().map(since).collect::<Result<_, _>>());
        let since: BTreeMap<AuthorityId, Option<u64>> = since.await?.map_err(failed_store)?;
        let member = |who: &AuthorityId| {
            let member = membership.members().get(who)?;
            let known = known.get(who);
            Some(MemberView {
                authority: *who,
                name: known.map(|known| known.name.clone()),
                known: known.map(|known| known.attribution.clone()),
                role: member.grant.role().into(),
                since: since.get(who).copied().flatten(),
                until: member.grant.until().map(UnixTime::as_seconds),
                terms: member.terms,
            })
        };
        let invitations = membership.invitations().values();
        Ok(GroupMembers {
            group: membership.group(),
            name: terms.name.clone(),
            history: terms.history.into(),
            continuation: continuation_name(&terms.continuation),
            least: terms.least,
            terms: terms.text.clone(),
            kinds: terms.kinds.iter().map(ToString::to_string).collect(),
            readers: membership.current_epoch(now).map(|epoch| epoch.opening.copies().len()),
            open_invitations: invitations.filter(|invitation| invitation.is_open(now)).count(),
            members: membership.members().keys().filter_map(member).collect(),
        })
    }

    /// Removes a member, or gives it another role. If it may do less than before, what
    /// is shared is under a new secret from the same command on.
    ///
    /// # Errors
    /// A [`Failure`] if this authority is no convenor, there is no such member,
    /// or the node cannot write now.
    pub async fn change_member(
        &self,
        change: answer::ChangeMember,
    ) -> Result<GroupChange, Failure> {
        let _writing = self.0.writing.lock().await;
        let membership = self.group_named(&change.group).await?;
        self.require(&membership, Role::Convenor)?;
        let (who, name) = self.member_named(&membership, &change.authority).await?;
        let end = self.log_end(&membership, &who).await?;
        let operation = match change.role {
            None if who == self.authority() => {
                return Err(Failure::usage("nobody removes itself", "use `tally group leave`"));
            }
            None => Operation::Remove { authority: who, end },
            Some(role) => {
                self.keep_a_convenor(&membership, &who, Some(role.into()))?;
                let grant = grant(role.into(), change.until)?;
                Operation::Assign { authority: who, grant, end }
            }
        };
        // Whoever may do less from now on chose no secret that is shared under.
        let before = membership.role(&who);
        let loses = change.role.is_none_or(|role| before.is_some_and(|had| Role::from(role) < had));
        self.say(&membership, operation).await?;
        let new_epoch = loses && self.renew_epoch(membership.group()).await;
        let mut told = changed(&membership, new_epoch);
        (told.authority, told.authority_name) = (Some(who), name);
        Ok(told)
    }

    /// Leaves a group. What was received stays.
    ///
    /// # Errors
    /// A [`Failure`] if this authority is no member, or the last convenor of others.
    pub async fn leave_group(&self, name: &str) -> Result<GroupChange, Failure> {
        let _writing = self.0.writing.lock().await;
        let membership = self.group_named(name).await?;
        self.require(&membership, Role::Observer)?;
        self.keep_a_convenor(&membership, &self.authority(), None)?;
        self.say(&membership, Operation::Leave).await?;
        Ok(changed(&membership, false))
    }

    /// How a group is to go on when its convenors are lost.
    async fn continuation(&self, text: &str) -> Result<Continuation, Failure> {
        match text {
            "" | answer::MAJORITY => Ok(Continuation::Majority),
            answer::NOBODY => Ok(Continuation::Nobody),
            deputy => {
                let identities = self.0.handle.identities().await;
                let meant = identities.iter().filter(|identity| is_meant(identity, deputy));
                let found = only(meant, deputy)?.ok_or_else(|| {
                    Failure::usage(
                        format!("nobody here is called {deputy:?}"),
                        "name a partner as deputy, or say majority or nobody",
                    )
                })?;
                Ok(Continuation::Deputy(found.authority()))
            }
        }
    }

    /// Has a member lead a group whose convenors are lost, as far as its rule allows: the
    /// deputy itself, or a member for whom more than half of the writing members say so.
    ///
    /// # Errors
    /// A [`Failure`] if this authority does not write in the group, there is no such
    /// member, the group's rule forbids it, or the node cannot write now.
    pub async fn continue_group(
        &self,
        change: answer::ContinueGroup,
    ) -> Result<GroupChange, Failure> {
        let _writing = self.0.writing.lock().await;
        let membership = self.group_named(&change.group).await?;
        self.require(&membership, Role::Member)?;
        let (who, name) = self.member_named(&membership, &change.authority).await?;
        if membership.role(&who) == Some(Role::Convenor) {
            return Err(Failure::usage(
                "this member is a convenor already",
                "it can manage the group: invite, remove and give roles",
            ));
        }
        self.say(&membership, Operation::Continue { authority: who }).await?;
        let now = self.0.handle.group(membership.group()).await;
        let leads = now.is_some_and(|now| now.role(&who) == Some(Role::Convenor));
        let mut told = changed(&membership, false);
        (told.authority, told.authority_name, told.leads) = (Some(who), name, Some(leads));
        Ok(told)
    }

    /// Opens a new epoch: what is shared from then on is under a new secret.
    ///
    /// # Errors
    /// A [`Failure`] if this authority only reads in the group, a member's sealing key
    /// is not known, or the node cannot write now.
    pub async fn rotate_group(&self, name: &str) -> Result<GroupChange, Failure> {
        let _writing = self.0.writing.lock().await;
        let membership = self.group_named(name).await?;
        self.require(&membership, Role::Member)?;
        self.open_epoch(&membership).await?;
        Ok(changed(&membership, true))
    }

    /// Refuses that the last convenor goes while others stay.
    fn keep_a_convenor(
        &self,
        membership: &Membership,
        who: &AuthorityId,
        role: Option<Role>,
    ) -> Result<(), Failure> {
        let last = membership.convenors().all(|convenor| convenor == who);
        if !last || role == Some(Role::Convenor) || membership.members().len() == 1 {
            return Ok(());
        }
        Err(Failure::usage(
            "the group would have nobody who manages it",
            "make another member convenor first, with `tally group role`",
        ))
    }

    /// Opens a new epoch, if all members' keys are known; whether it did. The
    /// caller holds the desk's lock.
    async fn renew_epoch(&self, group: GroupId) -> bool {
        let Some(membership) = self.0.handle.group(group).await else { return false };
        let opened = self.open_epoch(&membership).await;
        opened.inspect_err(|failure| tracing::warn!(%failure, "no new epoch was opened")).is_ok()
    }

    /// Opens an epoch for the members as they are. The caller holds the desk's lock.
    async fn open_epoch(&self, membership: &Arc<Membership>) -> Result<(), Failure> {
        let entry = self.epoch_entry(membership).await?;
        self.write_control(membership.group(), entry).await
    }

    /// The control entry that opens an epoch for the members as they are.
    async fn epoch_entry(&self, membership: &Arc<Membership>) -> Result<Entry, Failure> {
        self.refuse_behind(membership)?;
        let keys = self.sealing_keys(core::slice::from_ref(membership)).await;
        let now = now()?;
        let random = random_salt().map_err(Failure::internal)?;
        let (network, me) = (self.0.config.network.clone(), self.authority());
        let ring = self.0.opener.ring(&membership.group());
        let of = Arc::clone(membership);
        let opened = blocking(move || of.open_epoch(&network, &me, now, &keys, &ring, random));
        // Its secret comes onto the keyring by this authority's own copy.
        let (opening, _) = opened.await?.map_err(|error| {
            Failure::unavailable(error, "wait until that authority has been heard of, or remove it")
        })?;
        let operation = Operation::Epoch(Arc::new(opening));
        control_entry(&membership.group(), membership.heads(), &operation)
    }

    /// Refuses to write while something is not here that this node had seen, as after a
    /// crash: it might share with somebody whom it knew to be removed.
    pub(super) fn refuse_behind(&self, membership: &Membership) -> Result<(), Failure> {
        if membership.is_behind(&self.authority()) {
            return Err(Failure::unavailable(
                "this node had seen more of the group than it has now",
                "try again when another member is connected: what is missing comes from there",
            ));
        }
        Ok(())
    }

    /// Writes a control entry that has seen everything known here. The caller
    /// holds the desk's lock.
    async fn say(&self, membership: &Membership, operation: Operation) -> Result<(), Failure> {
        self.refuse_behind(membership)?;
        let entry = control_entry(&membership.group(), membership.heads(), &operation)?;
        self.write_control(membership.group(), entry).await
    }

    async fn write_control(&self, group: GroupId, entry: Entry) -> Result<(), Failure> {
        let authored = self.write_in(Space::Group(group), vec![entry.clone()]).await?;
        let control = ControlEntry::read(&authored.log, authored.start, &entry);
        let place = control.map_err(Failure::internal)?.place();
        let membership = self.learn_groups(Some(BTreeSet::from([group]))).await?.pop();
        match membership.and_then(|now| now.verdicts().get(&place).copied()) {
            Some(Err(Refusal::Waiting)) | Some(Ok(())) | None => Ok(()),
            Some(Err(refusal)) => Err(Failure::usage(
                format!("the other members will not count this: {refusal}"),
                "`tally group members` shows who is what now",
            )),
        }
    }

    /// Takes in who is in these groups, or in all, so that what can be read is read;
    /// gives that.
    async fn learn_groups(
        &self,
        among: Option<BTreeSet<GroupId>>,
    ) -> Result<Vec<Arc<Membership>>, Failure> {
        // One after the other, or what was asked for earlier could be learned later.
        let _learning = self.0.learning.lock().await;
        let groups = match among {
            Some(groups) => self.0.handle.groups_among(groups).await,
            None => self.0.handle.groups().await,
        };
        let opener = self.0.opener.clone();
        let learn = move || {
            let learned = groups.iter().fold(false, |any, group| opener.learn(group) | any);
            (groups, learned)
        };
        let (groups, learned) = blocking(learn).await?;
        if learned {
            self.0.projector.wake();
        }
        Ok(groups)
    }

    /// The group that is meant.
    pub(super) async fn group_named(&self, name: &str) -> Result<Arc<Membership>, Failure> {
        let all = self.0.handle.groups().await;
        let exact = all.iter().find(|group| group.group().to_string() == name);
        if let Some(exact) = exact {
            return Ok(Arc::clone(exact));
        }
        let mut found = all.iter().filter(|group| is_called(group, name));
        match (found.next(), found.next()) {
            (Some(one), None) => Ok(Arc::clone(one)),
            (None, _) => Err(Failure::usage(
                format!("this node is in no group called {name:?}"),
                "`tally group list` shows its groups",
            )),
            (Some(_), Some(_)) => Err(Failure::usage(
                format!("several groups may be meant by {name:?}"),
                "give the group's id; `tally group list` shows it",
            )),
        }
    }

    /// The member that is meant, and its name if that is known.
    async fn member_named(
        &self,
        membership: &Membership,
        name: &str,
    ) -> Result<(AuthorityId, Option<String>), Failure> {
        let identities = self.0.handle.identities().await;
        let members: Vec<&Identity> = identities
            .iter()
            .filter(|identity| membership.members().contains_key(&identity.authority()))
            .collect();
        let found = only(members.into_iter().filter(|member| is_meant(member, name)), name)?;
        let by_id = || name.parse().ok().filter(|id| membership.members().contains_key(id));
        let found = found.map(|one| (one.authority(), Some(one.profile().name.clone())));
        found.or_else(|| by_id().map(|id| (id, None))).ok_or_else(|| {
            Failure::usage(
                format!("no member of the group is called {name:?}"),
                "`tally group members GROUP` lists them",
            )
        })
    }

    /// Refuses who has less than this role now.
    pub(super) fn require(&self, membership: &Membership, role: Role) -> Result<(), Failure> {
        let me = self.authority();
        let held =
            membership.role(&me).filter(|_| now().is_ok_and(|t| membership.is_member(&me, t)));
        let wanted = answer::RoleName::from(role).word();
        match held {
            Some(held) if held >= role => Ok(()),
            Some(held) => Err(Failure::usage(
                format!(
                    "this takes the role of {wanted}, and this authority is {} of the group",
                    answer::RoleName::from(held).word()
                ),
                "ask a convenor; `tally group members GROUP` lists them",
            )),
            None => Err(Failure::usage(
                "this authority is no member of the group",
                "ask a convenor for an invitation and use `tally group join`",
            )),
        }
    }

    /// How far an authority's log in a group goes, as far as this node knows.
    async fn log_end(&self, membership: &Membership, who: &AuthorityId) -> Result<LogEnd, Failure> {
        let space = Space::Group(membership.group());
        let logs = self.node_status().await?.logs;
        let own = logs.iter().filter(|log| log.log.space == space && log.log.authority == *who);
        let end = own.map(|log| LogEnd { generation: log.log.generation, size: log.size }).max();
        Ok(end.unwrap_or(LogEnd { generation: 0, size: 0 }))
    }

    /// The keys to which secrets for the members of these groups are sealed.
    async fn sealing_keys(&self, groups: &[Arc<Membership>]) -> BTreeMap<AuthorityId, SealingKey> {
        let members = groups.iter().flat_map(|group| group.members().keys().copied());
        self.0.handle.sealing_keys(members.collect()).await
    }
}

/// The kinds with these names, each once and in order.
fn kinds(names: &[String]) -> Result<Vec<Kind>, Failure> {
    let found = names.iter().map(|name| super::kind(name.trim()));
    Ok(found.collect::<Result<BTreeSet<_>, _>>()?.into_iter().collect())
}

/// A role, and for observers its end.
/// The rule in commands and JSON: `nobody`, `majority`, or the deputy's id.
pub(super) fn continuation_name(continuation: &Continuation) -> String {
    match continuation {
        Continuation::Nobody => answer::NOBODY.to_owned(),
        Continuation::Majority => answer::MAJORITY.to_owned(),
        Continuation::Deputy(deputy) => deputy.to_string(),
    }
}

fn grant(role: Role, until: Option<u64>) -> Result<Grant, Failure> {
    match (role, until) {
        (role, None) => Ok(Grant::of(role)),
        (Role::Observer, Some(until)) => Ok(Grant::observer_until(UnixTime::from_seconds(until))),
        _ => Err(Failure::usage(
            "only an observer's time can have an end",
            "leave out --until, or give --role observer",
        )),
    }
}

fn control_entry(
    group: &GroupId,
    seen: &[EntryRef],
    operation: &Operation,
) -> Result<Entry, Failure> {
    let salt = Salt::from_random(random_salt().map_err(Failure::internal)?);
    ControlEntry::write(group, seen, operation, now()?, &salt).map_err(Failure::internal)
}

/// Whether an authority is a member and that is not older than the invitation
/// with this leaf hash: whoever is removed is not told, and takes itself for one.
fn has_joined(group: &Membership, who: &AuthorityId, invitation: &Hash) -> bool {
    group.members().contains_key(who)
        && group.verdicts().keys().any(|entry| entry.leaf == *invitation)
}

fn is_called(group: &Membership, name: &str) -> bool {
    let begins = name.len() >= ID_CHARACTERS && group.group().to_string().starts_with(name);
    begins || group.terms().is_some_and(|terms| terms.name == name)
}

fn changed(membership: &Membership, new_epoch: bool) -> GroupChange {
    let name = membership.terms().map(|terms| terms.name.clone()).unwrap_or_default();
    let (authority, authority_name) = (None, None);
    GroupChange {
        group: membership.group(),
        name,
        authority,
        authority_name,
        new_epoch,
        leads: None,
    }
}

fn not_here_yet() -> Failure {
    Failure::unavailable(
        "nothing of this group has arrived yet",
        "a member lets this authority in when it is connected; `tally group list` shows it",
    )
}
