//! What is asked and told about erasures. See [`super`] for the rules of these types.

use serde::{Deserialize, Serialize};
use tallystick_protocol::id::{AuthorityId, Space};

/// A record, or fields of one, to be erased.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Erase {
    /// Its reference, perhaps shortened.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The fields; none means all of them.
    #[serde(default)]
    pub fields: Vec<String>,
    /// A code; see [`Reason`](tallystick_protocol::erasure::Reason).
    pub reason: String,
    /// Signatures of controllers over [`Countersign::message`].
    #[serde(default)]
    pub countersignatures: Vec<Countersignature>,
    /// Leave alone what it is an extract of, and its extract.
    #[serde(default)]
    pub only: bool,
    /// Signatures for those.
    #[serde(default)]
    pub linked: Vec<LinkedErase>,
}

/// Controllers' signatures for a record that is erased with another.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LinkedErase {
    /// Its reference, as [`Countersign::also`] gives it.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Signatures over its own [`Countersign::message`].
    pub countersignatures: Vec<Countersignature>,
}

/// A record that is erased with another: its extract, or what it is an extract of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlsoErased {
    /// Its full reference.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The fields; none means all of them.
    #[serde(default)]
    pub fields: Vec<String>,
    /// Where it was said.
    pub space: Space,
}

/// A controller's signature that an erasure may be carried out at once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Countersignature {
    /// Its place in the list of controllers.
    pub controller: u32,
    /// The signature, in base64.
    pub signature: String,
}

/// What controllers sign to have an erasure carried out at once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Countersign {
    /// Full reference of the newest version that is covered.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Where the record was said.
    pub space: Space,
    /// The text to be signed.
    pub message: String,
    /// The controllers' public keys, in order.
    pub controllers: Vec<String>,
    /// How many must sign.
    pub threshold: u32,
    /// What is erased as well, unless [`Erase::only`] says otherwise.
    #[serde(default)]
    pub also: Vec<AlsoErased>,
}

/// What was erased.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Erased {
    /// Full reference of the entry that says so.
    #[serde(rename = "ref")]
    pub reference: String,
    /// When the values are deleted here and at partners, in seconds since 1970;
    /// counted anew once witnesses have cosigned.
    pub due: u64,
    /// Whether controllers countersigned it.
    pub countersigned: bool,
    /// Whether a signed head covers it yet.
    pub signed: bool,
    /// Full references of the entries that erase its extract, or what it is an extract of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
}

/// What has become of erasures.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Erasures {
    /// Each of them.
    pub erasures: Vec<ErasureView>,
}

/// One erasure, as far as it is known here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ErasureView {
    /// Full reference of the entry that says so.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The author's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority_name: Option<String>,
    /// The fields; none means all of them.
    #[serde(default)]
    pub fields: Vec<String>,
    /// A code; see [`Reason`](tallystick_protocol::erasure::Reason).
    pub reason: String,
    /// When it came here, in seconds since 1970.
    pub seen: u64,
    /// When it is carried out here.
    pub due: u64,
    /// Whether the author's controllers countersigned it.
    pub countersigned: bool,
    /// When it was carried out here.
    #[serde(default)]
    pub deleted: Option<u64>,
    /// Whether this node keeps its copy, hidden, under a legal hold.
    #[serde(default)]
    pub held: bool,
    /// What holders have answered.
    #[serde(default)]
    pub answers: Vec<HolderAnswer>,
}

/// What a holder says has become of an erasure at its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HolderAnswer {
    /// The holder.
    pub authority: AuthorityId,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority_name: Option<String>,
    /// `deleted` or `held`.
    pub outcome: String,
    /// The last day on which it is held, `YYYY-MM-DD`, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

/// A legal hold to be placed on a record, or released.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Hold {
    /// The record's reference, perhaps shortened.
    #[serde(rename = "ref")]
    pub reference: String,
    /// A code; see [`Reason`](crate::hold::Reason). Not used by a release.
    #[serde(default)]
    pub reason: String,
    /// The last day on which it holds, `YYYY-MM-DD`; without it until it is released.
    #[serde(default)]
    pub until: Option<String>,
    /// What is to be remembered of it.
    #[serde(default)]
    pub note: Option<String>,
    /// Whether it is released.
    #[serde(default)]
    pub release: bool,
}

/// Legal holds of this authority.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Holds {
    /// Each of them.
    pub holds: Vec<HoldView>,
}

/// One legal hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HoldView {
    /// Full reference of the record.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Its author's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority_name: Option<String>,
    /// The group in which it was said, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Its title, as far as it is kept here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// A code; see [`Reason`](crate::hold::Reason).
    pub reason: String,
    /// When it was placed, in seconds since 1970.
    pub since: u64,
    /// The last day on which it holds, `YYYY-MM-DD`, if there is one.
    #[serde(default)]
    pub until: Option<String>,
    /// What is to be remembered of it.
    #[serde(default)]
    pub note: Option<String>,
    /// `holds`, `lapsed` or `released`.
    pub state: String,
    /// Whether something of the record is erased, and kept here only because of the hold.
    pub hidden: bool,
}
