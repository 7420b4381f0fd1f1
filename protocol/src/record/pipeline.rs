//! Kind 3: a planned procurement, from first idea to open tender (OCDS
//! `Planning` and `Tender`; pipeline notices of the Procurement Act 2023).

use super::Kind;
use super::date::Date;
use super::description::{Audience, Column, FacetPaths, Form, KindDescription};
use super::extract::Extract;
use super::money::Value;
use super::part::{Disclosure, Organisation, Period, Source};
use super::text::{code_list, document};

document! {
    /// One planned or running procurement without a contract yet.
    pub struct Pipeline {
        /// Open Contracting id of the process.
        pub ocid: Option<String>,
        /// What the plan is called; mandatory.
        pub title: String,
        /// What is to be bought.
        pub description: Option<String>,
        /// The buyer's own reference.
        pub reference: Option<String>,
        /// Who plans to buy.
        pub buyer: Option<Organisation>,
        /// Main CPV code.
        pub cpv: Option<String>,
        /// Further CPV codes.
        pub additional_cpv: Vec<String>,
        /// OCDS `mainProcurementCategory`: goods, works, services.
        pub main_procurement_category: Option<String>,
        /// Planned procurement method, in the source's words.
        pub procurement_method_details: Option<String>,
        /// Estimated value over the whole period.
        pub value: Option<Value>,
        /// When the tender notice is expected, or was published.
        pub notice_date: Option<Date>,
        /// Last day for bids, once the tender is open.
        pub tender_end_date: Option<Date>,
        /// When the award is expected.
        pub award_date: Option<Date>,
        /// When the contract is expected to run; `startDate` is the planned start.
        pub period: Option<Period>,
        /// How far it is.
        pub stage: Option<Stage>,
        /// OCDS `tenderStatus` as the source gives it.
        pub status: Option<String>,
        /// The contract it replaces (a REF, or the source's words).
        pub replaces: Option<String>,
        /// Whether the buyer wants to do it with others, and how.
        pub collaboration: Option<Collaboration>,
        /// When the buyer last confirmed the plan.
        pub last_confirmed: Option<Date>,
        /// Department of the buyer that is responsible.
        pub department: Option<String>,
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
    /// How far a procurement is.
    pub enum Stage {
        /// An idea without a decision.
        Idea = "idea",
        /// Planned; a pipeline or planning notice may be out.
        Planned = "planned",
        /// The buyer asks the market before tendering.
        MarketEngagement = "marketEngagement",
        /// Bids are or were invited.
        Tender = "tender",
        /// Bids are being assessed.
        Evaluation = "evaluation",
        /// A contract was awarded; the contract record follows.
        Awarded = "awarded",
        /// Given up, cancelled or unsuccessful.
        Withdrawn = "withdrawn",
    }
}

document! {
    /// Whether others are welcome to join.
    pub struct Collaboration {
        /// Whether they are.
        pub wanted: Option<bool>,
        /// How: `joint procurement`, `shared specification`, `call-off rights`…
        pub kinds: Vec<String>,
    }
}

/// What index, columns and default pages need to know about pipeline entries.
pub static DESCRIPTION: KindDescription = KindDescription {
    kind: Kind::PIPELINE,
    name: "pipeline",
    title: "Pipeline entry",
    plural: "Pipeline",
    default_audience: Audience::Group,
    offered: "a plan that no public notice shows yet",
    columns: &[
        Column { heading: "Title", path: "title", form: Form::Text },
        Column { heading: "Buyer", path: "buyer.name", form: Form::Text },
        Column { heading: "Stage", path: "stage", form: Form::Text },
        Column { heading: "Estimated value", path: "value", form: Form::Money },
        Column { heading: "Notice", path: "noticeDate", form: Form::Day },
        Column { heading: "Award", path: "awardDate", form: Form::Day },
        Column { heading: "Starts", path: "period.startDate", form: Form::Day },
        Column { heading: "CPV", path: "cpv", form: Form::Text },
    ],
    facets: FacetPaths {
        title: "title",
        text: &[
            "description",
            "reference",
            "procurementMethodDetails",
            "replaces",
            "department",
            "collaboration.kinds.*",
        ],
        cpv: &["cpv", "additionalCpv.*"],
        buyers: &["buyer"],
        suppliers: &[],
        starts: "period.startDate",
        ends: "period.endDate",
        max_extent: "period.maxExtentDate",
        value: "value",
        products: &[],
        status: "stage",
        source: "source",
        succession: "",
        answers: "",
        expires: "",
        not_for_tenders: "",
        extract: "extract",
        extract_of: "extractOf",
    },
    dates: &[
        "period.startDate",
        "period.endDate",
        "period.maxExtentDate",
        "noticeDate",
        "tenderEndDate",
        "awardDate",
        "lastConfirmed",
        "disclosure.exemptions.*.until",
        "source.published",
    ],
    mandatory: &["title"],
    closed: &[],
    open: &[("stage", Stage::KNOWN)],
    references: &["extract.record"],
    spans: &[],
    hashes: &["extractOf", "extract.salt"],
    requirements: &[super::extract::REQUIREMENT],
    guards: &[],
    published: &["source.noticeId"],
    ranges: &[("period.startDate", "period.endDate"), ("noticeDate", "awardDate")],
};
