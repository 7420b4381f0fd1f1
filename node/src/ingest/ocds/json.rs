//! A JSON value as OCDS publishers write it: read leniently, walked without panics.
//!
//! Numbers keep a decimal text instead of a float. For a number with a
//! fraction that text is the shortest one that denotes the same float, which
//! is what was written for up to fifteen digits: every amount in pence below ten
//! million million pounds.
//!
//! Keys lose white space, which damaged exports put inside them. Deliberately
//! absent: errors on the way to a value. What is missing, null or of another
//! type is [`Json::Null`], an empty list or no text.

use std::collections::BTreeMap;

use serde_json::{Number, Value};

/// A JSON value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    /// A number, as decimal text.
    Number(String),
    Text(String),
    List(Vec<Json>),
    Object(BTreeMap<String, Json>),
}

static NULL: Json = Json::Null;

impl Json {
    /// The value under a dotted path of keys.
    pub(super) fn at(&self, path: &str) -> &Self {
        path.split('.').fold(self, |value, key| match value {
            Self::Object(members) => members.get(key).unwrap_or(&NULL),
            _ => &NULL,
        })
    }

    /// The first value under one of several paths that says something.
    pub(super) fn first(&self, paths: &[&str]) -> &Self {
        paths.iter().map(|path| self.at(path)).find(|value| !value.is_blank()).unwrap_or(&NULL)
    }

    /// The items of a list; anything else that says something counts as a list of one.
    pub(super) fn items(&self) -> &[Self] {
        match self {
            Self::List(items) => items,
            value if value.is_blank() => &[],
            value => std::slice::from_ref(value),
        }
    }

    /// The items under a dotted path.
    pub(super) fn list(&self, path: &str) -> &[Self] {
        self.at(path).items()
    }

    /// A text or number as text, without surrounding white space; `None` if empty.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Number(text) => Some(text.trim()).filter(|t| !t.is_empty()),
            _ => None,
        }
    }

    /// The text under a dotted path.
    pub(super) fn str(&self, path: &str) -> Option<&str> {
        self.at(path).text()
    }

    /// True or false, also in words.
    pub(super) fn flag(&self) -> Option<bool> {
        match self {
            Self::Bool(flag) => Some(*flag),
            Self::Text(text) if text.eq_ignore_ascii_case("true") => Some(true),
            Self::Text(text) if text.eq_ignore_ascii_case("false") => Some(false),
            _ => None,
        }
    }

    /// Whether it says nothing: null, an empty text, or only such values.
    pub(super) fn is_blank(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Bool(_) | Self::Number(_) => false,
            Self::Text(text) => text.trim().is_empty(),
            Self::List(items) => items.iter().all(Self::is_blank),
            Self::Object(members) => members.values().all(Self::is_blank),
        }
    }
}

impl From<Value> for Json {
    fn from(value: Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(flag) => Self::Bool(flag),
            Value::Number(number) => Self::Number(decimal(&number)),
            Value::String(text) => Self::Text(text),
            Value::Array(items) => Self::List(items.into_iter().map(Self::from).collect()),
            Value::Object(members) => {
                let member = |(key, value): (String, Value)| {
                    let sound = !key.contains(char::is_whitespace);
                    let key = if sound { key } else { key.split_whitespace().collect() };
                    (key, Self::from(value))
                };
                Self::Object(members.into_iter().map(member).collect())
            }
        }
    }
}

/// Rust writes a float as the shortest decimal without an exponent.
fn decimal(number: &Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() => float.to_string(),
        _ => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Json {
        Json::from(serde_json::from_str::<Value>(text).unwrap())
    }

    #[test]
    fn numbers_keep_their_decimal_text() {
        for text in ["93007", "-1", "0.1", "1234.56", "9999999999999.99", "18446744073709551615"] {
            assert_eq!(json(text).text(), Some(text));
        }
        assert_eq!(json("772150000.0").text(), Some("772150000"));
        assert_eq!(json("1.5e6").text(), Some("1500000"));
    }

    #[test]
    fn whatever_is_missing_is_null() {
        let value = json(r#"{"a": {"b": [1, null]}, "c ontact": "x", "t": "tag", "n": null}"#);
        assert_eq!(value.at("a.b.c.d"), &Json::Null);
        assert_eq!(value.list("a.b").len(), 2);
        assert_eq!(value.list("t").len(), 1, "one value stands for a list");
        assert_eq!(value.list("n").len(), 0);
        assert_eq!(value.str("contact"), Some("x"), "white space in a key is damage");
    }
}
