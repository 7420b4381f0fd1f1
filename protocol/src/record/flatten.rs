//! Documents as flat fields: `items.3.unitPrice.amount`, and back.
//!
//! Only leaves become fields: text, integers of 64 bits with sign, true and
//! false. Absent values, empty texts, lists and maps vanish and list positions
//! close up, so a document has one flat form. Going back, positions that are
//! missing (withheld or erased) close up too; their numbers stay in the body.
//!
//! **Invariant:** flattening what was unflattened gives the same fields, for
//! every document of a known kind.

use std::collections::BTreeMap;

use ciborium::Value;

use super::RecordError;
use crate::body::Fields;
use crate::limits;

/// The fields of a nested value.
///
/// # Errors
/// [`RecordError::Leaf`] for a value that is no leaf, [`RecordError::Nesting`],
/// [`RecordError::Field`] for too many fields or a bad name.
pub(super) fn flatten(value: &Value) -> Result<Fields, RecordError> {
    let mut fields = Fields::new();
    put(&mut fields, &mut String::new(), value, 0)?;
    Ok(fields)
}

/// The nested value that `fields` describe.
///
/// # Errors
/// [`RecordError::Shape`] if a name is both a leaf and the beginning of another.
pub(super) fn unflatten(fields: &Fields) -> Result<Value, RecordError> {
    let mut root = Branch::default();
    for (name, _) in fields.iter() {
        let value = fields.value(name.as_str()).ok_or(RecordError::Shape)?;
        root.insert(name.as_str(), value)?;
    }
    Ok(Value::Map(root.into_pairs()))
}

/// Removes what says nothing; `None` if nothing is left.
///
/// # Errors
/// [`RecordError::Nesting`].
pub(super) fn prune(value: Value, depth: usize) -> Result<Option<Value>, RecordError> {
    if depth > limits::NESTING {
        return Err(RecordError::Nesting);
    }
    let pruned = match value {
        Value::Null => return Ok(None),
        Value::Text(text) if text.is_empty() => return Ok(None),
        Value::Array(items) => {
            let mut kept = Vec::new();
            for item in items {
                kept.extend(prune(item, depth + 1)?);
            }
            if kept.is_empty() {
                return Ok(None);
            }
            Value::Array(kept)
        }
        Value::Map(pairs) => {
            let mut kept = Vec::new();
            for (key, item) in pairs {
                kept.extend(prune(item, depth + 1)?.map(|item| (key, item)));
            }
            if kept.is_empty() {
                return Ok(None);
            }
            Value::Map(kept)
        }
        leaf => leaf,
    };
    Ok(Some(pruned))
}

fn put(
    fields: &mut Fields,
    path: &mut String,
    value: &Value,
    depth: usize,
) -> Result<(), RecordError> {
    if depth > limits::NESTING {
        return Err(RecordError::Nesting);
    }
    let leaf = || RecordError::Leaf { path: path.clone() };
    match value {
        Value::Array(items) => items
            .iter()
            .enumerate()
            .try_for_each(|(at, item)| nested(fields, path, &at.to_string(), item, depth)),
        Value::Map(pairs) => pairs.iter().try_for_each(|(key, item)| {
            let key = key.as_text().ok_or_else(|| RecordError::Leaf { path: path.clone() })?;
            nested(fields, path, key, item, depth)
        }),
        Value::Integer(number) if i64::try_from(*number).is_err() => Err(leaf()),
        Value::Text(_) | Value::Integer(_) | Value::Bool(_) => {
            fields.insert(path, value).map_err(RecordError::Field)
        }
        _ => Err(leaf()),
    }
}

fn nested(
    fields: &mut Fields,
    path: &mut String,
    segment: &str,
    item: &Value,
    depth: usize,
) -> Result<(), RecordError> {
    let before = path.len();
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(segment);
    put(fields, path, item, depth + 1)?;
    path.truncate(before);
    Ok(())
}

/// An inner node; its depth is bounded by the length of a field name.
#[derive(Default)]
struct Branch(BTreeMap<String, Node>);

enum Node {
    Leaf(Value),
    Branch(Branch),
}

impl Branch {
    fn insert(&mut self, name: &str, value: Value) -> Result<(), RecordError> {
        let Some((segment, rest)) = name.split_once('.') else {
            let earlier = self.0.insert(name.to_owned(), Node::Leaf(value));
            return if earlier.is_none() { Ok(()) } else { Err(RecordError::Shape) };
        };
        let child =
            self.0.entry(segment.to_owned()).or_insert_with(|| Node::Branch(Self::default()));
        match child {
            Node::Branch(branch) => branch.insert(rest, value),
            Node::Leaf(_) => Err(RecordError::Shape),
        }
    }

    fn into_pairs(self) -> Vec<(Value, Value)> {
        self.0.into_iter().map(|(key, node)| (Value::Text(key), node.into_value())).collect()
    }

    /// A branch whose every segment is a list position is a list.
    fn into_value(self) -> Value {
        let positions: Option<BTreeMap<u32, &String>> =
            self.0.keys().map(|key| Some((position(key)?, key))).collect();
        if positions.is_none() {
            return Value::Map(self.into_pairs());
        }
        let mut items: Vec<(Option<u32>, Node)> =
            self.0.into_iter().map(|(key, node)| (position(&key), node)).collect();
        items.sort_by_key(|(at, _)| *at);
        Value::Array(items.into_iter().map(|(_, node)| node.into_value()).collect())
    }
}

impl Node {
    fn into_value(self) -> Value {
        match self {
            Self::Leaf(value) => value,
            Self::Branch(branch) => branch.into_value(),
        }
    }
}

/// A list position in its only spelling.
fn position(segment: &str) -> Option<u32> {
    let at: u32 = segment.parse().ok()?;
    (at.to_string() == segment).then_some(at)
}
