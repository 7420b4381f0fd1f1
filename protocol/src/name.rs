//! Names of public bodies: when two of them may be taken for one another.
//!
//! An authority is its id; its name is whatever it wrote. Whoever adds a partner
//! should therefore hear that the name on the card is nearly that of somebody
//! known ([`Form::resemblance`]), and that it has something in it that no reader sees
//! ([`peculiarities`]). [`folded`] is the form in which names are compared.
//!
//! **Invariants:** resemblance is symmetric, and a name resembles itself; names
//! are only compared here, never changed or refused: councils do have names
//! that differ in one letter. Confusable characters are those of Unicode
//! Technical Standard 39. Deliberately absent: abbreviations (`LBC`), other
//! languages, and sounds.

use std::collections::BTreeSet;

use unicode_security::MixedScript as _;
use unicode_security::confusable_detection::skeleton;

/// Longest name that is compared letter by letter, in characters.
const LETTERS: usize = 256;
/// Words shorter than this differ by one letter too often to mean anything.
const SHORT: usize = 6;

/// How one name is like another, the closest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resemblance {
    /// The same but for case, accents, punctuation, `&` or `the`.
    Same,
    /// It looks the same: `Burnham` and `Bumham`, or letters of another script.
    LooksSame,
    /// The same but for words that many bodies share, or their order:
    /// `Ashby Council` and `Borough Council of Ashby`.
    SameWords,
    /// One letter was put in, left out, mistaken, or two changed places.
    OneLetter,
}

impl Resemblance {
    /// In plain English, after `this name`.
    #[must_use]
    pub const fn explanation(self) -> &'static str {
        match self {
            Self::Same => "is the same as",
            Self::LooksSame => "looks the same as",
            Self::SameWords => "has the same words as",
            Self::OneLetter => "differs by one letter from",
        }
    }
}

/// What is odd about a name by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peculiarity {
    /// It has characters that are not seen, or change the direction of writing.
    Invisible,
    /// It has letters of several scripts.
    MixedScripts,
}

impl Peculiarity {
    /// In plain English, after `this name`.
    #[must_use]
    pub const fn explanation(self) -> &'static str {
        match self {
            Self::Invisible => "has characters in it that cannot be seen",
            Self::MixedScripts => "has letters of several scripts",
        }
    }
}

/// A name made ready to be compared with many others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    name: String,
    folded: String,
    looks: BTreeSet<String>,
    words: BTreeSet<String>,
    /// The distinctive words, and all of them, without spaces.
    spelled: [String; 2],
}

impl Form {
    /// The form of `name`.
    #[must_use]
    pub fn of(name: &str) -> Self {
        let folded = folded(name);
        let words = distinctive_words(&folded);
        Self {
            name: name.to_owned(),
            looks: looks(name),
            spelled: [words.concat(), folded.replace(' ', "")],
            words: words.into_iter().collect(),
            folded,
        }
    }

    /// How the two names may be taken for one another, if so.
    #[must_use]
    pub fn resemblance(&self, other: &Self) -> Option<Resemblance> {
        if self.folded == other.folded {
            // Two names without a letter are not the same name.
            let same = !self.folded.is_empty() || self.name == other.name;
            return same.then_some(Resemblance::Same);
        }
        if !self.looks.is_disjoint(&other.looks) {
            return Some(Resemblance::LooksSame);
        }
        if !self.words.is_empty() && self.words == other.words {
            return Some(Resemblance::SameWords);
        }
        let mut spelled = self.spelled.iter().zip(&other.spelled);
        let slip = spelled.any(|(a, b)| differ_by_a_letter(a, b));
        slip.then_some(Resemblance::OneLetter)
    }
}

/// What is odd about a name, in a fixed order.
#[must_use]
pub fn peculiarities(name: &str) -> Vec<Peculiarity> {
    let visible: String = name.chars().filter(|c| !is_invisible(*c)).collect();
    let mut found = Vec::new();
    if visible.len() < name.len() {
        found.push(Peculiarity::Invisible);
    }
    if !visible.is_single_script() {
        found.push(Peculiarity::MixedScripts);
    }
    found
}

/// A name for comparison: lower case, no accents, punctuation, articles or
/// characters that are not seen; `&` and `+` as `and`; words one space apart.
#[must_use]
pub fn folded(name: &str) -> String {
    let mut folded = String::with_capacity(name.len());
    let seen = name.chars().filter(|c| !is_invisible(*c));
    for c in seen.flat_map(char::to_lowercase) {
        match c {
            '&' | '+' => folded.push_str(" and "),
            '\'' | '’' | '‘' | '`' | '.' => {}
            'æ' => folded.push_str("ae"),
            'œ' => folded.push_str("oe"),
            'ß' => folded.push_str("ss"),
            c if c.is_alphanumeric() => folded.push(unaccented(c)),
            // A combining accent belongs to the letter before it.
            '\u{300}'..='\u{36f}' => {}
            _ => folded.push(' '),
        }
    }
    let words: Vec<&str> = folded.split_whitespace().filter(|word| *word != "the").collect();
    words.join(" ")
}

/// The words of a folded name that tell this body from others; all of them if
/// none would be left.
#[must_use]
pub fn distinctive_words(folded: &str) -> Vec<String> {
    let all = || folded.split(' ').filter(|w| !w.is_empty());
    let kept: Vec<String> =
        all().filter(|w| !COMMON_WORDS.contains(w)).map(str::to_owned).collect();
    if kept.is_empty() { all().map(str::to_owned).collect() } else { kept }
}

/// Whether a folded name says that it is that of a public body.
#[must_use]
pub fn says_public_body(folded: &str) -> bool {
    folded.split(' ').any(|word| BODY_WORDS.contains(&word))
}

/// Whether two words of some length differ by one letter put in, left out or
/// mistaken, or by two that changed places; false if they are equal and short.
#[must_use]
pub fn differ_by_a_letter(a: &str, b: &str) -> bool {
    let letters = |text: &str| text.chars().take(LETTERS + 1).collect::<Vec<_>>();
    // Most names differ more than that, which their lengths tell at once.
    if a.len().abs_diff(b.len()) > 4 {
        return false;
    }
    let (a, b) = (letters(a), letters(b));
    let (short, long) = if a.len() <= b.len() { (&a, &b) } else { (&b, &a) };
    if short.len() < SHORT || long.len() > short.len() + 1 || long.len() > LETTERS {
        return false;
    }
    let same = short.iter().zip(long.iter()).take_while(|(x, y)| x == y).count();
    let rest = |of: &'_ [char], skip: usize| of.get(same + skip..).map(<[char]>::to_vec);
    let skip = usize::from(long.len() == short.len());
    let replaced = match (rest(short, skip), rest(long, 1)) {
        (Some(x), Some(y)) => x == y,
        _ => true,
    };
    let swapped = match (short.get(same..same + 2), long.get(same..same + 2)) {
        (Some([x, y]), Some([v, w])) => {
            skip == 1 && x == w && y == v && rest(short, 2) == rest(long, 2)
        }
        _ => false,
    };
    replaced || swapped
}

/// What a name looks like, in capitals as written and in small letters.
fn looks(name: &str) -> BTreeSet<String> {
    let seen: String = name.chars().filter(|c| !is_invisible(*c)).collect();
    let look = |text: &str| folded(&skeleton(text).collect::<String>());
    let looks = [look(&seen), look(&seen.to_lowercase())];
    looks.into_iter().filter(|look| !look.is_empty()).collect()
}

/// Characters that are not seen: those that Unicode calls default ignorable,
/// and the marks of direction.
const fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
        | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Words that many public bodies share, and so do not tell one from another.
const COMMON_WORDS: &[&str] = &[
    "council",
    "borough",
    "city",
    "county",
    "district",
    "metropolitan",
    "corporation",
    "london",
    "royal",
    "of",
    "and",
    "unitary",
    "authority",
    "combined",
    "bc",
    "cc",
    "dc",
    "mbc",
    "mdc",
    "lb",
    "rb",
    "cyngor",
    "sir",
];
/// Words by which a name says that it is a public body.
const BODY_WORDS: &[&str] =
    &["council", "authority", "corporation", "borough", "cyngor", "bc", "cc", "dc", "mbc"];

/// The base letter of Latin letters with accents; Welsh, Gaelic and the usual European ones.
const fn unaccented(c: char) -> char {
    match c {
        'à'..='å' | 'ā' | 'ă' | 'ą' => 'a',
        'ç' | 'ć' | 'č' => 'c',
        'è'..='ë' | 'ē' | 'ė' | 'ę' | 'ě' => 'e',
        'ì'..='ï' | 'ī' | 'ı' => 'i',
        'ñ' | 'ń' | 'ň' => 'n',
        'ò'..='ö' | 'ø' | 'ō' | 'ő' => 'o',
        'ù'..='ü' | 'ū' | 'ů' | 'ű' => 'u',
        'ý' | 'ÿ' | 'ŷ' | 'ỳ' => 'y',
        'ŵ' | 'ẁ' | 'ẃ' | 'ẅ' => 'w',
        'ś' | 'š' | 'ş' | 'ș' => 's',
        'ź' | 'ż' | 'ž' => 'z',
        'ł' => 'l',
        'ğ' => 'g',
        'ř' => 'r',
        'ť' | 'ț' => 't',
        'đ' | 'ď' => 'd',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn resemblance(a: &str, b: &str) -> Option<Resemblance> {
        Form::of(a).resemblance(&Form::of(b))
    }

    #[test]
    fn names_that_may_be_mistaken_for_one_another_are_found() {
        use Resemblance::{LooksSame, OneLetter, Same, SameWords};
        for (a, b, how) in [
            ("Ashby & Coldwell Council", "ASHBY AND COLDWELL COUNCIL", Same),
            ("The Ashby Council", "Ashby  Council.", Same),
            ("Ashby Coun\u{200b}cil", "Ashby Council", Same),
            ("Âshby Council", "Ashby Council", Same),
            // Cyrillic А, с and о.
            ("\u{410}shby Council", "Ashby Council", LooksSame),
            ("Ashby \u{421}\u{43e}uncil", "Ashby Council", LooksSame),
            ("0akham Council", "Oakham Council", LooksSame),
            ("Bumham Council", "Burnham Council", LooksSame),
            ("lsle Council", "Isle Council", LooksSame),
            ("Borough Council of Ashby", "Ashby Council", SameWords),
            ("Coldwell and Ashby Council", "Ashby & Coldwell Borough Council", SameWords),
            ("Alderwick Council", "Alderwyck Council", OneLetter),
            ("Alderwick Council", "Aldewrick City Council", OneLetter),
            ("Alderwick Council", "Alderwicks Borough Council", OneLetter),
        ] {
            assert_eq!(resemblance(a, b), Some(how), "{a} {b}");
            assert_eq!(resemblance(b, a), Some(how), "{b} {a}");
        }
        for (a, b) in [
            ("Ashby Council", "Coldwell Council"),
            ("Ashby Council", "Ashbyshire County Council"),
            ("North Alder Council", "South Alder Council"),
            ("Ash Council", "Oak Council"),
            ("", "Ash Council"),
            ("!", "?"),
        ] {
            assert_eq!(resemblance(a, b), None, "{a} {b}");
        }
    }

    #[test]
    fn what_nobody_sees_is_pointed_out() {
        use Peculiarity::{Invisible, MixedScripts};
        for (name, found) in [
            ("Ashby Council", &[][..]),
            ("Cyngor Sir Ŵyl & Môr (2024)", &[]),
            ("Ashby\u{ad} Council", &[Invisible]),
            ("Ashby \u{202e}licnuoC", &[Invisible]),
            ("\u{410}shby Council", &[MixedScripts]),
            ("\u{410}shby\u{200d} Council", &[Invisible, MixedScripts]),
        ] {
            assert_eq!(peculiarities(name), found, "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn resemblance_is_symmetric_and_reflexive(a in "\\PC{0,20}", b in "\\PC{0,20}") {
            prop_assert_eq!(resemblance(&a, &a), Some(Resemblance::Same));
            prop_assert_eq!(resemblance(&a, &b), resemblance(&b, &a));
        }

        #[test]
        fn a_changed_letter_is_noticed(name in "[a-z]{6,20}", at in 0usize..20, to in "[A-Z]") {
            let mut letters: Vec<char> = name.chars().collect();
            let at = at % letters.len();
            letters[at] = to.chars().next().unwrap();
            let other: String = letters.into_iter().collect();
            prop_assert!(resemblance(&name, &other).is_some());
        }

        #[test]
        fn folding_twice_changes_nothing(name in "\\PC{0,30}") {
            prop_assert_eq!(folded(&folded(&name)), folded(&name));
        }
    }
}
