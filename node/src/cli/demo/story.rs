//! What the demo is about: made-up authorities, and what they have to say.
//!
//! Three councils run the same housing management system at three prices per
//! dwelling, two of them judge it differently, two plan to buy one at about the
//! same time. Around that lie the ordinary contracts of any council, drawn from
//! lists by a fixed rule, so that search has something to sift.
//!
//! **Invariant:** the same documents at every run; only keys, ids and the time
//! of signing differ. Every authority, supplier, product and number here is made
//! up; the identifiers lie outside the ranges that the registers give out.
//! Deliberately absent: a clock, and everything that is measured.

use tallystick_protocol::identity::{OrganisationId, Profile, Role};
use tallystick_protocol::record::contract::{Contract, Item, ProcurementMethod, Sharing};
use tallystick_protocol::record::money::{Currency, Money, Value, ValueKind, VatBasis};
use tallystick_protocol::record::part::{Organisation, Period, Source};
use tallystick_protocol::record::performance::{Kpi, Performance, PerformanceFailure, Rating};
use tallystick_protocol::record::pipeline::{Collaboration, Pipeline, Stage};
use tallystick_protocol::record::{Date, Day};

use crate::cli::wording::clean;

/// The product that three councils have.
pub(super) const PRODUCT: &str = "Quillfield Homes";
/// Its supplier.
pub(super) const SUPPLIER: &str = "Quillfield Systems Ltd";
/// What an officer types to find it.
pub(super) const QUESTION: &str = "housing management system";
/// CPV: software packages and information systems.
pub(super) const SOFTWARE: &str = "48000000";
/// Ordinary contracts of each council.
pub(super) const ORDINARY: u64 = 36;
/// A buyer that is not on the network; notices of it become references.
pub(super) const STRANGER: &str = "Fenwater District Council";
/// Notices of the stranger in the file of the council that searches.
pub(super) const NOTICES: u64 = 2;

/// One authority of the demo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// Legal name.
    pub(super) name: &'static str,
    /// What people call it; in lower case the name of its directory.
    pub(super) short: &'static str,
    /// Its code, for identifiers and references.
    code: &'static str,
    /// What it is on the network.
    pub(super) role: Role,
    /// What it pays for the housing management system, if it has it.
    pub(super) housing: Option<Housing>,
}

/// A contract for the housing management system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Housing {
    /// Pence per dwelling and year.
    pub(super) pence: i64,
    /// Dwellings it is for.
    pub(super) dwellings: i64,
    /// First year, from the month below.
    from: i32,
    /// How many years.
    years: i32,
    /// Month in which it starts.
    month: i32,
    /// Notice to be given.
    notice: &'static str,
}

const fn council(
    name: &'static str,
    short: &'static str,
    code: &'static str,
    housing: Option<Housing>,
) -> Member {
    Member { name, short, code, role: Role::Buyer, housing }
}

/// Has the cheapest one, is content with it, and plans to replace it.
pub(super) const ALDERWICK: Member = council(
    "Alderwick Borough Council",
    "Alderwick",
    "ALDW",
    Some(Housing { pence: 940, dwellings: 8_240, from: 2022, years: 5, month: 10, notice: "P6M" }),
);
/// Has the dearest one, and trouble with it.
pub(super) const BRACKENMOOR: Member = council(
    "Brackenmoor City Council",
    "Brackenmoor",
    "BRKM",
    Some(Housing {
        pence: 1_375,
        dwellings: 14_610,
        from: 2020,
        years: 7,
        month: 4,
        notice: "P12M",
    }),
);
/// Lets others buy from its contract, and extends it during the demo.
pub(super) const COLDHARROW: Member = council(
    "Coldharrow District Council",
    "Coldharrow",
    "CLDH",
    Some(Housing { pence: 1_120, dwellings: 5_380, from: 2023, years: 5, month: 1, notice: "P3M" }),
);
/// Asks the question.
pub(super) const DUNMARSH: Member =
    council("Dunmarsh Metropolitan Borough Council", "Dunmarsh", "DNMR", None);
/// Comes late, with a plan that fits Alderwick's.
pub(super) const EASTFOLD: Member = council("Eastfold Borough Council", "Eastfold", "ESTF", None);
/// Publishes nothing and checks everything.
pub(super) const AUDITOR: Member = Member {
    name: "Halden Audit Office",
    short: "Halden",
    code: "HLDN",
    role: Role::Auditor,
    housing: None,
};

/// Those who are there from the beginning; [`EASTFOLD`] comes later.
pub(super) const FIRST: [Member; 5] = [ALDERWICK, BRACKENMOOR, COLDHARROW, DUNMARSH, AUDITOR];

impl Member {
    /// How it describes itself on the network.
    pub(super) fn profile(&self) -> Profile {
        Profile {
            name: self.name.to_owned(),
            organisation_ids: vec![OrganisationId {
                scheme: "GB-LAE".to_owned(),
                id: self.code.to_owned(),
            }],
            role: self.role,
            ..Profile::default()
        }
    }

    /// How its documents name it.
    pub(super) fn organisation(&self) -> Organisation {
        Organisation::named(self.name).with_identifier("GB-LAE", self.code)
    }

    /// Name of its data directory.
    pub(super) fn folder(&self) -> String {
        self.short.to_lowercase()
    }

    /// Its register of ordinary contracts, as a file import would read it; with
    /// Dunmarsh's file come two notices of a buyer that is not on the network.
    pub(super) fn register(&self) -> Vec<Contract> {
        if self.role == Role::Auditor {
            return Vec::new();
        }
        let mut dice = Dice::of(self.code);
        let mut rows: Vec<_> =
            (1..=ORDINARY).map(|number| ordinary(self, number, &mut dice)).collect();
        if *self == DUNMARSH {
            let stranger = Member { name: STRANGER, code: "FENW", ..DUNMARSH };
            rows.extend((1..=NOTICES).map(|number| ordinary(&stranger, number, &mut dice)));
        }
        rows
    }

    /// Its contract for the housing management system; `extended` is the version
    /// in which it runs a year longer.
    pub(super) fn housing_contract(&self, extended: bool) -> Option<Contract> {
        let housing = self.housing?;
        let years = housing.years + i32::from(extended);
        let shared = *self == COLDHARROW;
        Some(Contract {
            title: "Housing management system".to_owned(),
            description: Some(
                "Rents, repairs, lettings and tenancies in one system, hosted by the supplier, \
                 with support, upgrades and an online service for tenants"
                    .to_owned(),
            ),
            reference: Some(format!("{}-HMS-{}", self.code, housing.from)),
            buyer: Some(self.organisation()),
            suppliers: vec![supplier()],
            cpv: Some(SOFTWARE.to_owned()),
            additional_cpv: vec!["72260000".to_owned()],
            main_procurement_category: Some("services".to_owned()),
            procurement_method: Some(ProcurementMethod::Limited),
            value: Some(value(housing.pence * housing.dwellings * i64::from(years))),
            period: Some(Period {
                notice_period: Some(housing.notice.to_owned()),
                max_extent_date: Some(last_day(housing.from, housing.month, housing.years + 2)),
                ..period(housing.from, housing.month, years)
            }),
            items: vec![Item {
                description: Some("Licence, hosting and support".to_owned()),
                quantity: Some(housing.dwellings.to_string()),
                unit: Some("dwelling".to_owned()),
                unit_price: Some(Money::new(housing.pence, "GBP")),
                price_basis: Some("dwelling per year".to_owned()),
                product: Some(PRODUCT.to_owned()),
                version: Some("hosted".to_owned()),
                ..Item::default()
            }],
            status: Some("active".to_owned()),
            indexation: Some("CPI, each April".to_owned()),
            sharing: shared.then(|| Sharing {
                permitted: Some(true),
                eligible_buyers: vec!["any housing authority in the region".to_owned()],
                clause: Some("Schedule 4, paragraph 12".to_owned()),
                fee: None,
            }),
            department: Some("Housing".to_owned()),
            source: Some(self.source(&format!("HMS-{}", housing.from))),
            ..Contract::default()
        })
    }

    /// What it thinks of the supplier, about the contract with this reference.
    pub(super) fn note(&self, contract: &str) -> Option<Performance> {
        let content = *self == ALDERWICK;
        if !content && *self != BRACKENMOOR {
            return None;
        }
        let kpi = |title: &str, target: &str, observed: [&str; 2], rating: [Rating; 2]| {
            let ([seen, seen_otherwise], [good, bad]) = (observed, rating);
            let (seen, rating) = if content { (seen, good) } else { (seen_otherwise, bad) };
            Kpi {
                title: Some(title.to_owned()),
                target: Some(target.to_owned()),
                observation: Some(seen.to_owned()),
                rating: Some(rating),
                ..Kpi::default()
            }
        };
        let failure = PerformanceFailure {
            description: Some("Rent statements went out eight days late".to_owned()),
            period: Some(Period { start_date: date(2025, 2, 1), ..Period::default() }),
            ..PerformanceFailure::default()
        };
        Some(Performance {
            contract: Some(contract.to_owned()),
            title: Some(format!("{PRODUCT}, the year to March 2025")),
            buyer: Some(self.organisation()),
            supplier: Some(supplier()),
            period: Some(Period {
                start_date: date(2024, 4, 1),
                end_date: date(2025, 3, 31),
                ..Period::default()
            }),
            kpis: vec![
                kpi(
                    "Service available",
                    "99.5 % of each month",
                    ["99.8 % in the worst month", "97.1 % in February"],
                    [Rating::Good, Rating::RequiresImprovement],
                ),
                kpi(
                    "Urgent faults mended",
                    "95 % within four hours",
                    ["19 of 20", "22 of 31"],
                    [Rating::Good, Rating::Inadequate],
                ),
            ],
            performance_failures: if content { Vec::new() } else { vec![failure] },
            sent_to_supplier: date(2025, 4, 20),
            reply_window: Some("P30D".to_owned()),
            expires: date(2099, 3, 31),
            ..Performance::default()
        })
    }

    /// What it plans to buy.
    pub(super) fn plan(&self) -> Option<Pipeline> {
        let (title, month, pounds, replaces) = match *self {
            ALDERWICK => {
                let replaces = Some(format!("{PRODUCT}, contract ALDW-HMS-2022"));
                ("Replacement of the housing management system", 10, 640_000, replaces)
            }
            EASTFOLD => ("Housing and repairs management system", 11, 410_000, None),
            _ => return None,
        };
        Some(Pipeline {
            title: title.to_owned(),
            description: Some("For rents, repairs, lettings and tenancies, hosted".to_owned()),
            buyer: Some(self.organisation()),
            cpv: Some(SOFTWARE.to_owned()),
            main_procurement_category: Some("services".to_owned()),
            value: Some(Value { kind: Some(ValueKind::Estimate), ..value(pounds * 100) }),
            notice_date: date(2027, month - 8, 15),
            award_date: date(2027, month - 2, 15),
            period: Some(Period { start_date: date(2027, month, 1), ..Period::default() }),
            stage: Some(Stage::Planned),
            replaces,
            collaboration: Some(Collaboration {
                wanted: Some(true),
                kinds: vec!["joint procurement".to_owned(), "shared specification".to_owned()],
            }),
            last_confirmed: date(2026, 10, 1),
            department: Some("Housing".to_owned()),
            source: Some(self.source("PLAN-1")),
            ..Pipeline::default()
        })
    }

    fn source(&self, number: &str) -> Source {
        Source {
            system: Some("demo-register".to_owned()),
            notice_id: Some(format!("{}-{number}", self.code)),
            ..Source::default()
        }
    }
}

/// What people call the authority with this name.
pub(super) fn short(name: &str) -> String {
    let known = FIRST.into_iter().chain([EASTFOLD]).find(|member| member.name == name);
    known.map_or_else(|| clean(name), |member| member.short.to_owned())
}

fn supplier() -> Organisation {
    Organisation::named(SUPPLIER).with_identifier("GB-COH", "99000101")
}

fn value(pence: i64) -> Value {
    Value {
        amount: Some(pence),
        currency: Some(Currency::gbp()),
        vat: Some(VatBasis::Excluded),
        kind: Some(ValueKind::Actual),
        ..Value::default()
    }
}

fn date(year: i32, month: i32, day: i32) -> Option<Date> {
    Day::new(year, month, day).map(|day| Date::new(day.to_string()))
}

fn period(year: i32, month: i32, years: i32) -> Period {
    Period {
        start_date: date(year, month, 1),
        end_date: Some(last_day(year, month, years)),
        ..Period::default()
    }
}

/// The last day of something that began on the first of a month and lasts so long.
fn last_day(year: i32, month: i32, years: i32) -> Date {
    let day = Day::new(year + years, month, 1).and_then(|day| day.plus(-1));
    Date::new(day.map(|day| day.to_string()).unwrap_or_default())
}

/// Title, CPV code, category and the pounds a year between which it costs.
type Service = (&'static str, &'static str, &'static str, u64, u64);

/// What every council buys. None of it is a housing management system.
const SERVICES: [Service; 24] = [
    ("Grounds maintenance", "77314000", "services", 60_000, 900_000),
    ("Tree surgery and inspection", "77211500", "services", 20_000, 140_000),
    ("Lift servicing in blocks of flats", "50750000", "services", 30_000, 260_000),
    ("Temporary agency staff", "79620000", "services", 200_000, 4_000_000),
    ("School meals", "55524000", "services", 150_000, 2_400_000),
    ("Household waste collection vehicles", "34144512", "goods", 180_000, 1_600_000),
    ("Cleaning of offices and libraries", "90919200", "services", 40_000, 480_000),
    ("Payroll software", "48450000", "services", 18_000, 120_000),
    ("Planning and building control software", "48000000", "services", 35_000, 160_000),
    ("Library management system", "48160000", "services", 12_000, 70_000),
    ("Telephony and contact centre", "64210000", "services", 40_000, 310_000),
    ("Laptops and docking stations", "30213100", "goods", 50_000, 700_000),
    ("Electricity for street lighting", "09310000", "goods", 250_000, 3_100_000),
    ("Gritting salt", "34927100", "goods", 15_000, 95_000),
    ("Highway resurfacing", "45233223", "works", 300_000, 5_200_000),
    ("Repair of gutters and roofs of council homes", "45261900", "works", 90_000, 1_300_000),
    ("Gas safety inspection of council homes", "71632000", "services", 80_000, 420_000),
    ("Alarm calls for sheltered housing", "79711000", "services", 30_000, 180_000),
    ("Home care for adults", "85312000", "services", 400_000, 6_500_000),
    ("Supported bus services", "60112000", "services", 60_000, 1_100_000),
    ("Insurance of buildings", "66515000", "services", 90_000, 820_000),
    ("External legal advice", "79110000", "services", 25_000, 340_000),
    ("Pest control", "90922000", "services", 8_000, 60_000),
    ("Printing and posting of council tax bills", "79810000", "services", 22_000, 130_000),
];

const SUPPLIERS: [&str; 16] = [
    "Ashgrove Facilities Ltd",
    "Barrowfield Contracting Ltd",
    "Copperline Services plc",
    "Dovecote Care CIC",
    "Elverton Engineering Ltd",
    "Farthing & Vale LLP",
    "Greyfriars Fleet Ltd",
    "Hawkstone Energy Ltd",
    "Ivybridge Digital Ltd",
    "Jessop Lifts Ltd",
    "Kestrel Grounds Ltd",
    "Larkhill Catering Ltd",
    "Merebrook Software Ltd",
    "Northway Surfacing Ltd",
    "Oxlade Staffing Ltd",
    "Pennant Insurance Services Ltd",
];

const AREAS: [&str; 6] =
    ["north area", "south area", "east area", "town centre", "schools", "all sites"];

/// One contract as any council has them.
fn ordinary(member: &Member, number: u64, dice: &mut Dice) -> Contract {
    let (title, cpv, category, low, high) = dice.pick(&SERVICES);
    let (supplier, area) = (dice.pick(&SUPPLIERS), dice.pick(&AREAS));
    let pounds = (low + dice.below(high - low)) / 500 * 500;
    let (year, month) = (2021 + narrow(dice.below(6)), 1 + narrow(dice.below(12)));
    let years = 2 + narrow(dice.below(4));
    let method = dice.pick(&[ProcurementMethod::Open, ProcurementMethod::Selective]);
    let pence = i64::try_from(pounds * 100).unwrap_or(i64::MAX);
    let reference = format!("{}-{number:04}", member.code);
    Contract {
        title: format!("{title}, {area}"),
        reference: Some(reference),
        buyer: Some(member.organisation()),
        suppliers: vec![Organisation::named(supplier)],
        cpv: Some(cpv.to_owned()),
        main_procurement_category: Some(category.to_owned()),
        procurement_method: Some(method),
        value: Some(value(pence * i64::from(years))),
        period: Some(period(year, month, years)),
        status: Some("active".to_owned()),
        source: Some(member.source(&format!("{number:04}"))),
        ..Contract::default()
    }
}

fn narrow(number: u64) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// Numbers that look drawn and are the same at every run (splitmix64).
struct Dice(u64);

impl Dice {
    fn of(text: &str) -> Self {
        Self(text.bytes().fold(17, |seed, byte| seed * 31 + u64::from(byte)))
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit.max(1)
    }

    fn pick<T: Clone, const N: usize>(&mut self, from: &[T; N]) -> T {
        let at = usize::try_from(self.below(N as u64)).unwrap_or(0);
        from.get(at).cloned().expect("the number drawn is below the length of the list")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::buyer::Ownership;
    use tallystick_protocol::record::Record;

    const COUNCILS: [Member; 5] = [ALDERWICK, BRACKENMOOR, COLDHARROW, DUNMARSH, EASTFOLD];

    fn documents(member: &Member) -> Vec<Record> {
        let register = member.register().into_iter().map(Record::from);
        let housing = [false, true].map(|later| member.housing_contract(later)).into_iter();
        let housing = housing.flatten().map(Record::from);
        let rest = [member.note("x").map(Record::from), member.plan().map(Record::from)];
        register.chain(housing).chain(rest.into_iter().flatten()).collect()
    }

    #[test]
    fn every_document_keeps_the_rules_of_its_kind() {
        for record in COUNCILS.iter().flat_map(documents) {
            record.validate().unwrap();
            assert_eq!(record.warnings(), [], "{record:?}");
            let own = Record::from_fields(record.kind(), &record.to_fields().unwrap()).unwrap();
            assert_eq!(own, record);
        }
        assert!(documents(&AUDITOR).is_empty());
    }

    #[test]
    fn the_story_is_the_same_every_time_and_different_for_each() {
        for member in &COUNCILS {
            assert_eq!(documents(member), documents(member));
        }
        let titles = |member: &Member| -> Vec<_> {
            member.register().into_iter().map(|contract| contract.title).collect()
        };
        assert_ne!(titles(&ALDERWICK), titles(&EASTFOLD));
    }

    #[test]
    fn rows_belong_to_their_council_and_to_nobody_else() {
        for member in &COUNCILS {
            let ids = [format!("GB-LAE-{}", member.code)];
            let ownership = Ownership::new(member.name, &[], &ids);
            let rows = member.register();
            let own = rows.iter().filter(|row| ownership.owns(row.buyer.as_ref().unwrap()));
            assert_eq!(own.count() as u64, ORDINARY);
        }
    }

    #[test]
    fn only_the_housing_contracts_answer_the_question() {
        for row in COUNCILS.iter().flat_map(Member::register) {
            let title = row.title.to_lowercase();
            assert!(!QUESTION.split(' ').all(|word| title.contains(word)), "{title}");
        }
    }

    #[test]
    fn prices_differ_and_end_in_different_months() {
        let mut ends: Vec<_> = COUNCILS
            .iter()
            .filter_map(|member| member.housing_contract(false)?.period?.end_date)
            .map(|date| date.as_str().to_owned())
            .collect();
        ends.sort();
        assert_eq!(ends, ["2027-03-31", "2027-09-30", "2027-12-31"]);
        let mut prices: Vec<_> =
            COUNCILS.iter().filter_map(|member| Some(member.housing?.pence)).collect();
        prices.sort_unstable();
        prices.dedup();
        assert_eq!(prices.len(), 3);
    }
}
