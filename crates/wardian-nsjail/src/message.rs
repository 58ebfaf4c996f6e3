//! The macro that turns a field list into a typed message which knows what was set.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, de::Error};

/// Whether a field appeared in the file.
pub(crate) trait Presence {
    /// True for a field the file names, even with its default value.
    fn is_present(&self) -> bool;
}

impl<T> Presence for Option<T> {
    fn is_present(&self) -> bool {
        self.is_some()
    }
}

impl<T> Presence for Vec<T> {
    fn is_present(&self) -> bool {
        !self.is_empty()
    }
}

/// The value of a field, or nsjail's default for it.
pub(crate) trait OrDefault<'a, T> {
    /// The value set, else `default`.
    fn or_default(&'a self, default: T) -> T;
}

impl<'a, T: Copy> OrDefault<'a, T> for Option<T> {
    fn or_default(&'a self, default: T) -> T {
        self.unwrap_or(default)
    }
}

impl<'a> OrDefault<'a, &'a str> for Option<String> {
    fn or_default(&'a self, default: &'a str) -> &'a str {
        self.as_deref().unwrap_or(default)
    }
}

/// Reads proto-JSON's form of a `bytes` field: base64 with padding.
pub(crate) fn base64_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| STANDARD.decode(text).map_err(D::Error::custom)).transpose()
}

/// Declares a message: `name: Type;` or `name: Option<Type> = default => Returned;`, which adds the
/// method `name()` that answers the value or nsjail's default.
macro_rules! message {
    (
        $(#[$meta:meta])*
        pub struct $Message:ident {
            $( $(#[$field_meta:meta])* $field:ident: $type:ty $(= $default:expr => $returned:ty)?; )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $Message {
            $( $(#[$field_meta])* pub $field: $type, )*
        }

        impl $Message {
            /// The names of all fields, in nsjail's order.
            pub const FIELDS: &[&str] = &[$( stringify!($field) ),*];

            /// The names of the fields that the file sets, whatever their value.
            pub fn set_fields(&self) -> Vec<&'static str> {
                let mut set = Vec::new();
                $( if $crate::message::Presence::is_present(&self.$field) { set.push(stringify!($field)); } )*
                set
            }

            /// The names of the fields whose value is not what nsjail takes when they are absent.
            pub fn changed_fields(&self) -> Vec<&'static str> {
                let mut changed = self.set_fields();
                $( $(
                    if self.$field() == { let default: $returned = $default; default } {
                        changed.retain(|name| *name != stringify!($field));
                    }
                )? )*
                changed
            }

            $( $(
                #[doc = concat!("`", stringify!($field), "`, or nsjail's default `", stringify!($default), "`.")]
                pub fn $field(&self) -> $returned {
                    $crate::message::OrDefault::or_default(&self.$field, $default)
                }
            )? )*
        }
    };
}

pub(crate) use message;
