//! From a typed document straight to its flat fields.
//!
//! What [`flatten`](super::flatten) makes of a nested value, made in one walk
//! over the document: no value is built, nothing is removed afterwards. This is
//! what every record that is written goes through, an import's tens of
//! thousands among them.
//!
//! **Invariant:** the fields are those of pruning and flattening the document's
//! nested value. Deliberately absent: reading.

use core::fmt::Display;

use serde::Serialize;
use serde::ser::{self, Serializer};

use super::RecordError;
use crate::body::{FieldName, Fields};
use crate::cbor::Writer;
use crate::limits;

/// The fields of a document.
///
/// # Errors
/// [`RecordError::Leaf`] for a value that is no leaf, [`RecordError::Nesting`],
/// [`RecordError::Field`] for too many fields or a bad name.
pub(super) fn fields(document: &impl Serialize) -> Result<Fields, RecordError> {
    let (mut fields, mut path) = (Fields::new(), String::new());
    document.serialize(Leaves { fields: &mut fields, path: &mut path, depth: 0 })?;
    Ok(fields)
}

/// Where the walk stands, and what was found so far.
struct Leaves<'a> {
    fields: &'a mut Fields,
    path: &'a mut String,
    depth: usize,
}

impl Leaves<'_> {
    fn put(self, write: impl FnOnce(&mut Writer) -> &mut Writer) -> Result<(), RecordError> {
        let name = FieldName::new(self.path)?;
        let mut writer = Writer::default();
        write(&mut writer);
        Ok(self.fields.insert_encoded(name, writer.finish())?)
    }

    fn refuse(self) -> Result<(), RecordError> {
        Err(RecordError::Leaf { path: self.path.clone() })
    }
}

/// The parts of a list, map or document; positions of a list close up.
struct Parts<'a> {
    within: Leaves<'a>,
    position: usize,
    key: String,
}

impl<'a> Parts<'a> {
    fn of(within: Leaves<'a>) -> Result<Self, RecordError> {
        if within.depth >= limits::NESTING {
            return Err(RecordError::Nesting);
        }
        Ok(Self { within, position: 0, key: String::new() })
    }

    fn part(&mut self, segment: &str, part: &(impl Serialize + ?Sized)) -> Result<(), RecordError> {
        let Leaves { fields, path, depth } = &mut self.within;
        let before = path.len();
        if before > 0 {
            path.push('.');
        }
        path.push_str(segment);
        part.serialize(Leaves { fields, path, depth: *depth + 1 })?;
        path.truncate(before);
        Ok(())
    }
}

impl ser::SerializeSeq for Parts<'_> {
    type Ok = ();
    type Error = RecordError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), RecordError> {
        let before = self.within.fields.len();
        self.part(&self.position.to_string(), item)?;
        // An item that says nothing has no position.
        self.position += usize::from(self.within.fields.len() > before);
        Ok(())
    }

    fn end(self) -> Result<(), RecordError> {
        Ok(())
    }
}

impl ser::SerializeTuple for Parts<'_> {
    type Ok = ();
    type Error = RecordError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), RecordError> {
        ser::SerializeSeq::serialize_element(self, item)
    }

    fn end(self) -> Result<(), RecordError> {
        Ok(())
    }
}

impl ser::SerializeMap for Parts<'_> {
    type Ok = ();
    type Error = RecordError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), RecordError> {
        match ciborium::Value::serialized(key)? {
            ciborium::Value::Text(key) => self.key = key,
            _ => return Err(RecordError::Leaf { path: self.within.path.clone() }),
        }
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), RecordError> {
        let key = core::mem::take(&mut self.key);
        self.part(&key, item)
    }

    fn end(self) -> Result<(), RecordError> {
        Ok(())
    }
}

impl ser::SerializeStruct for Parts<'_> {
    type Ok = ();
    type Error = RecordError;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        item: &T,
    ) -> Result<(), RecordError> {
        self.part(key, item)
    }

    fn end(self) -> Result<(), RecordError> {
        Ok(())
    }
}

impl ser::Error for RecordError {
    fn custom<T: Display>(text: T) -> Self {
        Self::Document(text.to_string())
    }
}

/// Numbers as integers of 64 bits with sign.
macro_rules! integers {
    ($($method:ident: $type:ty,)*) => {
        $(fn $method(self, number: $type) -> Result<(), RecordError> {
            match i64::try_from(number) {
                Ok(number) => self.put(|writer| writer.integer(number)),
                Err(_) => self.refuse(),
            }
        })*
    };
}

type Never = ser::Impossible<(), RecordError>;

impl<'a> Serializer for Leaves<'a> {
    type Ok = ();
    type Error = RecordError;
    type SerializeSeq = Parts<'a>;
    type SerializeTuple = Parts<'a>;
    type SerializeTupleStruct = Never;
    type SerializeTupleVariant = Never;
    type SerializeMap = Parts<'a>;
    type SerializeStruct = Parts<'a>;
    type SerializeStructVariant = Never;

    integers! {
        serialize_i8: i8,
        serialize_i16: i16,
        serialize_i32: i32,
        serialize_i64: i64,
        serialize_u8: u8,
        serialize_u16: u16,
        serialize_u32: u32,
        serialize_u64: u64,
    }

    fn serialize_bool(self, truth: bool) -> Result<(), RecordError> {
        self.put(|writer| writer.bool(truth))
    }

    fn serialize_str(self, text: &str) -> Result<(), RecordError> {
        if text.is_empty() { Ok(()) } else { self.put(|writer| writer.text(text)) }
    }

    fn serialize_char(self, letter: char) -> Result<(), RecordError> {
        self.serialize_str(letter.encode_utf8(&mut [0; 4]))
    }

    fn serialize_f32(self, _: f32) -> Result<(), RecordError> {
        self.refuse()
    }

    fn serialize_f64(self, _: f64) -> Result<(), RecordError> {
        self.refuse()
    }

    fn serialize_bytes(self, _: &[u8]) -> Result<(), RecordError> {
        self.refuse()
    }

    fn serialize_none(self) -> Result<(), RecordError> {
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), RecordError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), RecordError> {
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), RecordError> {
        Ok(())
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<(), RecordError> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), RecordError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), RecordError> {
        self.refuse()
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Parts<'a>, RecordError> {
        Parts::of(self)
    }

    fn serialize_tuple(self, _: usize) -> Result<Parts<'a>, RecordError> {
        Parts::of(self)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Never, RecordError> {
        Err(RecordError::Leaf { path: self.path.clone() })
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Never, RecordError> {
        Err(RecordError::Leaf { path: self.path.clone() })
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Parts<'a>, RecordError> {
        Parts::of(self)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Parts<'a>, RecordError> {
        Parts::of(self)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Never, RecordError> {
        Err(RecordError::Leaf { path: self.path.clone() })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ciborium::Value;
    use proptest::prelude::*;

    use super::super::flatten::{flatten, prune};
    use super::*;

    /// By way of a nested value.
    fn nested(document: &impl Serialize) -> Result<Fields, RecordError> {
        let value = Value::serialized(document)?;
        prune(value, 0)?.map_or_else(|| Ok(Fields::new()), |value| flatten(&value))
    }

    fn value() -> impl Strategy<Value = serde_json::Value> {
        use serde_json::{Value, json};
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            Just(json!(0.5)),
            "[a-zé]{0,3}".prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 40, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::btree_map("[a-z]{1,2}", inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn leaves_are_those_of_the_pruned_nested_value(
            value in proptest::collection::btree_map("[a-z]{1,4}", value(), 0..6)
        ) {
            match (fields(&value), nested(&value)) {
                (Ok(found), Ok(wanted)) => prop_assert_eq!(found, wanted),
                (found, wanted) => prop_assert_eq!(found.is_err(), wanted.is_err()),
            }
        }
    }

    #[test]
    fn what_is_no_leaf_is_refused_where_it_stands() {
        let document = BTreeMap::from([("a", vec![BTreeMap::from([("b", 0.5)])])]);
        let error = fields(&document).unwrap_err();
        assert_eq!(error, RecordError::Leaf { path: "a.0.b".to_owned() });
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = |depth: usize| {
            (0..depth).fold(serde_json::json!("x"), |inner, _| serde_json::json!({ "a": inner }))
        };
        assert!(fields(&deep(limits::NESTING)).is_ok());
        assert_eq!(fields(&deep(limits::NESTING + 1)), Err(RecordError::Nesting));
    }
}
