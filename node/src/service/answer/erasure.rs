//! What is asked and told about erasures. See [`super`] for the rules of these types.

use serde::{Deserialize, Serialize};
use tallystick_protocol::id::Space;

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
}
