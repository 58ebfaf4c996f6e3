//! Lists of a request that have an end: the smallest items take many times the memory of their text.

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

/// At most so many items.
pub(crate) fn items<'de, D, T, const MOST: usize>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    deserializer.deserialize_seq(Items::<T, MOST>(PhantomData))
}

/// At most so many names and values.
pub(crate) fn entries<'de, D, const MOST: usize>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error>
where
    D: Deserializer<'de>,
{
    deserializer.deserialize_map(Entries::<MOST>)
}

struct Items<T, const MOST: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for Items<T, MOST> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Vec<T>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = all.next_element()? {
            if items.len() == MOST {
                return Err(too_many(MOST));
            }
            items.push(item);
        }
        Ok(items)
    }
}

struct Entries<const MOST: usize>;

impl<'de, const MOST: usize> Visitor<'de> for Entries<MOST> {
    type Value = BTreeMap<String, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut all: A) -> Result<Self::Value, A::Error> {
        let mut entries = BTreeMap::new();
        while let Some((name, value)) = all.next_entry()? {
            if entries.len() == MOST {
                return Err(too_many(MOST));
            }
            entries.insert(name, value);
        }
        Ok(entries)
    }
}

fn too_many<E: Error>(most: usize) -> E {
    E::custom(format_args!("more than {most}"))
}
