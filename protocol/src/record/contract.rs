//! Kind 1: a contract, as a buyer publishes or registers it (OCDS `Contract`
//! and `Award` with what `Tender` says of them).

use super::Kind;
use super::date::Date;
use super::description::{Audience, Column, FacetPaths, Form, Guard, KindDescription, Requirement};
use super::extract::Extract;
use super::money::{Currency, Money, Value};
use super::part::{Disclosure, Organisation, Period, Source};
use super::text::{code_list, document};

document! {
    /// One contract between a buyer and its suppliers.
    pub struct Contract {
        /// Open Contracting id of the process.
        pub ocid: Option<String>,
        /// What the contract is called; mandatory.
        pub title: String,
        /// What is bought.
        pub description: Option<String>,
        /// The buyer's own contract reference.
        pub reference: Option<String>,
        /// Who buys.
        pub buyer: Option<Organisation>,
        /// Who supplies.
        pub suppliers: Vec<Organisation>,
        /// Main CPV code, `\d{8}` or `\d{8}-\d`.
        pub cpv: Option<String>,
        /// Further CPV codes.
        pub additional_cpv: Vec<String>,
        /// OCDS `mainProcurementCategory`: goods, works, services.
        pub main_procurement_category: Option<String>,
        /// How the supplier was chosen, by the OCDS code list.
        pub procurement_method: Option<ProcurementMethod>,
        /// The same in the source's own words.
        pub procurement_method_details: Option<String>,
        /// Value over the whole period.
        pub value: Option<Value>,
        /// Tax that the buyer cannot recover (Local Government Transparency Code).
        pub irrecoverable_vat: Option<Money>,
        /// When it runs.
        pub period: Option<Period>,
        /// What is bought, line by line.
        pub items: Vec<Item>,
        /// Lots the contract covers.
        pub lots: Vec<Lot>,
        /// When it was signed or awarded.
        pub date_signed: Option<Date>,
        /// OCDS `contractStatus`: pending, active, cancelled, terminated.
        pub status: Option<String>,
        /// How prices follow an index, in words: `CPI, each April`.
        pub indexation: Option<String>,
        /// The framework it was called off from, or that it is.
        pub framework: Option<Framework>,
        /// Other processes it belongs to.
        pub related_processes: Vec<RelatedProcess>,
        /// Whether others may buy from it.
        pub sharing: Option<Sharing>,
        /// Department of the buyer that is responsible.
        pub department: Option<String>,
        /// Mailbox of that department; of a role, not of a person.
        pub owner_mailbox: Option<String>,
        /// When the buyer reviews it next.
        pub review_date: Option<Date>,
        /// How it goes on from a contract of a council that was merged or split.
        pub succession: Option<Succession>,
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
    /// OCDS code list `method`.
    pub enum ProcurementMethod {
        /// Anybody could bid.
        Open = "open",
        /// Qualified suppliers could bid.
        Selective = "selective",
        /// Some suppliers were invited.
        Limited = "limited",
        /// One supplier was approached.
        Direct = "direct",
    }
}

code_list! {
    /// How a contract of a predecessor goes on.
    pub enum SuccessionKind {
        /// To us, who are the buyer now by law.
        Transferred = "transferred",
        /// As it was; we manage it for others.
        Hosted = "hosted",
        /// With us as a new party, by novation, to which the supplier agreed.
        Novated = "novated",
    }
}

document! {
    /// That this contract goes on from one of a predecessor. It is confirmed by
    /// the predecessor's identity, if that names the author as a successor.
    pub struct Succession {
        /// How it goes on.
        pub kind: Option<SuccessionKind>,
        /// The predecessor's contract: a full REF.
        pub of: Option<String>,
        /// From which day on.
        pub date: Option<Date>,
        /// When the supplier agreed to a novation.
        pub supplier_agreement_date: Option<Date>,
    }
}

document! {
    /// One line of what is bought (OCDS `Item`).
    pub struct Item {
        /// What it is.
        pub description: Option<String>,
        /// How many units, as a decimal number in text: `12`, `0.5`.
        pub quantity: Option<String>,
        /// The unit: `licence`, `hour`.
        pub unit: Option<String>,
        /// Price of one unit.
        pub unit_price: Option<Money>,
        /// What the price is per: `year`, `user per year`, `dwelling`, `once`.
        pub price_basis: Option<String>,
        /// Name of the product, for comparison across buyers.
        pub product: Option<String>,
        /// Version or edition of the product.
        pub version: Option<String>,
        /// CPV code of the line.
        pub cpv: Option<String>,
    }
}

document! {
    /// One lot (OCDS `Lot`).
    pub struct Lot {
        /// The lot's id in its process.
        pub id: Option<String>,
        /// Its title.
        pub title: Option<String>,
        /// Its description.
        pub description: Option<String>,
        /// Its value.
        pub value: Option<Value>,
        /// Its period.
        pub period: Option<Period>,
    }
}

document! {
    /// A framework agreement: the contract is one, or was called off from one.
    pub struct Framework {
        /// True if the contract itself is the framework.
        pub is_framework: Option<bool>,
        /// Name of the framework.
        pub title: Option<String>,
        /// Its reference, `RM6259`.
        pub reference: Option<String>,
        /// Who runs it.
        pub owner: Option<String>,
        /// Last day for call-offs.
        pub end_date: Option<Date>,
    }
}

document! {
    /// Another process this one belongs to (OCDS `RelatedProcess`).
    pub struct RelatedProcess {
        /// OCDS code list `relatedProcess`: framework, parent, prior, renewalProcess…
        pub relationship: Option<String>,
        /// Scheme of the identifier, often `ocid`.
        pub scheme: Option<String>,
        /// Identifier of the other process.
        pub identifier: Option<String>,
        /// Its title.
        pub title: Option<String>,
    }
}

document! {
    /// Whether and how others may buy from the contract.
    pub struct Sharing {
        /// Whether they may.
        pub permitted: Option<bool>,
        /// Who: names or classes of buyers.
        pub eligible_buyers: Vec<String>,
        /// The clause that says so.
        pub clause: Option<String>,
        /// What it costs them.
        pub fee: Option<String>,
    }
}

/// What index, columns and default pages need to know about contracts.
pub static DESCRIPTION: KindDescription = KindDescription {
    kind: Kind::CONTRACT,
    name: "contract",
    title: "Contract",
    plural: "Contracts",
    default_audience: Audience::Public,
    offered: "a contract as public notices show it",
    columns: &[
        Column { heading: "Title", path: "title", form: Form::Text },
        Column { heading: "Buyer", path: "buyer.name", form: Form::Text },
        Column { heading: "Suppliers", path: "suppliers.*.name", form: Form::Text },
        Column { heading: "Value", path: "value", form: Form::Money },
        Column { heading: "Starts", path: "period.startDate", form: Form::Day },
        Column { heading: "Ends", path: "period.endDate", form: Form::Day },
        Column { heading: "CPV", path: "cpv", form: Form::Text },
        Column { heading: "Status", path: "status", form: Form::Text },
    ],
    facets: FacetPaths {
        title: "title",
        text: &[
            "description",
            "reference",
            "items.*.description",
            "items.*.product",
            "lots.*.title",
            "lots.*.description",
            "framework.title",
            "framework.reference",
            "procurementMethodDetails",
            "department",
        ],
        cpv: &["cpv", "additionalCpv.*", "items.*.cpv"],
        buyers: &["buyer"],
        suppliers: &["suppliers.*"],
        starts: "period.startDate",
        ends: "period.endDate",
        max_extent: "period.maxExtentDate",
        value: "value",
        products: &["items.*.product"],
        status: "status",
        source: "source",
        succession: "succession",
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
        "lots.*.period.startDate",
        "lots.*.period.endDate",
        "lots.*.period.maxExtentDate",
        "dateSigned",
        "framework.endDate",
        "reviewDate",
        "succession.date",
        "succession.supplierAgreementDate",
        "disclosure.exemptions.*.until",
        "source.published",
    ],
    mandatory: &["title"],
    closed: &[("succession.kind", SuccessionKind::KNOWN)],
    references: &["succession.of", "extract.record"],
    spans: &[],
    hashes: &["extractOf", "extract.salt"],
    guards: &[Guard { path: "items.*.unitPrice.amount", what: "unit prices" }],
    published: &[],
    requirements: &[
        super::extract::REQUIREMENT,
        Requirement {
            path: "succession.*",
            code: None,
            needs: &["succession.kind", "succession.of", "succession.date"],
        },
        Requirement {
            path: "succession.kind",
            code: Some("novated"),
            needs: &["succession.supplierAgreementDate"],
        },
    ],
    open: &[("procurementMethod", ProcurementMethod::KNOWN)],
    ranges: &[
        ("period.startDate", "period.endDate"),
        ("period.endDate", "period.maxExtentDate"),
        ("succession.supplierAgreementDate", "succession.date"),
    ],
};

impl Contract {
    /// The currency of its value, if it says.
    #[must_use]
    pub fn currency(&self) -> Option<&Currency> {
        self.value.as_ref()?.currency.as_ref()
    }
}
