//! Erasure at the desk: asking for it, and what has become of it.
//!
//! An erasure hides at once, because whatever is shown or served is read through
//! the list of erasures.
//!
//! - here: what people ask for and are told;
//! - [`carrying`]: carries out what is due;
//! - [`answering`]: tells authors what has become of their erasures here.
//!
//! **Invariant:** an erasure is acknowledged once it is durable. Deliberately absent:
//! legal holds, see [`super::holding`].

mod answering;
pub(super) mod carrying;

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tallystick_protocol::body::{Body, FieldName};
use tallystick_protocol::entry::{Action, Entry};
use tallystick_protocol::erasure::{Erasure, Reason, Scope, delayed, message};
use tallystick_protocol::id::{AuthorityId, RecordRef, Version};
use tallystick_protocol::identity::Identity;
use tallystick_protocol::time::UnixTime;

use super::fault::gone;
use super::record::Found;
use super::{Desk, answer, blocking, failed_author, failed_store, now};
use crate::acquaintance::Acquaintances;
use crate::author::{erase, random_salt};
use crate::driver::unix_time;
use crate::failure::Failure;
use crate::register::RecordKey;
use crate::store::StoreError;
use crate::store::erasure::{self, Standing};

/// The reason with a code.
///
/// # Errors
/// A [`Failure`] that lists the codes.
pub fn reason(code: &str) -> Result<Reason, Failure> {
    Reason::from_code(code).ok_or_else(|| {
        let codes: Vec<_> = Reason::ALL.iter().map(|reason| reason.code()).collect();
        Failure::usage(
            format!("{code:?} is no reason for an erasure"),
            format!("there are {}", codes.join(", ")),
        )
    })
}

/// The fields named, or all of them.
pub(super) fn scope(fields: &[String]) -> Result<Scope, Failure> {
    let names = fields.iter().map(|name| {
        FieldName::new(name).map_err(|_| {
            Failure::usage(
                format!("{name:?} is no name of a field"),
                "`tally show REF --json` shows the names, joined by dots",
            )
        })
    });
    let names = names.collect::<Result<BTreeSet<_>, _>>()?;
    Ok(if names.is_empty() { Scope::Whole } else { Scope::Fields(names) })
}

/// An erasure that is asked for.
struct Asked {
    found: Found,
    upto: Version,
    scope: Scope,
    reason: Reason,
}

impl Desk {
    /// What controllers sign to have a record erased at once.
    ///
    /// # Errors
    /// As [`Desk::erase`].
    pub async fn countersign_text(
        &self,
        asked: answer::Erase,
    ) -> Result<answer::Countersign, Failure> {
        let desk = self.clone();
        let (asked, also) = blocking(move || {
            desk.settle_register()?;
            let one = desk.asked(&asked)?;
            let also = desk.also_erased(&one, &asked)?;
            Ok::<_, Failure>((one, also))
        })
        .await??;
        let (identity, key) = (self.newest_identity().await?, asked.found.key);
        let (network, authority) = (&self.0.config.network, self.authority());
        let record = (key.record, asked.upto);
        let message = message(network, &authority, key.space, record, &asked.scope, asked.reason);
        let (record, version) = (key.record, Some(asked.upto));
        let controllers = identity.controllers();
        Ok(answer::Countersign {
            reference: RecordRef { authority, record, version }.to_string(),
            space: key.space,
            message: String::from_utf8(message).map_err(Failure::internal)?,
            controllers: controllers.keys.iter().map(ToString::to_string).collect(),
            threshold: controllers.threshold,
            also,
        })
    }

    /// Erases a record of this authority, or fields of it; returns once that is
    /// durable, and from then on nothing here shows or serves them.
    ///
    /// # Errors
    /// A [`Failure`] if there is no such record or field, it is not this
    /// authority's, a countersignature does not fit, or the node cannot write now.
    pub async fn erase(&self, wanted: answer::Erase) -> Result<answer::Erased, Failure> {
        let writing = self.0.writing.lock().await;
        let (desk, issued) = (self.clone(), now()?);
        let identity = self.newest_identity().await?;
        let countersigned = !wanted.countersignatures.is_empty();
        let (asked, entry, linked) = blocking(move || {
            desk.settle_register()?;
            let (asked, entry) = desk.erasure(&wanted, issued, &identity)?;
            let linked = desk.linked_erasures(&asked, &wanted, issued, &identity)?;
            Ok::<_, Failure>((asked, entry, linked))
        })
        .await??;
        // Before the record by which they are found: whoever is interrupted can repeat it.
        let mut also = Vec::new();
        for (other, entry) in linked {
            let authored = self.write_in(other.found.key.space, vec![entry]).await?;
            let version = Version { generation: authored.log.generation, index: authored.start };
            let (authority, record) = (self.authority(), other.found.key.record);
            also.push(RecordRef { authority, record, version: Some(version) }.to_string());
        }
        let authored = self.write_in(asked.found.key.space, vec![entry]).await?;
        let version = Version { generation: authored.log.generation, index: authored.start };
        drop(writing);
        let signed = self.is_signed(authored).await;
        let (authority, record) = (self.authority(), asked.found.key.record);
        let reference = RecordRef { authority, record, version: Some(version) }.to_string();
        let due = if countersigned { unix_time() } else { delayed(unix_time()) }.as_seconds();
        Ok(answer::Erased { reference, due, countersigned, signed, also })
    }

    /// What has become of all erasures, or those of one record, as far as this node knows.
    ///
    /// # Errors
    /// A [`Failure`] if the text means no record.
    pub async fn erasures(&self, text: Option<&str>) -> Result<answer::Erasures, Failure> {
        let met = self.acquaintances().await;
        let (desk, text) = (self.clone(), text.map(str::to_owned));
        blocking(move || {
            desk.settle_register()?;
            let replica = desk.0.handle.replica();
            let standing = match text {
                Some(text) => {
                    let key = desk.find(&text)?.key;
                    erasure::of_record(&*replica, &key.any_log(), &key.record)
                }
                None => erasure::all(&*replica),
            };
            let (now, mut erasures) = (unix_time(), Vec::new());
            for standing in standing.map_err(failed_store)? {
                if standing.erasure.is_in_force(now) {
                    erasures.push(desk.erasure_view(&met, &standing).map_err(failed_store)?);
                }
            }
            Ok(answer::Erasures { erasures })
        })
        .await?
    }

    /// What people see of an erasure. Blocks.
    pub(super) fn erasure_view(
        &self,
        met: &Acquaintances,
        standing: &Standing,
    ) -> Result<answer::ErasureView, StoreError> {
        let Standing { log, erasure, .. } = standing;
        let name = |who: &AuthorityId| met.known(who).map(|known| known.map(|known| known.name));
        let (authority, record) = (log.authority, erasure.record);
        let fields = match &erasure.scope {
            Scope::Whole => Vec::new(),
            Scope::Fields(names) => names.iter().map(ToString::to_string).collect(),
        };
        let mut answers = Vec::new();
        for (holder, (_, outcome)) in self.0.projector.register().answers(log, erasure)? {
            answers.push(answer::HolderAnswer {
                authority: holder,
                authority_name: name(&holder)?,
                outcome: outcome.code().to_owned(),
                until: outcome.until().map(|day| day.to_string()),
            });
        }
        let key = RecordKey { authority, space: log.space, record };
        let held = self.holds().at(unix_time()).contains_key(&key);
        Ok(answer::ErasureView {
            reference: RecordRef { authority, record, version: Some(erasure.at) }.to_string(),
            authority_name: name(&authority)?,
            fields,
            reason: erasure.reason.code().to_owned(),
            seen: standing.seen.as_seconds(),
            due: standing.due().as_seconds(),
            countersigned: standing.countersigned,
            deleted: standing.deleted.map(UnixTime::as_seconds),
            held: held && standing.deleted.is_none(),
            answers,
        })
    }

    /// The desk's own identity, as it is now.
    async fn newest_identity(&self) -> Result<Identity, Failure> {
        self.0.handle.identity(self.authority()).await.ok_or_else(gone)
    }

    /// The entry that is asked for. Blocks.
    fn erasure(
        &self,
        wanted: &answer::Erase,
        issued: UnixTime,
        identity: &Identity,
    ) -> Result<(Asked, Entry), Failure> {
        let countersignatures = countersignatures(&wanted.countersignatures)?;
        let asked = self.asked(wanted)?;
        let Asked { found, upto, scope, reason } = &asked;
        let record = (found.current.newest.kind, found.key.record, *upto);
        let salt = random_salt().map_err(Failure::internal)?;
        let entry = erase(record, *reason, scope, &countersignatures, issued, salt);
        let entry = entry.map_err(failed_author)?;
        if !countersignatures.is_empty() && !is_countersigned(&asked, &entry, identity) {
            return Err(Failure::usage(
                "these signatures are not those of enough controllers, or of another erasure",
                "`tally key show` says whose signatures are needed; name their files with --with",
            ));
        }
        Ok((asked, entry))
    }

    /// The entries that erase its extract, or what it is an extract of. Blocks.
    fn linked_erasures(
        &self,
        asked: &Asked,
        wanted: &answer::Erase,
        issued: UnixTime,
        identity: &Identity,
    ) -> Result<Vec<(Asked, Entry)>, Failure> {
        let also = self.also_erased(asked, wanted)?.into_iter();
        let made = also.map(|other| {
            let signed = wanted.linked.iter().find(|linked| linked.reference == other.reference);
            let erase = answer::Erase {
                reference: other.reference,
                fields: other.fields,
                reason: wanted.reason.clone(),
                countersignatures: signed.map_or(Vec::new(), |it| it.countersignatures.clone()),
                ..answer::Erase::default()
            };
            self.erasure(&erase, issued, identity)
        });
        made.collect()
    }

    /// What else is to be erased, and which fields of it: of its extract, and of
    /// what it is an extract of, whatever they have of what is asked. Blocks.
    fn also_erased(
        &self,
        asked: &Asked,
        wanted: &answer::Erase,
    ) -> Result<Vec<answer::AlsoErased>, Failure> {
        if wanted.only {
            return Ok(Vec::new());
        }
        let mut also = Vec::new();
        for key in self.extracts_beside(&asked.found.key).map_err(failed_store)? {
            let version = None;
            let (authority, record) = (key.authority, key.record);
            let reference = RecordRef { authority, record, version }.to_string();
            let found = self.find_own(&reference)?;
            if found.current.newest.action == Action::Erase {
                continue;
            }
            let named = |name: &&String| {
                scope(&[(*name).clone()]).and_then(|one| self.refuse_unknown_fields(&found, &one))
            };
            let fields = wanted.fields.iter().filter(|name| named(name).is_ok());
            let fields: Vec<_> = fields.cloned().collect();
            if fields.is_empty() && !wanted.fields.is_empty() {
                continue;
            }
            also.push(answer::AlsoErased { reference, fields, space: key.space });
        }
        Ok(also)
    }

    fn asked(&self, asked: &answer::Erase) -> Result<Asked, Failure> {
        let (reason, scope) = (reason(&asked.reason)?, scope(&asked.fields)?);
        let found = self.find_own(&asked.reference)?;
        let newest = found.current.newest;
        if newest.action == Action::Erase {
            return Err(Failure::usage(
                "this record is erased already",
                "`tally erase --status REF` says what has become of it",
            ));
        }
        if found.version.is_some_and(|version| version != newest.version) {
            return Err(Failure::usage(
                "this is not the newest version of the record",
                "an erasure covers all versions: leave out the version behind @",
            ));
        }
        self.refuse_unknown_fields(&found, &scope)?;
        Ok(Asked { upto: newest.version, found, scope, reason })
    }

    /// Refuses names that no version has.
    fn refuse_unknown_fields(&self, found: &Found, scope: &Scope) -> Result<(), Failure> {
        let Scope::Fields(names) = scope else { return Ok(()) };
        let register = self.0.projector.register();
        let mut unknown = names.clone();
        let versions = register.versions(&found.key.authority, &found.key.record);
        for (key, info) in versions.map_err(failed_store)? {
            let entry = register.entry(&key, info.version).map_err(failed_store)?;
            let Some(body) = entry.as_ref().and_then(Entry::body) else { continue };
            let fields = body.fields();
            let all = fields.iter().map(|(name, _)| name.clone()).chain(body.withheld());
            let all: Vec<FieldName> = all.collect();
            unknown.retain(|name| {
                let one = Scope::Fields(BTreeSet::from([name.clone()]));
                !all.iter().any(|field| one.covers(field.as_str()))
            });
        }
        match unknown.first() {
            None => Ok(()),
            Some(name) => Err(Failure::usage(
                format!("no version of this record has a field {name}"),
                "`tally show REF --json` shows the names, joined by dots",
            )),
        }
    }
}

fn is_countersigned(asked: &Asked, entry: &Entry, identity: &Identity) -> bool {
    let Asked { found, upto, scope, reason } = asked;
    // Where it will stand is not known yet, and is no part of what is signed.
    let erasure = Erasure {
        at: *upto,
        record: found.key.record,
        upto: *upto,
        scope: scope.clone(),
        reason: *reason,
        from: None,
    };
    let fields = entry.body().map(Body::fields).unwrap_or_default();
    erasure.is_countersigned(&fields, found.key.space, identity)
}

fn countersignatures(sent: &[answer::Countersignature]) -> Result<Vec<(u32, Vec<u8>)>, Failure> {
    let read = |one: &answer::Countersignature| {
        let signature = STANDARD.decode(&one.signature).map_err(|_| {
            Failure::usage("a countersignature is not base64", "make it again with --with")
        })?;
        Ok((one.controller, signature))
    };
    sent.iter().map(read).collect()
}
