//! Whose row is it: names and identifiers of bodies, compared.
//!
//! [`Ownership`] answers two questions about a buyer that a foreign row names.
//! [`owns`](Ownership::owns): is it certainly this authority, by a register
//! identifier or by a name that differs only in case, accents, punctuation,
//! `&`/`and` or `the`? [`near`](Ownership::near): might it be, so that the
//! user should be asked (`Chorley Borough Council` for `Chorley Council`)?
//!
//! **Invariant:** only `owns` makes a row this authority's own; a look-alike
//! is offered and never merged silently.
//!
//! [`supplier`] sorts what stands in a supplier cell: one name, several firms
//! in one cell, a name kept back, or no supplier at all. Only the first is an
//! organisation that may be matched with others.

use std::collections::BTreeSet;

use tallystick_protocol::name::{self, differ_by_a_letter, distinctive_words, says_public_body};
use tallystick_protocol::organisation;
use tallystick_protocol::record::part::{Identifier, Organisation};

use super::text;

/// What makes a buyer this authority.
#[derive(Clone, Debug)]
pub struct Ownership {
    names: BTreeSet<String>,
    distinctive: Vec<Vec<String>>,
    identifiers: BTreeSet<String>,
}

impl Ownership {
    /// The authority's name, other names it is known by, and its identifiers as
    /// `SCHEME-ID` texts (`GB-LAE-NET`).
    #[must_use]
    pub fn new(name: &str, also_known_as: &[String], org_ids: &[String]) -> Self {
        let names: BTreeSet<String> = std::iter::once(name)
            .chain(also_known_as.iter().map(String::as_str))
            .map(normalised)
            .filter(|n| !n.is_empty())
            .collect();
        let distinctive =
            names.iter().map(|n| distinctive_words(n)).filter(|w| !w.is_empty()).collect();
        let identifiers = org_ids.iter().filter_map(|id| joined_identifier(id)).collect();
        Self { names, distinctive, identifiers }
    }

    /// Whether `buyer` is certainly this authority.
    #[must_use]
    pub fn owns(&self, buyer: &Organisation) -> bool {
        let by_identifier = buyer
            .identifiers
            .iter()
            .filter_map(identifier)
            .any(|id| self.identifiers.contains(&id));
        by_identifier || self.names.contains(&normalised(&buyer.name))
    }

    /// Whether `buyer` may be this authority under another name; false where [`Ownership::owns`]
    /// is true. Meant for a question to the user.
    #[must_use]
    pub fn near(&self, buyer: &Organisation) -> bool {
        if self.owns(buyer) {
            return false;
        }
        let name = normalised(&buyer.name);
        let theirs = distinctive_words(&name);
        let public = says_public_body(&name);
        let alike = |own: &Vec<String>| {
            let inside = theirs.windows(own.len().max(1)).any(|window| window == own.as_slice());
            *own == theirs
                || (public && inside)
                || differ_by_a_letter(&own.concat(), &theirs.concat())
        };
        let spelled = name.replace(' ', "");
        let slip = self.names.iter().any(|own| differ_by_a_letter(&own.replace(' ', ""), &spelled));
        self.distinctive.iter().any(alike) || slip
    }
}

/// What stands in a supplier cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SupplierCell {
    /// One name.
    One(String),
    /// Several names in one cell, or *various*, as written.
    Several(String),
    /// A supplier whose name the publisher keeps back, as written.
    Withheld(String),
    /// Words that say nobody was awarded the contract, as written.
    NotAwarded(String),
    /// Nothing.
    Empty,
}

impl SupplierCell {
    /// The supplier as a record shows it. A text that is not one firm's name is
    /// marked (`withheld`), so that nothing matches it with an organisation.
    #[must_use]
    pub fn organisation(&self) -> Option<Organisation> {
        let marked = |text: &String, why: &str| Organisation {
            withheld: Some(why.to_owned()),
            ..Organisation::named(text.clone())
        };
        match self {
            Self::One(name) => Some(Organisation::named(name.clone())),
            Self::Several(text) => Some(marked(text, SEVERAL)),
            Self::Withheld(text) => Some(marked(text, KEPT_BACK)),
            Self::NotAwarded(_) | Self::Empty => None,
        }
    }
}

/// `withheld` of a supplier cell that names several firms.
pub const SEVERAL: &str = "several suppliers in one field of the source";
/// `withheld` of a supplier cell that keeps the name back.
pub const KEPT_BACK: &str = "the source keeps the name back";

/// Sorts the content of a supplier cell.
#[must_use]
pub fn supplier(raw: &str) -> SupplierCell {
    let Some(name) = text::line(raw) else { return SupplierCell::Empty };
    let (name, _) = text::cut(name, text::LINE_BYTES);
    let folded = format!(" {} ", normalised(&name));
    let says = |phrases: &[&str]| phrases.iter().any(|p| folded.contains(p));
    let begins = |words: &[&str]| words.iter().any(|w| folded.starts_with(w));
    let placeholder =
        text::is_placeholder(&name) || begins(&[" n a ", " see attached ", " see notice "]);
    if placeholder {
        SupplierCell::Empty
    } else if begins(VARIOUS) || is_list(&name, raw) {
        // Before the next question: of several lots one may not have been awarded.
        SupplierCell::Several(name)
    } else if says(NOT_AWARDED) || begins(&[" abandoned ", " cancelled ", " withdrawn "]) {
        SupplierCell::NotAwarded(name)
    } else if says(WITHHELD) {
        SupplierCell::Withheld(name)
    } else {
        SupplierCell::One(name)
    }
}

const NOT_AWARDED: &[&str] = &[
    " not awarded ",
    " not been awarded ",
    " no award ",
    " no supplier ",
    " no bids ",
    " no tenders received ",
    " none awarded ",
    " unsuccessful ",
];
const WITHHELD: &[&str] = &[
    " withheld ",
    " redacted ",
    " confidential ",
    " section 94 ",
    " not disclosed ",
    " commercially sensitive ",
    " individual supplier ",
    " private individual ",
];
const VARIOUS: &[&str] = &[" various ", " multiple ", " several ", " numerous ", " see attached "];

/// Whether a cell lists firms: commas without a space, semicolons, lines, or
/// two legal forms. A single `Foo, Bar and Sons` is one name.
fn is_list(name: &str, raw: &str) -> bool {
    let letters = |part: &str| part.chars().filter(|c| c.is_alphabetic()).count() >= 2;
    let tight = name.match_indices(',').any(|(at, _)| {
        let (before, after) = (name.get(..at).unwrap_or(""), name.get(at + 1..).unwrap_or(""));
        let glued = after.chars().next().is_some_and(char::is_alphanumeric);
        let thousands = before.ends_with(|c: char| c.is_ascii_digit())
            && after.starts_with(|c: char| c.is_ascii_digit());
        glued && !thousands && letters(before) && letters(after)
    });
    let several = |parts: &mut dyn Iterator<Item = &str>| parts.filter(|p| letters(p)).count() > 1;
    let lines = text::block(raw).unwrap_or_default();
    let listed = several(&mut name.split([';', '|'])) || several(&mut lines.lines());
    let folded = normalised(name);
    let forms =
        folded.split(' ').filter(|w| matches!(*w, "ltd" | "limited" | "plc" | "llp")).count();
    let separated = name.contains([',', '/', '&', '+']) || folded.contains(" and ");
    tight || listed || (forms > 1 && separated)
}

/// A name for comparison: its text without markup, [folded](name::folded).
#[must_use]
pub fn normalised(name: &str) -> String {
    name::folded(&text::line(name).unwrap_or_default())
}

/// A supplier's name for comparison: as [`normalised`], with one spelling per legal form.
#[must_use]
pub fn normalised_supplier(name: &str) -> String {
    let name = normalised(name);
    let words: Vec<&str> = name
        .split(' ')
        .map(|word| match word {
            "limited" | "cyfyngedig" | "cyf" => "ltd",
            "company" => "co",
            "corporation" => "corp",
            "incorporated" => "inc",
            other => other,
        })
        .collect();
    words.join(" ").replace("public ltd co", "plc").replace("ltd liability partnership", "llp")
}

/// An identifier for comparison, `GB-COH-01234567`; `None` if it means nothing
/// outside its document.
#[must_use]
pub fn identifier(given: &Identifier) -> Option<String> {
    let found = organisation::normalise(given.scheme.as_deref()?, given.id.as_deref()?);
    found.map(|id| id.to_string())
}

/// `GB-LAE-NET` as an identifier for comparison.
#[must_use]
pub fn joined_identifier(text: &str) -> Option<String> {
    organisation::joined(text).map(|id| id.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ashby() -> Ownership {
        Ownership::new(
            "Ashby & Coldwell Borough Council",
            &["Ashby Council".to_owned()],
            &[
                "GB-LAE-ASH".to_owned(),
                "GB-COH-00012345".to_owned(),
                "GB-PPON-PABC-1234-DEFG".to_owned(),
            ],
        )
    }

    #[test]
    fn names_match_through_spelling_only() {
        for own in [
            "Ashby & Coldwell Borough Council",
            "ASHBY AND COLDWELL BOROUGH COUNCIL",
            "The Ashby &amp; Coldwell  Borough Council.",
            "Ashby Council",
            "Àshby council",
        ] {
            assert!(ashby().owns(&Organisation::named(own)), "{own}");
        }
        for foreign in ["Ashby Town Council", "Coldwell Council", "", "Council", "Ashby"] {
            assert!(!ashby().owns(&Organisation::named(foreign)), "{foreign}");
        }
    }

    #[test]
    fn identifiers_match_through_their_spellings() {
        for (scheme, id) in [
            ("GB-LAE", "ASH"),
            ("gb-lae", "ash"),
            ("GB-COH", "12345"),
            ("GB-COH", "GB-COH-00012345"),
            ("GB-PPON", "PABC-1234-DEFG"),
            ("GB-PPON", "GB-PPON:PABC1234DEFG"),
        ] {
            assert!(
                ashby().owns(&Organisation::named("?").with_identifier(scheme, id)),
                "{scheme} {id}"
            );
        }
        for (scheme, id) in [("GB-COH", "ASH"), ("", "ASH"), ("GB-LAE", ""), ("GB-SRS", "x/AbC")] {
            assert!(
                !ashby().owns(&Organisation::named("?").with_identifier(scheme, id)),
                "{scheme} {id}"
            );
        }
        let case = |id: &str| {
            identifier(&Identifier { scheme: Some("GB-SRS".into()), id: Some(id.into()) })
        };
        assert_ne!(case("x/6sQD"), case("x/6SQD"));
    }

    #[test]
    fn lookalikes_are_offered_and_not_owned() {
        for near in [
            "Ashby and Coldwell Council",
            "Ashby Borough Council Trading Standards",
            "Muse Homes Limited on behalf of Ashby Borough Council",
            "Ashby & Coldwel Borough Council",
        ] {
            let buyer = Organisation::named(near);
            assert!(ashby().near(&buyer) && !ashby().owns(&buyer), "{near}");
        }
        for far in [
            "Ashbyshire County Council",
            "Coldwell Council",
            "Ashby Cricket Club",
            "London Borough of Merton",
            "",
        ] {
            assert!(!ashby().near(&Organisation::named(far)), "{far}");
        }
        assert!(!ashby().near(&Organisation::named("Ashby Council")), "owned is not near");
    }

    #[test]
    fn supplier_cells_are_sorted() {
        use SupplierCell::{Empty, NotAwarded, One, Several, Withheld};
        let one = |n: &str| One(n.to_owned());
        assert_eq!(supplier("Turner &amp; Hythe Ltd"), one("Turner & Hythe Ltd"));
        assert_eq!(
            supplier("BAKER, LOMAX &amp; SHACKLEY LIMITED"),
            one("BAKER, LOMAX & SHACKLEY LIMITED")
        );
        assert_eq!(
            supplier("Wade Groundworks Ltd, T/a Wade Group"),
            one("Wade Groundworks Ltd, T/a Wade Group")
        );
        assert_eq!(supplier("1,000 Trees Ltd"), one("1,000 Trees Ltd"));
        for several in [
            "Various Suppliers",
            "Multiple suppliers - see attached",
            "A Yates,B Bretherton,C Ltd",
            "Foo Ltd; Bar Ltd",
            "Foo Ltd and Bar Limited",
            "Foo\nBar",
            "Lot 1 - Foo,Lot 2 - No Award",
        ] {
            assert!(matches!(supplier(several), Several(_)), "{several}");
        }
        for withheld in [
            "Name withheld (as individual and not a company)",
            "REDACTED",
            "Section 94 withheld supplier",
        ] {
            assert!(matches!(supplier(withheld), Withheld(_)), "{withheld}");
        }
        for none in [
            "NOT AWARDED TO SUPPLIER",
            "Contract not awarded",
            "abandoned",
            "The contract has not been awarded and",
        ] {
            assert!(matches!(supplier(none), NotAwarded(_)), "{none}");
        }
        for empty in ["", "n/a", "N/A EVENT DAY", "TBC", "-"] {
            assert_eq!(supplier(empty), Empty, "{empty}");
        }
        assert!(supplier("Various").organisation().unwrap().withheld.is_some());
    }

    #[test]
    fn suppliers_match_through_their_legal_form() {
        let same = |a: &str, b: &str| normalised_supplier(a) == normalised_supplier(b);
        assert!(same("Civic Ware UK Ltd", "CIVIC WARE U.K. LIMITED"));
        assert!(same("Brook & Co plc", "Brook and Company Public Limited Company"));
        assert!(!same("Brook Ltd", "Brook LLP"));
    }
}
