//! The parts of a release that awards, contracts and tenders have in common:
//! values, periods, classifications, items, lots.

use tallystick_protocol::record::contract::{Item, Lot};
use tallystick_protocol::record::money::{Currency, Money, Value, ValueKind, VatBasis};
use tallystick_protocol::record::part::Period;
use tallystick_protocol::record::{Date, Day};

use super::super::remark::{Remarks, quoted};
use super::super::text;
use super::json::Json;
use super::process::Process;

/// Most items kept of one contract.
const ITEMS: usize = 150;
/// Most lots kept of one contract.
const LOTS: usize = 40;
/// Most CPV codes kept of one record.
const CODES: usize = 64;
/// Longest name of a unit kept, in bytes.
const UNIT_BYTES: usize = 64;
/// Longest quantity kept, in characters.
const QUANTITY: usize = 32;

/// Reads parts of one process and collects remarks.
pub(super) struct Reading<'a> {
    pub(super) process: &'a Process,
    pub(super) remarks: Remarks,
    /// The currency of amounts that name none; `None` where guessing would be wrong.
    pub(super) currency: Option<Currency>,
}

impl<'a> Reading<'a> {
    /// The first title or name under `paths` that says something.
    pub(super) fn line(&mut self, what: &str, of: &[(&Json, &str)]) -> Option<String> {
        of.iter().filter_map(|(json, path)| json.str(path)).find_map(|raw| self.words(what, raw))
    }

    /// A title or name, unless it says nothing.
    pub(super) fn words(&mut self, what: &str, raw: &str) -> Option<String> {
        self.remarks.line(what, raw).filter(|text| !says_nothing(text))
    }

    /// The first description under `paths` that says something.
    pub(super) fn block(&mut self, what: &str, of: &[(&Json, &str)]) -> Option<String> {
        of.iter()
            .filter_map(|(json, path)| json.str(path))
            .find_map(|raw| self.remarks.block(what, raw).filter(|text| !says_nothing(text)))
    }

    /// The first date under `paths`, as its local day.
    pub(super) fn day(&mut self, what: &str, of: &[(&Json, &str)]) -> Option<Date> {
        let raw = of.iter().find_map(|(json, path)| json.str(path))?;
        self.remarks.day(what, raw)
    }

    /// A value with its basis. OCDS amounts beside `amountGross` are without tax.
    pub(super) fn value(&mut self, what: &str, json: &Json, kind: ValueKind) -> Option<Value> {
        let currency = self.currency_of(what, json)?;
        let raw = amount(json.at("amount"));
        let gross = amount(json.at("amountGross"));
        let gross = gross.and_then(|raw| self.remarks.money(what, raw, &currency)?.amount);
        let mut value = match raw {
            Some(raw) => self.remarks.value(what, raw, &currency, kind)?,
            None => Value {
                amount: Some(gross?),
                currency: Some(currency),
                vat: Some(VatBasis::Included),
                kind: Some(kind),
                ..Value::default()
            },
        };
        if raw.is_some() && gross.is_some() {
            value.amount_gross = gross;
            value.vat = Some(VatBasis::Excluded);
        }
        Some(value)
    }

    fn money(&mut self, what: &str, json: &Json) -> Option<Money> {
        let raw = amount(json.at("amount"))?;
        let currency = self.currency_of(what, json)?;
        self.remarks.money(what, raw, &currency)
    }

    fn currency_of(&mut self, what: &str, json: &Json) -> Option<Currency> {
        amount(json.at("amount")).or_else(|| amount(json.at("amountGross")))?;
        let default = self.currency.clone();
        match (json.str("currency"), default) {
            (Some(raw), default) => {
                let stated = Currency::new(raw.trim().to_ascii_uppercase());
                let fallback = default.unwrap_or_else(Currency::gbp);
                if stated.is_well_formed() || self.currency.is_some() {
                    Some(self.remarks.currency(raw, &fallback))
                } else {
                    self.remarks.note(format!("the {what} has no known currency and was left out"));
                    None
                }
            }
            (None, Some(default)) => Some(default),
            (None, None) => {
                self.remarks.note(format!("the {what} names no currency and was left out"));
                None
            }
        }
    }

    /// A period. Where only a length is given, the end is computed and marked so.
    pub(super) fn period(&mut self, what: &str, json: &Json) -> Option<Period> {
        if json.is_blank() {
            return None;
        }
        let start = self.day(&format!("{what} start"), &[(json, "startDate")]);
        let end = self.day(&format!("{what} end"), &[(json, "endDate")]);
        let max_extent_date = self.day(&format!("{what} extension"), &[(json, "maxExtentDate")]);
        let duration = json.str("durationInDays").and_then(days);
        let computed = match (&start, &end, duration) {
            (Some(start), None, Some(days)) => last_day(start, days),
            _ => None,
        };
        if let Some(end) = computed {
            let days = duration.unwrap_or_default();
            self.remarks.note(format!("the {what} ends on {end} by its length of {days} days"));
        }
        let found = Period {
            end_computed: computed.map(|_| true),
            max_extent_date,
            duration_in_days: duration,
            ..self
                .remarks
                .period(start, end.or_else(|| computed.map(Date::from)))
                .unwrap_or_default()
        };
        (found != Period::default()).then_some(found)
    }

    /// The period that spans those of several lots: the first start, the last end,
    /// and the greatest length where no lot has dates.
    pub(super) fn span(&mut self, lots: &[&Json]) -> Option<Period> {
        let periods: Vec<Period> =
            lots.iter().filter_map(|lot| self.period("lot", lot.at("contractPeriod"))).collect();
        let dates = |of: fn(&Period) -> Option<&Date>| {
            periods.iter().filter_map(of).filter_map(Date::day).collect::<Vec<Day>>()
        };
        let end = dates(|p| p.end_date.as_ref()).into_iter().max();
        let computed = |p: &Period| {
            p.end_computed == Some(true) && p.end_date.as_ref().and_then(Date::day) == end
        };
        let found = Period {
            start_date: dates(|p| p.start_date.as_ref()).into_iter().min().map(Date::from),
            end_date: end.map(Date::from),
            max_extent_date: dates(|p| p.max_extent_date.as_ref())
                .into_iter()
                .max()
                .map(Date::from),
            duration_in_days: periods.iter().filter_map(|p| p.duration_in_days).max(),
            end_computed: periods.iter().any(computed).then_some(true),
            notice_period: None,
        };
        (found != Period::default()).then_some(found)
    }

    /// CPV codes of an object and its items: the main one and the rest.
    pub(super) fn codes(&mut self, of: &[&Json]) -> (Option<String>, Vec<String>) {
        let mut codes: Vec<String> = Vec::new();
        let mut eight: Vec<String> = Vec::new();
        let objects = of.iter().copied();
        let items = of.iter().flat_map(|json| json.list("items"));
        for json in objects.chain(items) {
            let further = json.list("additionalClassifications");
            for class in std::iter::once(json.at("classification")).chain(further) {
                if !class.str("scheme").is_some_and(|s| s.to_ascii_uppercase().starts_with("CPV")) {
                    continue;
                }
                for code in class.str("id").map(|id| self.remarks.cpv(id)).unwrap_or_default() {
                    let digits: String = code.chars().take(8).collect();
                    if !eight.contains(&digits) && codes.len() < CODES {
                        eight.push(digits);
                        codes.push(code);
                    }
                }
            }
        }
        let mut codes = codes.into_iter();
        (codes.next(), codes.collect())
    }

    /// The lines of a contract; those that only repeat its classification are left out.
    pub(super) fn items(&mut self, list: &[Json]) -> Vec<Item> {
        let mut found = Vec::new();
        let mut left_out = 0_usize;
        for json in list {
            let item = self.item(json);
            let says = item.description.is_some() || item.unit_price.is_some();
            if says && found.len() < ITEMS {
                found.push(item);
            } else if says {
                left_out += 1;
            }
        }
        if left_out > 0 {
            self.remarks.note(format!("{left_out} items beyond the first {ITEMS} were left out"));
        }
        found
    }

    fn item(&mut self, json: &Json) -> Item {
        let quantity = json.str("quantity").filter(|raw| is_decimal(raw));
        let (cpv, _) = self.codes(&[json]);
        Item {
            description: self.line("item", &[(json, "description")]),
            quantity: quantity.map(str::to_owned),
            unit: self
                .line("unit", &[(json, "unit.name"), (json, "unit.id")])
                .map(|unit| text::cut(unit, UNIT_BYTES).0),
            unit_price: self.money("unit price", json.at("unit.value")),
            cpv,
            ..Item::default()
        }
    }

    /// The lots of the tender with one of `ids`.
    pub(super) fn lots(&self, ids: &[Json]) -> Vec<&'a Json> {
        let ids: Vec<&str> = ids.iter().filter_map(Json::text).collect();
        let lots = self.process.list("tender.lots");
        lots.into_iter().filter(|lot| lot.str("id").is_some_and(|id| ids.contains(&id))).collect()
    }

    /// Lots as a contract lists them.
    pub(super) fn lot_parts(&mut self, lots: &[&Json]) -> Vec<Lot> {
        let parts = lots.iter().take(LOTS).map(|json| Lot {
            id: self.line("lot id", &[(json, "id")]),
            title: self.line("lot title", &[(json, "title")]),
            // One line: forty descriptions of full length would not fit a body.
            description: self.line("lot description", &[(json, "description")]),
            value: self.value("lot value", json.at("value"), ValueKind::Estimate),
            period: None,
        });
        parts.collect()
    }
}

/// An amount as text, also in MongoDB's `{"$numberLong": "1"}`.
fn amount(json: &Json) -> Option<&str> {
    json.text().or_else(|| json.str("$numberLong")).or_else(|| json.str("$numberDecimal"))
}

/// A length in days that can be meant.
fn days(raw: &str) -> Option<i64> {
    let whole = raw.split_once('.').map_or(raw, |(whole, _)| whole);
    whole.parse::<i64>().ok().filter(|days| (1..=36_600).contains(days))
}

/// The last of `days` days of which `start` is the first.
fn last_day(start: &Date, days: i64) -> Option<Day> {
    let last = start.day()?.plus(days - 1)?;
    Date::from(last).day()
}

fn is_decimal(raw: &str) -> bool {
    raw.len() <= QUANTITY
        && raw.bytes().any(|b| b.is_ascii_digit())
        && raw.bytes().all(|b| b.is_ascii_digit() || b == b'.')
        && raw.matches('.').count() <= 1
}

/// Titles and descriptions that only point elsewhere.
fn says_nothing(text: &str) -> bool {
    text::is_placeholder(text)
        || text.trim_end_matches('.').eq_ignore_ascii_case("see description of related tender")
}

/// A code list value in lower case, remarked on if it is none of `known`.
pub(super) fn code(raw: &str, known: &[&'static str], remarks: &mut Remarks) -> Option<String> {
    let found = known.iter().find(|code| code.eq_ignore_ascii_case(raw));
    if found.is_none() {
        remarks.note(format!("{} is in no code list of OCDS and was left out", quoted(raw)));
    }
    found.map(|code| (*code).to_owned())
}
