//! What the service is asked and what it answers, as JSON says it.
//!
//! Both ends of the loopback API use these types, so they cannot disagree. Keys
//! are camelCase; those that scripts rely on stand in the command line contract
//! (section 8 of the design). Deliberately absent: anything secret.

mod disclosure;
mod erasure;
mod extract;
mod group;
mod note;
mod response;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use tallystick_protocol::id::{AuthorityId, Hash, NodeId};
use tallystick_protocol::record::part::Organisation;

pub use self::disclosure::{ExemptionView, HeldPortion, HeldState, HeldView};
pub use self::erasure::{
    AlsoErased, Countersign, Countersignature, Erase, Erased, ErasureView, Erasures, Hold,
    HoldView, HolderAnswer, Holds, LinkedErase,
};
pub use self::extract::ExtractView;
pub use self::group::{
    Accept, AudienceView, Audiences, Belonging, ChangeMember, ContinueGroup, CreateGroup,
    GroupChange, GroupMembers, GroupView, Groups, HistoryName, InvitationView, Invite, Invited,
    MAJORITY, MemberView, NOBODY, NameGroup, RoleName, Seller,
};
pub use self::note::{
    DraftNote, NameNote, NoteReply, NoteState, NoteView, Notes, SendNote, ShareNote,
};
pub use self::response::ResponseView;
use crate::acquaintance::{Attribution, Related};

/// Most rows in one batch of an import.
pub const BATCH_ROWS: usize = 1000;

/// Who this node is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Whoami {
    /// Its authority.
    pub authority: AuthorityId,
    /// The authority's name.
    pub name: String,
    /// The internet domain it claims.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// The network.
    pub network: String,
    /// To be read out over the telephone.
    pub fingerprint: String,
    /// Its partner card, on one line.
    pub card: String,
    /// Until when others can be made partners by that card, in Unix seconds.
    pub valid_until: u64,
    /// The node's libp2p id.
    pub peer: String,
    /// The addresses on the card.
    pub addresses: Vec<String>,
    /// Who has taken over from it, by its identity chain.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub succeeded_by: Vec<Related>,
    /// From whom it has taken over, by their identity chains, as far as a running node knows them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub succeeds: Vec<Related>,
    /// The key of its public log, as verifiers of signed notes want it (C2SP `vkey`).
    pub log_key: String,
    /// The key of its cosignatures, likewise.
    pub witness_key: String,
}

/// One log, for showing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogView {
    /// Whose it is.
    pub authority: AuthorityId,
    /// That authority's name, if its identity is known.
    pub name: Option<String>,
    /// How that name is known.
    #[serde(flatten)]
    pub known: Option<Attribution>,
    /// `public`, or a group's id.
    pub space: String,
    /// The name of that group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Its generation.
    pub generation: u32,
    /// Durable entries.
    pub size: u64,
    /// Root of the newest signed head.
    pub root: Option<Hash>,
    /// How it stands.
    pub state: LogState,
    /// Entries under the newest signed head.
    pub signed: u64,
    /// The size some partner has, if it is more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind: Option<u64>,
    /// Who cosigned that head.
    #[serde(default)]
    pub witnessed: Witnessed,
    /// What was set aside of it, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub branches: Vec<BranchView>,
}

/// Who, of the witnesses that an author names, has cosigned the newest head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Witnessed {
    /// How many have.
    pub cosigned: usize,
    /// How many are named.
    pub witnesses: usize,
    /// How many confirm a record.
    pub quorum: u32,
}

impl Witnessed {
    /// In words: *published* or *confirmed by 4 of 6 witnesses*; nothing where none are named.
    #[must_use]
    pub fn words(&self) -> Option<String> {
        let Self { cosigned, witnesses, quorum } = *self;
        let confirmed = cosigned > 0 && cosigned >= quorum as usize;
        let how = if confirmed { "confirmed" } else { "published, cosigned" };
        (witnesses > 0).then(|| format!("{how} by {cosigned} of {witnesses} witnesses"))
    }
}

/// What was set aside of a log because its author's controllers disowned it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BranchView {
    /// Tells it from the log's other branches.
    pub number: u32,
    /// Its entries.
    pub size: u64,
    /// How many of them, from its end, are not in the log.
    pub disowned: u64,
}

/// How a log stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LogState {
    /// As far as anybody connected has it.
    Current,
    /// A partner has more of it.
    Behind,
    /// It has entries that no signed head covers yet.
    Unsigned,
    /// A partner has more of it than the quota; only its head is kept.
    OverQuota,
    /// Its author signed two histories.
    Disputed,
    /// Its author's controllers closed it, and a new generation took its place.
    Closed,
}

impl LogState {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Behind => "behind",
            Self::Unsigned => "not yet signed",
            Self::OverQuota => "over quota: heads only",
            Self::Disputed => "DISPUTED",
            Self::Closed => "closed",
        }
    }
}

/// One connected node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerView {
    /// Its node key.
    pub node: NodeId,
    /// The authority it works for, if known.
    pub authority: Option<AuthorityId>,
    /// That authority's name.
    pub name: Option<String>,
    /// How that name is known.
    #[serde(flatten)]
    pub known: Option<Attribution>,
    /// Whether both sides have greeted each other.
    pub greeted: bool,
    /// Whether it has told us all its news.
    #[serde(default)]
    pub heard: bool,
    /// Bytes sent to it on the sync stream since that was opened.
    #[serde(default)]
    pub sent: u64,
    /// Bytes received from it.
    #[serde(default)]
    pub received: u64,
}

/// A node that has misbehaved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RefusedView {
    /// Its node key.
    pub node: NodeId,
    /// The authority it works for, if known.
    pub authority: Option<AuthorityId>,
    /// That authority's name.
    pub name: Option<String>,
    /// How that name is known.
    #[serde(flatten)]
    pub known: Option<Attribution>,
    /// Points against it; at 100 it is refused, and they fade by ten a minute.
    pub score: u64,
    /// Its faults since the node was started.
    pub faults: u64,
    /// The last of them: a stable label.
    pub reason: String,
    /// The same in plain English.
    pub explanation: String,
    /// When it is let back, in Unix seconds, if it is refused now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
}

/// A witness outside the network (`witness_urls` in `tally.toml`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutsideWitnessView {
    /// The name of its key.
    pub name: String,
    /// Its address.
    pub url: String,
    /// Entries under the newest head that it cosigned since the node was started.
    pub cosigned: Option<u64>,
    /// Why it did not cosign when it was asked last, if so.
    pub failure: Option<String>,
}

/// How a node is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Its authority.
    pub authority: AuthorityId,
    /// The authority's name.
    pub name: String,
    /// The network.
    pub network: String,
    /// Where it waits for other nodes.
    pub listen: Vec<String>,
    /// All logs.
    pub logs: Vec<LogView>,
    /// Connected nodes.
    pub peers: Vec<PeerView>,
    /// How many partners it has, connected or not.
    pub partners: usize,
    /// How many nodes would like to be partners.
    pub requests: usize,
    /// Witnesses outside the network that are asked to cosign this authority's log.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outside_witnesses: Vec<OutsideWitnessView>,
    /// Nodes that have misbehaved, until it is forgiven.
    #[serde(default)]
    pub refused: Vec<RefusedView>,
    /// What was refused since the start, by label.
    pub refusals: BTreeMap<String, u64>,
    /// Records and references that can be found.
    pub searchable: u64,
    /// Entries that cannot be found yet.
    pub index_lag: u64,
    /// Versions of records in groups that are not to be read here, or not yet.
    #[serde(default)]
    pub held_back: u64,
    /// Epochs of groups that do not open for this node by their authors' fault.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub epoch_faults: Vec<EpochFaultView>,
    /// Why nothing can be signed now, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub obstacle: Option<String>,
    /// What somebody has to do about this node, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
    /// Why the search index is not kept up to date, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index_failure: Option<String>,
}

/// A partner, or a node that would like to be one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PartnerView {
    /// The authority.
    pub authority: AuthorityId,
    /// Its name, a claim.
    pub name: String,
    /// How that name is known.
    #[serde(flatten)]
    pub known: Attribution,
    /// Its identifiers in public registers, claims.
    #[serde(default)]
    pub organisation_ids: Vec<String>,
    /// Its internet domain, a claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// What was found out about that domain, if it has been asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain_proof: Option<DomainView>,
    /// How many partners of this node endorse these claims publicly.
    #[serde(default)]
    pub endorsements: usize,
    /// To be compared over the telephone.
    pub fingerprint: String,
    /// The node on the card.
    pub node: NodeId,
    /// Where it says it can be reached.
    pub addresses: Vec<String>,
    /// Whether it is connected now.
    pub connected: bool,
    /// Why the card of a node that would like to be a partner is of no use, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out_of_date: Option<String>,
    /// Authorities whose names may be taken for its name; looked for when it is
    /// added, and while it would like to be a partner.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lookalikes: Vec<LookalikeView>,
    /// What is odd about its names and identifiers, one sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub oddities: Vec<String>,
}

/// What was found out about the domain that an authority claims.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainView {
    /// When it was asked last, in Unix seconds.
    pub checked: u64,
    /// When it named the authority last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proven: Option<u64>,
    /// Why it did not when it was asked last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// What a domain said when it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DomainChecked {
    /// Who claims it.
    pub authority: AuthorityId,
    /// Its name.
    pub name: String,
    /// How that name is known now.
    #[serde(flatten)]
    pub known: Attribution,
    /// The domain.
    pub domain: String,
    /// Whether it names the authority.
    pub proven: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// What to do about that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// An authority whose name may be taken for that of another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LookalikeView {
    /// Who it is.
    pub authority: AuthorityId,
    /// Its name that is alike.
    pub name: String,
    /// How its name is known.
    #[serde(flatten)]
    pub known: Attribution,
    /// How the other name is like it, as a part of a sentence: `is the same as`.
    pub resemblance: String,
}

/// Partners and requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partners {
    /// Accepted partners.
    pub partners: Vec<PartnerView>,
    /// Nodes that would like to be partners.
    pub requests: Vec<PartnerView>,
}

/// What adding or removing a partner did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PartnerChange {
    /// Who it concerns.
    pub partner: PartnerView,
    /// Whether anything changed.
    pub changed: bool,
}

/// A partner card to be added.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AddPartner {
    /// The card, in any of its forms.
    pub card: String,
}

/// A partner by its id or the beginning of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NamePartner {
    /// The id, perhaps shortened, or the exact name.
    pub authority: String,
}

/// A partner to be endorsed, or not any more.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Endorse {
    /// The id, perhaps shortened, or the exact name.
    pub authority: String,
    /// Take the endorsement back.
    #[serde(default)]
    pub withdraw: bool,
    /// Only say what would be said.
    #[serde(default)]
    pub preview: bool,
    /// [`Endorsed::digest`] of the preview, so that nothing else is endorsed.
    #[serde(default)]
    pub digest: Option<Hash>,
}

/// What is or would be endorsed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Endorsed {
    /// Whom it is about.
    pub authority: AuthorityId,
    /// The name that is endorsed.
    pub name: String,
    /// The identifiers that are endorsed.
    pub organisation_ids: Vec<String>,
    /// The domain that is endorsed.
    pub domain: Option<String>,
    /// Over all of that.
    pub digest: Hash,
    /// Whether it is endorsed then.
    pub endorsed: bool,
    /// Whether that is or would be a change.
    pub changed: bool,
    /// The entry that says so, if one was written.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Whether a signed head covers that entry yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<bool>,
}

/// Evidence of authorities that signed two histories, as it is numbered now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceList {
    /// In order of authority, kind and place in the authority's life.
    pub evidence: Vec<EvidenceView>,
}

/// One piece of evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EvidenceView {
    /// Its number in the list, from 1.
    pub number: usize,
    /// Whom it is about.
    pub authority: AuthorityId,
    /// That authority's name, if its identity is known.
    pub name: Option<String>,
    /// How that name is known.
    #[serde(flatten)]
    pub known: Option<Attribution>,
    /// Its kind: `fork`, `identityConflict` or `identitySuperseded`.
    pub evidence: String,
    /// Of a fork: the generation of the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u32>,
    /// Of two identities: the position of the first event that differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<u32>,
    /// What it means now.
    pub state: EvidenceState,
    /// When this node first had it, in Unix seconds, if that was written down.
    pub found: Option<u64>,
    /// SHA-256 of its bytes.
    pub digest: Hash,
}

/// What evidence means now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EvidenceState {
    /// Something is in dispute.
    Disputed,
    /// The authority's controllers have ended the dispute since; it is history.
    Ended,
    /// One of two identities counts, so nothing is in dispute.
    Settled,
    /// The identity chain that is known here does not say.
    Open,
}

/// What a witness policy is made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyView {
    /// Whose log it is about.
    pub authority: AuthorityId,
    /// Its name.
    pub name: Option<String>,
    /// How that name is known.
    #[serde(flatten)]
    pub known: Option<Attribution>,
    /// The key of its log (C2SP `vkey`).
    pub log: String,
    /// The keys of the logs before it that were closed, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub closed_logs: Vec<String>,
    /// The witnesses that it names.
    pub witnesses: Vec<PolicyWitness>,
    /// How many of them confirm.
    pub quorum: u32,
}

/// A witness that an authority names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyWitness {
    /// Who it is.
    pub authority: AuthorityId,
    /// Its name, if its identity is known.
    pub name: Option<String>,
    /// How that name is known.
    #[serde(flatten)]
    pub known: Option<Attribution>,
    /// Its key (C2SP `vkey`), if its identity is known.
    pub key: Option<String>,
}

/// Who may see what is published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Audience {
    /// Anyone.
    Public,
    /// The members of a group, by its id or its name while that is unique.
    Group(String),
}

/// A document to be published.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Publish {
    /// Name of its kind.
    pub kind: String,
    /// The document in record form.
    pub document: Value,
    /// Who may see it.
    pub audience: Audience,
    /// The record this is a new version of; a new record if absent.
    #[serde(default, rename = "ref")]
    pub reference: Option<String>,
    /// Until when its values are to be kept, `YYYY-MM-DD` (the last day) or a date-time:
    /// then every holder deletes them.
    #[serde(default, rename = "retainUntil", skip_serializing_if = "Option::is_none")]
    pub retain_until: Option<String>,
    /// Why a performance note does not wait for the supplier's reply, if so.
    #[serde(default, rename = "withoutReply")]
    pub without_reply: Option<String>,
    /// The confidential record of this authority of which it is an extract, if so.
    #[serde(default, rename = "extractOf")]
    pub extract_of: Option<String>,
}

/// An epoch whose author sealed us something of no use, or another secret than to others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EpochFaultView {
    /// What the group is called.
    pub group: String,
    /// Who opened the epoch.
    pub authority: AuthorityId,
    /// What is wrong.
    pub why: String,
}

/// What was published or withdrawn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// Full reference with version.
    #[serde(rename = "ref")]
    pub reference: String,
    /// What is odd but allowed.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Whether a signed head covers it yet.
    pub signed: bool,
    /// Who sees it.
    pub audience: AudienceView,
}

/// A record to be withdrawn.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Withdraw {
    /// Its reference, perhaps shortened.
    #[serde(rename = "ref")]
    pub reference: String,
}

/// Rows of a file to be imported.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ImportBatch {
    /// The rows, at most [`BATCH_ROWS`].
    pub rows: Vec<ImportRow>,
    /// Who may see this authority's own.
    pub audience: Audience,
    /// Only say what would happen.
    #[serde(default)]
    pub preview: bool,
    /// What is written beside references: the name of the file.
    #[serde(default)]
    pub note: String,
}

/// One row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ImportRow {
    /// Its number in the file.
    pub number: u64,
    /// The records it gives.
    pub drafts: Vec<ImportDraft>,
}

/// One record of a row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ImportDraft {
    /// Name of its kind.
    pub kind: String,
    /// The document in record form, as text: it is read once, as what it is.
    pub document: Box<RawValue>,
    /// All buyers the row names.
    pub buyers: Vec<Organisation>,
    /// What was left out or changed in reading.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// What became of the rows of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// Row by row.
    pub rows: Vec<ImportedRow>,
    /// Whether a signed head covers all of it.
    pub signed: bool,
}

/// What became of one row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportedRow {
    /// Its number in the file.
    pub number: u64,
    /// What became of each of its records.
    pub outcomes: Vec<ImportOutcome>,
}

/// What became of one record of a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "outcome", content = "reason")]
pub enum ImportOutcome {
    /// It is new, and this authority's own.
    Stored,
    /// It replaced an earlier version.
    Changed,
    /// It said nothing new.
    Unchanged,
    /// It is another buyer's, kept for context.
    Reference,
    /// It was not kept, and why.
    Refused(String),
}

/// How a column is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CellForm {
    /// As it is.
    Text,
    /// `YYYY-MM-DD`.
    Day,
    /// `1234.50 GBP`.
    Money,
}

/// One column of a kind's list, for one record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// Heading of the column.
    pub heading: String,
    /// What the record says.
    pub value: String,
    /// How it is written.
    pub form: CellForm,
}

/// A record or reference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    /// Full reference with version, or the address of a reference.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Name of its kind.
    pub kind: String,
    /// What a screen calls such a record.
    pub kind_title: String,
    /// Its title.
    pub title: String,
    /// Who says it; nobody for a reference.
    pub authority: Option<AuthorityId>,
    /// That authority's name.
    pub authority_name: Option<String>,
    /// How that name is known.
    #[serde(flatten)]
    pub known: Option<Attribution>,
    /// Who may see it: `public`, or the id of a group.
    pub space: String,
    /// The name of that group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// How it stands.
    pub state: ShownState,
    /// When it was issued or imported, in seconds since 1970.
    pub issued: u64,
    /// The last day on which it may be shown or used, as the document says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// Whether nobody may use it in evaluating tenders.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub not_for_tender_evaluation: bool,
    /// When its values are to be deleted, in seconds since 1970, as its header says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retain_until: Option<u64>,
    /// Who cosigned the newest head of its log, if that covers it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub witnessed: Option<Witnessed>,
    /// Whether its author signed two histories of the log it stands in.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disputed: bool,
    /// Whether it is an extract of a record that fewer may see.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_extract: bool,
    /// That record, if it can be read here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extract_of: Option<ExtractView>,
    /// Its own extract, for more people to see.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extracts: Vec<ExtractView>,
    /// The predecessor's contract from which this one goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continues: Option<Continuation>,
    /// Successors' contracts that say they go on from this one, confirmed ones first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub continued_by: Vec<Continuation>,
    /// What others say to it, the newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub responses: Vec<ResponseView>,
    /// The kind's columns.
    pub columns: Vec<Cell>,
    /// Everything it says.
    pub document: Value,
    /// Names of fields that are withheld here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub withheld: Vec<String>,
    /// What of it is erased.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub erasures: Vec<ErasureView>,
    /// What was remarked on when it was imported.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// All versions, the oldest first, if they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<Vec<HistoryView>>,
}

/// How a contract goes on with a successor, told at one end of it: the other end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Continuation {
    /// The record at the other end.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Its title, if it is here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Who says that one.
    pub authority: AuthorityId,
    /// That authority's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority_name: Option<String>,
    /// How that name is known.
    #[serde(flatten)]
    pub known: Option<Attribution>,
    /// `transferred`, `hosted` or `novated`.
    pub kind: String,
    /// From which day on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
    /// When the supplier agreed to a novation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supplier_agreement_date: Option<String>,
    /// Whether the predecessor's identity names the successor. If not, it is a claim.
    pub confirmed: bool,
}

/// How a shown record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ShownState {
    /// The newest version, and its author stands by it.
    Current,
    /// An earlier version.
    Earlier,
    /// Its author no longer stands by it.
    Withdrawn,
    /// Its author has had its values deleted.
    Erased,
    /// A public notice kept for context: nobody on the network vouches for it.
    Reference,
}

/// One version of a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryView {
    /// Where it stands.
    pub version: String,
    /// `put`, `withdraw` or `erase`.
    pub action: String,
    /// When, in seconds since 1970; the author's claim.
    pub issued: u64,
    /// Fields that differ from the version before.
    pub changed: Vec<String>,
}
