//! What is asked and answered about private groups.
//!
//! Deliberately absent: anything secret but invitations, which are there to be
//! handed on.

use serde::{Deserialize, Serialize};
use tallystick_protocol::group::{History, Role};
use tallystick_protocol::id::{AuthorityId, GroupId, Hash};

use crate::acquaintance::Attribution;

/// What a member may do, as scripts and screens call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "camelCase")]
pub enum RoleName {
    /// Reads.
    Observer,
    /// Reads and writes.
    Member,
    /// Reads, writes and manages.
    Convenor,
}

impl RoleName {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Observer => "observer",
            Self::Member => "member",
            Self::Convenor => "convenor",
        }
    }
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Observer => Self::Observer,
            RoleName::Member => Self::Member,
            RoleName::Convenor => Self::Convenor,
        }
    }
}

impl From<Role> for RoleName {
    fn from(role: Role) -> Self {
        match role {
            Role::Observer => Self::Observer,
            Role::Member => Self::Member,
            Role::Convenor => Self::Convenor,
        }
    }
}

/// What newcomers may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "camelCase")]
pub enum HistoryName {
    /// Everything.
    All,
    /// What is shared after they joined.
    FromJoin,
}

impl From<HistoryName> for History {
    fn from(name: HistoryName) -> Self {
        match name {
            HistoryName::All => Self::All,
            HistoryName::FromJoin => Self::FromJoin,
        }
    }
}

impl From<History> for HistoryName {
    fn from(history: History) -> Self {
        match history {
            History::All => Self::All,
            History::FromJoin => Self::FromJoin,
        }
    }
}

/// A group to be created.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateGroup {
    /// What people call it.
    pub name: String,
    /// What newcomers may read.
    pub history: HistoryName,
    /// What members agree to.
    #[serde(default)]
    pub terms: String,
    /// Fewest authorities that a statistic over its data must be drawn from.
    pub least: u32,
    /// Names of the kinds of record for which it is offered as audience.
    #[serde(default)]
    pub kinds: Vec<String>,
    /// Who may lead once its convenors are lost: [`MAJORITY`] (also if it is empty),
    /// [`NOBODY`], or a deputy: id, beginning of it, or exact name.
    #[serde(default)]
    pub continuation: String,
}

/// Whom more than half of the writing members name.
pub const MAJORITY: &str = "majority";
/// The group cannot be continued.
pub const NOBODY: &str = "nobody";

/// A member who is to lead a group without convenors.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ContinueGroup {
    /// Id, beginning of it, or exact name.
    pub group: String,
    /// Who: id, beginning of it, or exact name.
    pub authority: String,
}

/// A group, by its id or its name while that is unique.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NameGroup {
    /// Id, beginning of it, or exact name.
    pub group: String,
}

/// What became of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupChange {
    /// Which.
    pub group: GroupId,
    /// Its name.
    pub name: String,
    /// Whom it concerns, if one member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<AuthorityId>,
    /// That authority's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority_name: Option<String>,
    /// Whether what is shared from now on is under a new secret.
    pub new_epoch: bool,
    /// After a vote to continue: whether that member leads the group now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leads: Option<bool>,
}

/// How this node stands to a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Belonging {
    /// It is a member.
    Member,
    /// It has accepted an invitation, and no member has taken it in yet.
    Joining,
    /// It left or was removed.
    Departed,
}

/// One group, for a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupView {
    /// Which.
    pub group: GroupId,
    /// Its name; empty until it is known.
    pub name: String,
    /// How this node stands to it.
    pub state: Belonging,
    /// What this authority may do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleName>,
    /// How many members it has.
    pub members: usize,
}

/// All groups that are known here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Groups {
    /// In the order of their ids.
    pub groups: Vec<GroupView>,
}

/// Who is in a group, and by what rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupMembers {
    /// Which.
    pub group: GroupId,
    /// Its name.
    pub name: String,
    /// What newcomers may read.
    pub history: HistoryName,
    /// Fewest authorities that a statistic over its data must be drawn from.
    pub least: u32,
    /// Who may lead once its convenors are lost: [`MAJORITY`], [`NOBODY`] or a deputy's id.
    pub continuation: String,
    /// What members agreed to.
    pub terms: String,
    /// Names of the kinds of record for which it is offered as audience.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<String>,
    /// Invitations that somebody may still use.
    pub open_invitations: usize,
    /// How many have the secret under which is shared now; nothing while there is none
    /// that members alone have.
    pub readers: Option<usize>,
    /// The members, in the order of their ids.
    pub members: Vec<MemberView>,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberView {
    /// Who.
    pub authority: AuthorityId,
    /// Its name, if its identity is known.
    pub name: Option<String>,
    /// How that name is known.
    #[serde(flatten)]
    pub known: Option<Attribution>,
    /// What it may do.
    pub role: RoleName,
    /// When it joined, in Unix seconds: its claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    /// Until when it may read, in Unix seconds, if there is an end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
    /// Hash of the terms that it signed.
    pub terms: Hash,
}

/// Somebody to be invited.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Invite {
    /// Into which group.
    pub group: String,
    /// Who alone may use it: id, beginning of it, or exact name.
    #[serde(default)]
    pub authority: Option<String>,
    /// As what.
    pub role: RoleName,
    /// For how many days it can be used.
    pub expires_days: u16,
    /// Until when an observer may read, in Unix seconds.
    #[serde(default)]
    pub until: Option<u64>,
}

/// An invitation that was made: a secret, to be handed to whoever is to join.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Invited {
    /// Into which group.
    pub group: GroupId,
    /// Its name.
    pub name: String,
    /// The invitation on one line.
    pub invitation: String,
    /// The same for a mail.
    pub armoured: String,
    /// As what.
    pub role: RoleName,
    /// Who alone may use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<AuthorityId>,
    /// Last second in which to join, in Unix seconds.
    pub expires: u64,
}

/// An invitation to be read or accepted.
#[derive(Clone, Serialize, Deserialize)]
pub struct Accept {
    /// In any of its forms.
    pub invitation: String,
}

/// What an invitation says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InvitationView {
    /// Into which group.
    pub group: GroupId,
    /// Its name.
    pub name: String,
    /// Who invites.
    pub authority: AuthorityId,
    /// That authority's name.
    pub authority_name: Option<String>,
    /// How that name is known.
    #[serde(flatten)]
    pub known: Option<Attribution>,
    /// As what.
    pub role: RoleName,
    /// Until when an observer may read, in Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
    /// Last second in which to join, in Unix seconds.
    pub expires: u64,
    /// What newcomers may read.
    pub history: HistoryName,
    /// Fewest authorities that a statistic over its data must be drawn from.
    pub least: u32,
    /// Who may lead once its convenors are lost: [`MAJORITY`], [`NOBODY`] or a deputy's id.
    pub continuation: String,
    /// What joining agrees to.
    pub terms: String,
    /// Whether it was accepted with this command.
    pub accepted: bool,
}

/// A member and what it is to be.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChangeMember {
    /// In which group.
    pub group: String,
    /// Who: id, beginning of it, or exact name.
    pub authority: String,
    /// Its new role; absent to remove it.
    #[serde(default)]
    pub role: Option<RoleName>,
    /// Until when an observer may read, in Unix seconds.
    #[serde(default)]
    pub until: Option<u64>,
}

/// A member that also sells to the public sector, as far as this node can tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seller {
    /// Its place in [`AudienceView::authorities`].
    pub member: usize,
    /// Who it is.
    pub authority: AuthorityId,
    /// Contracts and notices on this node that name an identifier of it as a supplier.
    pub contracts: u64,
    /// Whether it is a centre: a buying organisation.
    pub centre: bool,
}

/// Who may see what is shared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AudienceView {
    /// `public`, or the id of a group.
    pub space: String,
    /// The group's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How many members it has, this authority among them; anyone if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<usize>,
    /// Their names, where known, else ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub authorities: Vec<String>,
    /// Those of them that also sell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sellers: Vec<Seller>,
    /// Members that were not looked up, because there are too many.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub not_looked_up: usize,
    /// Names of the kinds of record for which the group is offered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<String>,
}

/// How the serialiser wants to be told that there is nothing to be said.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
const fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl AudienceView {
    /// Anyone.
    #[must_use]
    pub fn public() -> Self {
        Self {
            space: "public".to_owned(),
            name: None,
            members: None,
            authorities: Vec::new(),
            sellers: Vec::new(),
            not_looked_up: 0,
            kinds: Vec::new(),
        }
    }
}

/// All groups into which this authority may share.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audiences {
    /// Each with its members.
    pub audiences: Vec<AudienceView>,
}
