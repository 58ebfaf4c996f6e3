//! Sizes and times as people write them.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// Why a size or a time was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnitError {
    /// Not a number with an optional unit.
    #[error("`{text}` is not a {what}; write for example {example}")]
    Malformed {
        /// What was given.
        text: String,
        /// "size" or "time".
        what: &'static str,
        /// A good one.
        example: &'static str,
    },
    /// Below zero.
    #[error("`{0}` is negative")]
    Negative(String),
    /// Beyond what the kernel can count.
    #[error("`{0}` is too large")]
    TooLarge(String),
}

/// A number of bytes. Written as a plain number, or with `K`, `M`, `G`, `T` (powers of 1024; `KiB`, `MB` … mean
/// the same).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Bytes(pub u64);

/// A length of time with microsecond resolution. Written as seconds (`2`, `0.5`), or with `us`, `ms`, `s`, `m`, `h`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Duration(u64);

const MAX_BYTES: u64 = 1 << 60;
/// A year; a limit beyond it is a mistake.
const MAX_MICROS: u64 = 366 * 24 * 3600 * 1_000_000;

impl Duration {
    /// So many microseconds.
    pub const fn from_micros(micros: u64) -> Duration {
        Duration(micros)
    }

    /// So many seconds.
    pub const fn from_secs(secs: u64) -> Duration {
        Duration(secs.saturating_mul(1_000_000))
    }

    /// In microseconds.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// As the standard library's type.
    pub const fn as_std(self) -> std::time::Duration {
        std::time::Duration::from_micros(self.0)
    }
}

/// Splits `12.5ms` into `12.5` and `ms`.
fn split_unit(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '_')).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim())
}

/// `number × scale`, exact for whole numbers, to the nearest unit for fractions.
fn scaled(text: &str, number: &str, scale: u64, max: u64, malformed: UnitError) -> Result<u64, UnitError> {
    let digits: String = number.chars().filter(|c| *c != '_').collect();
    let (whole, fraction) = digits.split_once('.').unwrap_or((&digits, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return Err(malformed);
    }
    let parse = |part: &str| {
        if part.is_empty() {
            Ok(0)
        } else {
            part.parse::<u128>().map_err(|_| UnitError::TooLarge(text.into()))
        }
    };
    let fraction = fraction.get(..fraction.len().min(9)).unwrap_or(fraction);
    let parts = u128::pow(10, u32::try_from(fraction.len()).unwrap_or(0));
    let scale = u128::from(scale);
    let value = parse(whole)?.saturating_mul(scale).saturating_add(parse(fraction)? * scale / parts);
    u64::try_from(value).ok().filter(|value| *value <= max).ok_or_else(|| UnitError::TooLarge(text.into()))
}

impl FromStr for Bytes {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Bytes, UnitError> {
        let malformed =
            || UnitError::Malformed { text: text.into(), what: "size", example: "256M or 1048576" };
        if text.trim_start().starts_with('-') {
            return Err(UnitError::Negative(text.into()));
        }
        let (number, unit) = split_unit(text);
        let scale = match unit.to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kb" | "kib" => 1 << 10,
            "m" | "mb" | "mib" => 1 << 20,
            "g" | "gb" | "gib" => 1 << 30,
            "t" | "tb" | "tib" => 1 << 40,
            _ => return Err(malformed()),
        };
        // Half a byte: a unit was forgotten.
        if scale == 1 && number.contains('.') {
            return Err(malformed());
        }
        scaled(text, number, scale, MAX_BYTES, malformed()).map(Bytes)
    }
}

impl FromStr for Duration {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Duration, UnitError> {
        let malformed =
            || UnitError::Malformed { text: text.into(), what: "time", example: "2s, 500ms or 1.5" };
        if text.trim_start().starts_with('-') {
            return Err(UnitError::Negative(text.into()));
        }
        let (number, unit) = split_unit(text);
        let scale = match unit {
            "us" | "µs" => 1,
            "ms" => 1_000,
            "" | "s" | "sec" => 1_000_000,
            "m" | "min" => 60_000_000,
            "h" => 3_600_000_000,
            _ => return Err(malformed()),
        };
        scaled(text, number, scale, MAX_MICROS, malformed()).map(Duration)
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, scale) in [("T", 1u64 << 40), ("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)] {
            if self.0 >= scale && self.0.is_multiple_of(scale) {
                return write!(f, "{}{unit}", self.0 / scale);
            }
        }
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            us if us.is_multiple_of(1_000_000) => write!(f, "{}s", us / 1_000_000),
            us if us.is_multiple_of(1_000) => write!(f, "{}ms", us / 1_000),
            us => write!(f, "{us}us"),
        }
    }
}

/// Both types read a number or a string, and write a string that they read back.
macro_rules! number_or_string {
    ($type:ident, $what:literal, $pattern:literal) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$type, D::Error> {
                struct NumberOrString;
                impl Visitor<'_> for NumberOrString {
                    type Value = $type;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($what)
                    }

                    fn visit_i64<E: de::Error>(self, n: i64) -> Result<$type, E> {
                        n.to_string().parse().map_err(E::custom)
                    }

                    fn visit_u64<E: de::Error>(self, n: u64) -> Result<$type, E> {
                        n.to_string().parse().map_err(E::custom)
                    }

                    fn visit_f64<E: de::Error>(self, n: f64) -> Result<$type, E> {
                        format!("{n}").parse().map_err(E::custom)
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_any(NumberOrString)
            }
        }

        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "description": $what,
                    "anyOf": [{ "type": "number", "minimum": 0 }, { "type": "string", "pattern": $pattern }]
                })
            }
        }
    };
}

number_or_string!(
    Bytes,
    "a size: bytes as a number, or text like \"256M\"",
    "^[0-9._]+ ?([KMGTkmgt]([iI]?[bB])?|[bB])?$"
);
number_or_string!(
    Duration,
    "a time: seconds as a number, or text like \"500ms\"",
    "^[0-9._]+ ?(us|µs|ms|s|sec|m|min|h)?$"
);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_binary() {
        for (text, bytes) in
            [("0", 0), ("17", 17), ("1K", 1024), ("1.5M", 1_572_864), ("2GiB", 2 << 30), ("10 mb", 10 << 20)]
        {
            assert_eq!(text.parse(), Ok(Bytes(bytes)), "{text}");
        }
    }

    #[test]
    fn times_are_seconds_unless_told() {
        for (text, us) in
            [("2", 2_000_000), ("0.25", 250_000), ("500ms", 500_000), ("1m", 60_000_000), ("7us", 7)]
        {
            assert_eq!(text.parse(), Ok(Duration(us)), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "x", "1X", ".", "1..2", "1e3", "nan", "inf", "--1"] {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
            assert!(text.parse::<Duration>().is_err(), "{text}");
        }
        assert!(matches!("1.5".parse::<Bytes>(), Err(UnitError::Malformed { .. })));
        assert_eq!("-1".parse::<Bytes>(), Err(UnitError::Negative("-1".into())));
        assert_eq!("99999999T".parse::<Bytes>(), Err(UnitError::TooLarge("99999999T".into())));
        assert!(matches!(
            "340282366920938463463374607431768211456".parse::<Bytes>(),
            Err(UnitError::TooLarge(_))
        ));
    }

    #[test]
    fn what_is_written_reads_back() {
        for n in [0, 1, 1023, 1024, 1536, 1 << 20, (1 << 30) + 1] {
            assert_eq!(Bytes(n).to_string().parse(), Ok(Bytes(n)));
            assert_eq!(Duration(n).to_string().parse(), Ok(Duration(n)));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_value_reads_back(n in 0..=MAX_BYTES, micros in 0..=MAX_MICROS) {
            prop_assert_eq!(Bytes(n).to_string().parse(), Ok(Bytes(n)));
            prop_assert_eq!(Duration(micros).to_string().parse(), Ok(Duration(micros)));
        }

        #[test]
        fn any_text_is_a_value_or_an_error(text in "[-0-9._ ]{0,40}[a-zA-Zµ]{0,4}|.{0,20}") {
            if let Ok(Bytes(n)) = text.parse() {
                prop_assert!(n <= MAX_BYTES);
            }
            if let Ok(Duration(micros)) = text.parse() {
                prop_assert!(micros <= MAX_MICROS);
            }
        }

        #[test]
        fn more_is_more(a in 0u32..1 << 29, b in 0u32..1 << 29, tenths in 0u32..10, unit in "[KMG]") {
            let bytes = |n: u32| format!("{n}.{tenths}{unit}").parse::<Bytes>().unwrap();
            prop_assert_eq!(bytes(a).cmp(&bytes(b)), a.cmp(&b));
        }
    }
}
