//! Kind 4: a response to any record: who is interested, would join, asks,
//! answers, objects; a supplier's reply passed on; that something is still true.
//!
//! It refers to what it answers by its REF, and is listed under it. Deliberately
//! absent: threads. A response to a response is one more record.

use super::Kind;
use super::date::Date;
use super::description::{Audience, Column, FacetPaths, Form, KindDescription, Requirement};
use super::part::{Disclosure, Organisation, Source};
use super::text::{code_list, document};

document! {
    /// What one authority says to a record of its own or of another.
    pub struct Response {
        /// What is answered: a REF; mandatory.
        pub to: Option<String>,
        /// What kind of answer it is; mandatory.
        pub answer: Option<Answer>,
        /// On whose behalf it is said, if not the author's own.
        pub buyer: Option<Organisation>,
        /// In words.
        pub text: Option<String>,
        /// Where to write to about it: a mailbox of an office, not of a person.
        pub mailbox: Option<String>,
        /// Until when it holds.
        pub until: Option<Date>,
        /// The supplier whose reply is passed on.
        pub supplier: Option<Organisation>,
        /// What is said about disclosing it to others.
        pub disclosure: Option<Disclosure>,
        /// Where the document comes from.
        pub source: Option<Source>,
    }
}

code_list! {
    /// What kind of answer it is.
    pub enum Answer {
        /// We would like to hear more.
        Interested = "interested",
        /// We would take part in a joint procurement.
        WouldJoin = "wouldJoin",
        /// A question.
        Question = "question",
        /// The answer to a question.
        Answer = "answer",
        /// What the supplier replies, word for word.
        SupplierReply = "supplierReply",
        /// It still holds as it was said.
        StillTrue = "stillTrue",
        /// It is wrong, or should not have been said.
        Objection = "objection",
    }
}

/// What index, columns and default pages need to know about responses.
pub static DESCRIPTION: KindDescription = KindDescription {
    kind: Kind::RESPONSE,
    name: "response",
    title: "Response",
    plural: "Responses",
    default_audience: Audience::Group,
    offered: "a response",
    columns: &[
        Column { heading: "Answer", path: "answer", form: Form::Text },
        Column { heading: "To", path: "to", form: Form::Text },
        Column { heading: "Text", path: "text", form: Form::Text },
        Column { heading: "Mailbox", path: "mailbox", form: Form::Text },
        Column { heading: "Until", path: "until", form: Form::Day },
        Column { heading: "Supplier", path: "supplier.name", form: Form::Text },
    ],
    facets: FacetPaths {
        title: "answer",
        text: &["text", "mailbox"],
        cpv: &[],
        buyers: &["buyer"],
        suppliers: &["supplier"],
        starts: "",
        ends: "until",
        max_extent: "",
        value: "",
        products: &[],
        status: "answer",
        source: "source",
        succession: "",
        answers: "to",
        expires: "",
        not_for_tenders: "",
        extract: "",
        extract_of: "",
    },
    dates: &["until", "disclosure.exemptions.*.until", "source.published"],
    mandatory: &["to", "answer"],
    closed: &[("answer", Answer::KNOWN)],
    open: &[],
    references: &["to"],
    spans: &[],
    hashes: &[],
    guards: &[],
    published: &[],
    requirements: &[
        Requirement { path: "answer", code: Some("supplierReply"), needs: &["supplier.name"] },
        Requirement { path: "answer", code: Some("supplierReply"), needs: &["text"] },
        Requirement { path: "answer", code: Some("question"), needs: &["text"] },
        Requirement { path: "answer", code: Some("objection"), needs: &["text"] },
    ],
    ranges: &[],
};
