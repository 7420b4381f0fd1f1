//! Drafts of performance notes at the desk, up to the moment they are shared.
//!
//! Drafted, sent to the supplier, replied to or not, shared. **Invariants:** a
//! note that is changed has to be sent again; the steps are kept by this node
//! and not taken from the file, so that the note says what was done here; what
//! is shared goes by [`Desk::publish`] and its rules. Deliberately absent:
//! sending, which people do by letter or mail.

use serde_json::json;
use tallystick_protocol::id::{RecordId, RecordRef};
use tallystick_protocol::record::{Date, Day, Kind, Performance, Record, Span};

use super::fairness::day_of;
use super::record::document;
use super::{Desk, answer, failed_store, now};
use crate::author::random_record_id;
use crate::draft::Draft;
use crate::failure::Failure;

/// How long a supplier may reply, if nobody says.
const USUAL_WINDOW: &str = "P30D";

impl Desk {
    /// The notes that are not shared yet.
    ///
    /// # Errors
    /// A [`Failure`] if a draft cannot be read; so for all methods about notes.
    pub async fn notes(&self) -> Result<answer::Notes, Failure> {
        let today = day_of(now()?);
        let drafts = self.0.drafts.lock().await.all()?;
        Ok(answer::Notes { notes: drafts.iter().map(|draft| view(draft, today)).collect() })
    }

    /// One of them.
    ///
    /// # Errors
    /// See [`Desk::notes`]; a [`Failure`] if there is no such draft.
    pub async fn note(&self, number: u32) -> Result<answer::NoteView, Failure> {
        Ok(view(&self.0.drafts.lock().await.get(number)?, day_of(now()?)))
    }

    /// Keeps a note on this node, durably. What takes the place of another has
    /// not been sent.
    ///
    /// # Errors
    /// See [`Desk::note`]; a [`Failure`] if it is not valid, or says of itself
    /// what only the other commands may.
    pub async fn draft_note(&self, kept: answer::DraftNote) -> Result<answer::NoteView, Failure> {
        let note = performance(document(Kind::PERFORMANCE, &kept.document)?)?;
        let steps = [
            ("sentToSupplier", note.sent_to_supplier.is_some(), "tally note send"),
            ("supplierReply", note.supplier_reply.is_some(), "tally note reply"),
            ("sharedWithoutReply", note.shared_without_reply.is_some(), "tally note share"),
        ];
        if let Some((field, _, command)) = steps.into_iter().find(|(_, given, _)| *given) {
            return Err(Failure::usage(
                format!("{field} is not for the draft to say"),
                format!("leave it out of the file; `{command}` says it when it is so"),
            ));
        }
        let drafts = self.0.drafts.lock().await;
        let draft = match kept.number {
            None => drafts.add(random_record_id().map_err(Failure::internal)?, note)?,
            Some(number) => {
                let draft = Draft { note, ..drafts.get(number)? };
                drafts.put(&draft)?;
                draft
            }
        };
        Ok(view(&draft, day_of(now()?)))
    }

    /// Notes when a draft was sent to its supplier, and how long that may reply.
    ///
    /// # Errors
    /// See [`Desk::note`]; a [`Failure`] if it was sent before, or for a day that
    /// has not come or a length of time that is none.
    pub async fn send_note(&self, sent: answer::SendNote) -> Result<answer::NoteView, Failure> {
        let today = day_of(now()?);
        let on = match &sent.on {
            None => today,
            Some(text) => text.parse().map_err(|error| {
                Failure::usage(format!("{text:?}: {error}"), "write the day as 2026-03-31")
            })?,
        };
        if on > today {
            return Err(Failure::usage(
                format!("{on} has not come yet"),
                "say that it was sent when it was",
            ));
        }
        let drafts = self.0.drafts.lock().await;
        let mut draft = drafts.get(sent.number)?;
        if let Some(before) = &draft.note.sent_to_supplier {
            return Err(Failure::usage(
                format!("draft {} was sent to the supplier on {before}", draft.number),
                "`tally note draft FILE --replaces NUMBER` changes it, to be sent again",
            ));
        }
        let window = sent.window.or(draft.note.reply_window).unwrap_or(USUAL_WINDOW.to_owned());
        window.parse::<Span>().map_err(|error| {
            Failure::usage(format!("{window:?}: {error}"), "write it as P30D, P2W or P1M")
        })?;
        draft.note.reply_window = Some(window);
        draft.note.sent_to_supplier = Some(Date::from(on));
        if draft.note.reply_until().is_none() {
            return Err(Failure::usage(
                "the time for a reply has no end that a calendar knows",
                "give a shorter one, such as P30D",
            ));
        }
        drafts.put(&draft)?;
        Ok(view(&draft, today))
    }

    /// Keeps what the supplier replied beside the draft.
    ///
    /// # Errors
    /// See [`Desk::note`]; a [`Failure`] if it was not sent, or the reply is empty.
    pub async fn reply_to_note(
        &self,
        reply: answer::NoteReply,
    ) -> Result<answer::NoteView, Failure> {
        let drafts = self.0.drafts.lock().await;
        let mut draft = drafts.get(reply.number)?;
        if draft.note.sent_to_supplier.is_none() {
            return Err(Failure::usage(
                format!("draft {} was not sent to the supplier", draft.number),
                "say first when it was, with `tally note send`",
            ));
        }
        let text = reply.text.trim();
        if text.is_empty() {
            return Err(Failure::usage("the reply is empty", "give what the supplier wrote"));
        }
        draft.note.supplier_reply = Some(text.to_owned());
        // A body has limits, which are better met now than when it is shared.
        let fits = Record::from(draft.note.clone()).valid_fields();
        fits.map_err(|error| {
            Failure::usage(format!("the reply does not fit ({error})"), "shorten it")
        })?;
        drafts.put(&draft)?;
        Ok(view(&draft, day_of(now()?)))
    }

    /// Removes a draft; what it said.
    ///
    /// # Errors
    /// See [`Desk::note`].
    pub async fn discard_note(&self, number: u32) -> Result<answer::NoteView, Failure> {
        let drafts = self.0.drafts.lock().await;
        let draft = drafts.get(number)?;
        drafts.remove(number)?;
        Ok(view(&draft, day_of(now()?)))
    }

    /// Shares a note; the draft is gone once that is durable.
    ///
    /// # Errors
    /// See [`Desk::note`]; as [`Desk::publish`].
    pub async fn share_note(&self, share: answer::ShareNote) -> Result<answer::Published, Failure> {
        let drafts = self.0.drafts.lock().await;
        let draft = drafts.get(share.number)?;
        if self.is_shared(draft.record).await? {
            drafts.remove(draft.number)?;
            let (authority, record) = (self.authority(), draft.record);
            let reference = RecordRef { authority, record, version: None };
            return Err(Failure::no(
                format!("draft {} was shared already, as {reference}", draft.number),
                "an earlier command was interrupted after that; nothing else is to be done",
            ));
        }
        let publish = answer::Publish {
            kind: Kind::PERFORMANCE.to_string(),
            document: json!(draft.note),
            audience: share.audience,
            reference: None,
            retain_until: None,
            without_reply: share.without_reply,
            extract_of: None,
        };
        let published = self.publish_as(publish, Some(draft.record)).await?;
        drafts.remove(draft.number)?;
        Ok(published)
    }

    async fn is_shared(&self, record: RecordId) -> Result<bool, Failure> {
        let desk = self.clone();
        let found = super::blocking(move || {
            desk.settle_register()?;
            let register = desk.0.projector.register();
            register.newest(&desk.authority(), &record).map_err(failed_store)
        });
        Ok(found.await??.is_some())
    }
}

fn performance(record: Record) -> Result<Performance, Failure> {
    match record {
        Record::Performance(note) => Ok(*note),
        _ => Err(Failure::internal("a note of another kind")),
    }
}

fn view(draft: &Draft, today: Day) -> answer::NoteView {
    let note = &draft.note;
    let reply_until = note.reply_until();
    let state = match (&note.sent_to_supplier, &note.supplier_reply) {
        (None, _) => answer::NoteState::Draft,
        (Some(_), Some(_)) => answer::NoteState::Replied,
        (Some(_), None) if reply_until.is_some_and(|last| last < today) => {
            answer::NoteState::Unanswered
        }
        (Some(_), None) => answer::NoteState::Sent,
    };
    answer::NoteView {
        number: draft.number,
        state,
        title: note.title.clone(),
        supplier: note.supplier.as_ref().map(|supplier| supplier.name.clone()),
        sent: note.sent_to_supplier.as_ref().map(ToString::to_string),
        reply_until: reply_until.map(|last| last.to_string()),
        waits_for: note.may_be_shared(today).err().map(|unfair| unfair.to_string()),
        document: json!(note),
    }
}
