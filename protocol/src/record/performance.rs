//! Kind 2: how a supplier performed: assessments under regulation 39 of the
//! Procurement Regulations 2024, failures, remedies, and the supplier's reply.
//!
//! **Invariant:** facts and opinion are separate fields, so that one can be
//! shown, exported or erased without the other.

use super::Kind;
use super::date::Date;
use super::description::{Audience, Column, FacetPaths, Form, Guard, KindDescription};
use super::extract::Extract;
use super::money::Money;
use super::part::{Disclosure, Organisation, Period, Source};
use super::text::{code_list, document};

document! {
    /// One assessment of a supplier over a period.
    pub struct Performance {
        /// The contract assessed (a REF), if one contract.
        pub contract: Option<String>,
        /// Title of the assessment; may be absent.
        pub title: Option<String>,
        /// Who assesses.
        pub buyer: Option<Organisation>,
        /// Who is assessed.
        pub supplier: Option<Organisation>,
        /// What period the assessment covers.
        pub period: Option<Period>,
        /// Key performance indicators with target, observation and rating.
        pub kpis: Vec<Kpi>,
        /// What happened, verifiably.
        pub facts: Option<String>,
        /// What the buyer thinks of it.
        pub opinion: Option<String>,
        /// Breaches and failures (OCDS extension `performanceFailures`).
        pub performance_failures: Vec<PerformanceFailure>,
        /// What was done about them.
        pub remedies: Vec<Remedy>,
        /// When the assessment was sent to the supplier.
        pub sent_to_supplier: Option<Date>,
        /// How long the supplier had to reply, as an ISO 8601 duration: `P30D`.
        pub reply_window: Option<String>,
        /// What the supplier replied.
        pub supplier_reply: Option<String>,
        /// Why it is shared without the supplier's chance to reply, if it is.
        pub shared_without_reply: Option<String>,
        /// When the assessment is looked at again.
        pub review_date: Option<Date>,
        /// The last day on which it may be shown or used; its values are to be
        /// deleted afterwards (the header's *retain until*).
        pub expires: Option<Date>,
        /// True if nobody may use it in evaluating tenders.
        pub not_for_tender_evaluation: Option<bool>,
        /// Its extract, if it has one.
        pub extract: Option<Extract>,
        /// The mark of the confidential record this is an extract of.
        pub extract_of: Option<String>,
        /// What is said about disclosing it to others.
        pub disclosure: Option<Disclosure>,
        /// Where the document comes from.
        pub source: Option<Source>,
    }
}

code_list! {
    /// The five ratings of regulation 39 of the Procurement Regulations 2024.
    pub enum Rating {
        /// Performance is meeting or exceeding the target.
        Good = "good",
        /// Performance is close to the target.
        ApproachingTarget = "approachingTarget",
        /// Performance is below the target.
        RequiresImprovement = "requiresImprovement",
        /// Performance is significantly below the target.
        Inadequate = "inadequate",
        /// Performance cannot be described by the four others.
        Other = "other",
    }
}

document! {
    /// One key performance indicator (OCDS `Metric` with one observation).
    pub struct Kpi {
        /// Its id in the contract.
        pub id: Option<String>,
        /// What is measured.
        pub title: Option<String>,
        /// What was agreed.
        pub target: Option<String>,
        /// What was observed.
        pub observation: Option<String>,
        /// How the buyer rates it.
        pub rating: Option<Rating>,
    }
}

document! {
    /// One failure (OCDS extension `performanceFailures`).
    pub struct PerformanceFailure {
        /// Its id.
        pub id: Option<String>,
        /// What failed.
        pub description: Option<String>,
        /// When it happened.
        pub period: Option<Period>,
        /// The events that count as its grounds, as codes or words.
        pub category: Option<String>,
    }
}

document! {
    /// One remedy: a service credit, a notice, damages, an improvement plan.
    pub struct Remedy {
        /// What was done.
        pub description: Option<String>,
        /// When.
        pub date: Option<Date>,
        /// What it was worth.
        pub value: Option<Money>,
    }
}

/// What index, columns and default pages need to know about performance records.
pub static DESCRIPTION: KindDescription = KindDescription {
    kind: Kind::PERFORMANCE,
    name: "performance",
    title: "Performance",
    plural: "Performance",
    default_audience: Audience::Group,
    offered: "a performance note",
    columns: &[
        Column { heading: "Title", path: "title", form: Form::Text },
        Column { heading: "Supplier", path: "supplier.name", form: Form::Text },
        Column { heading: "Buyer", path: "buyer.name", form: Form::Text },
        Column { heading: "From", path: "period.startDate", form: Form::Day },
        Column { heading: "To", path: "period.endDate", form: Form::Day },
        Column { heading: "Ratings", path: "kpis.*.rating", form: Form::Text },
        Column { heading: "Review", path: "reviewDate", form: Form::Day },
        Column { heading: "Expires", path: "expires", form: Form::Day },
    ],
    facets: FacetPaths {
        title: "title",
        text: &[
            "facts",
            "opinion",
            "kpis.*.title",
            "kpis.*.observation",
            "performanceFailures.*.description",
            "remedies.*.description",
            "supplierReply",
        ],
        cpv: &[],
        buyers: &["buyer"],
        suppliers: &["supplier"],
        starts: "period.startDate",
        ends: "period.endDate",
        max_extent: "",
        value: "",
        products: &[],
        status: "",
        source: "source",
        succession: "",
        answers: "",
        expires: "expires",
        not_for_tenders: "notForTenderEvaluation",
        extract: "extract",
        extract_of: "extractOf",
    },
    dates: &[
        "period.startDate",
        "period.endDate",
        "period.maxExtentDate",
        "performanceFailures.*.period.startDate",
        "performanceFailures.*.period.endDate",
        "performanceFailures.*.period.maxExtentDate",
        "remedies.*.date",
        "sentToSupplier",
        "reviewDate",
        "expires",
        "disclosure.exemptions.*.until",
        "source.published",
    ],
    mandatory: &["contract|supplier.name"],
    closed: &[("kpis.*.rating", Rating::KNOWN)],
    open: &[],
    references: &["extract.record"],
    spans: &["replyWindow"],
    hashes: &["extractOf", "extract.salt"],
    requirements: &[super::extract::REQUIREMENT],
    guards: &[
        Guard { path: "supplier.name", what: "how a supplier performed" },
        Guard { path: "contract", what: "how a supplier performed" },
    ],
    published: &[],
    ranges: &[("period.startDate", "period.endDate"), ("sentToSupplier", "expires")],
};
