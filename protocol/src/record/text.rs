//! What all business documents are made of: absent values, open code lists.
//!
//! **Invariant:** every part of a document is optional and an empty text, list
//! or document means the same as an absent one, so a document read from a
//! partial body is a document too. Code lists are open: a code that this
//! version does not know is kept as it was written (design section 3:
//! strictness concerns encoding, never vocabulary).

/// Whether a value says nothing and so has no place in a body.
pub(super) trait Vacant {
    /// True for an absent value, an empty text or an empty list.
    fn is_vacant(&self) -> bool;
}

impl<T> Vacant for Option<T> {
    fn is_vacant(&self) -> bool {
        self.is_none()
    }
}

impl<T> Vacant for Vec<T> {
    fn is_vacant(&self) -> bool {
        self.is_empty()
    }
}

impl Vacant for String {
    fn is_vacant(&self) -> bool {
        self.is_empty()
    }
}

/// Defines a document or a part of one: camel-case names as in OCDS, every
/// field with a default, absent fields not written.
macro_rules! document {
    ($(#[$doc:meta])* pub struct $name:ident {
        $($(#[$field_doc:meta])* pub $field:ident: $type:ty,)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        pub struct $name {
            $($(#[$field_doc])*
            #[serde(skip_serializing_if = "crate::record::text::Vacant::is_vacant")]
            pub $field: $type,)*
        }
    };
}
pub(crate) use document;

/// Defines an open code list, written as text; unknown codes are kept.
macro_rules! code_list {
    ($(#[$doc:meta])* pub enum $name:ident {
        $($(#[$code_doc:meta])* $code:ident = $text:literal,)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        #[serde(from = "String", into = "String")]
        pub enum $name {
            $($(#[$code_doc])* $code,)*
            /// A code this version does not know, as written.
            Unrecognised(String),
        }

        impl $name {
            /// The codes this version knows, in the order of the list.
            pub const KNOWN: &'static [&'static str] = &[$($text),*];

            /// The code as written in documents.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$code => $text,)*
                    Self::Unrecognised(text) => text,
                }
            }

            /// Whether this version knows the code.
            #[must_use]
            pub const fn is_known(&self) -> bool {
                !matches!(self, Self::Unrecognised(_))
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                match text.as_str() {
                    $($text => Self::$code,)*
                    _ => Self::Unrecognised(text),
                }
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self::from(text.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(code: $name) -> Self {
                code.as_str().to_owned()
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(crate) use code_list;
