//! The plan's byte format: little-endian numbers, length-prefixed bytes, NUL-terminated strings.
//!
//! Both halves are here so that they cannot drift apart. The bytes are made by the supervisor for a helper it
//! embeds: there are no versions, and a plan that does not decode is a defect, answered by `EPROTO`.

use core::ffi::CStr;
use core::marker::PhantomData;

/// Takes values off the front of encoded bytes; `None` when they end too early or are not of the shape.
#[derive(Clone)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Reader { bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(len)?;
        self.bytes = rest;
        Some(taken)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    pub(crate) fn flag(&mut self) -> Option<bool> {
        self.u8().map(|byte| byte != 0)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    pub(crate) fn i32(&mut self) -> Option<i32> {
        self.u32().map(u32::cast_signed)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = self.u32()?;
        self.take(usize::try_from(len).ok()?)
    }

    pub(crate) fn string(&mut self) -> Option<&'a CStr> {
        CStr::from_bytes_with_nul(self.bytes()?).ok()
    }
}

/// What a list can be made of.
pub(crate) trait Decode<'a>: Sized {
    /// Takes one off the front.
    fn decode(reader: &mut Reader<'a>) -> Option<Self>;
}

impl Decode<'_> for u64 {
    fn decode(reader: &mut Reader<'_>) -> Option<u64> {
        reader.u64()
    }
}

impl<'a> Decode<'a> for &'a CStr {
    fn decode(reader: &mut Reader<'a>) -> Option<&'a CStr> {
        reader.string()
    }
}

/// A counted list in encoded form: decoded again each time it is walked, so nothing has to be stored.
#[derive(Clone)]
pub struct List<'a, T> {
    count: u32,
    reader: Reader<'a>,
    items: PhantomData<T>,
}

#[allow(private_bounds, reason = "what a list is made of is decided here")]
impl<'a, T: Decode<'a>> List<'a, T> {
    /// A list is its encoded size, its count, then the items; `None` unless it is all there: one that ended early where an item
    /// does not decode would be a plan without what follows.
    pub(crate) fn read(reader: &mut Reader<'a>) -> Option<List<'a, T>> {
        let mut inner = Reader::new(reader.bytes()?);
        let list = List { count: inner.u32()?, reader: inner.clone(), items: PhantomData };
        for _ in 0..list.count {
            T::decode(&mut inner)?;
        }
        inner.is_empty().then_some(list)
    }

    /// `count` items that are encoded already.
    #[cfg(feature = "supervisor")]
    pub(crate) fn of(count: u32, items: &'a [u8]) -> List<'a, T> {
        List { count, reader: Reader::new(items), items: PhantomData }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        usize::try_from(self.count).unwrap_or(usize::MAX)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Each item, in order.
    pub fn iter(&self) -> impl Iterator<Item = T> + use<'a, T> {
        let mut reader = self.reader.clone();
        (0..self.count).map_while(move |_| T::decode(&mut reader))
    }
}

#[cfg(feature = "supervisor")]
pub(crate) mod write {
    use alloc::vec::Vec;
    use core::ffi::CStr;

    /// Appends values in the form that `Reader` takes them off.
    #[derive(Default)]
    pub(crate) struct Writer {
        pub(crate) bytes: Vec<u8>,
    }

    impl Writer {
        pub(crate) fn u8(&mut self, value: u8) -> &mut Self {
            self.bytes.push(value);
            self
        }

        pub(crate) fn flag(&mut self, value: bool) -> &mut Self {
            self.u8(u8::from(value))
        }

        pub(crate) fn u32(&mut self, value: u32) -> &mut Self {
            self.bytes.extend_from_slice(&value.to_le_bytes());
            self
        }

        pub(crate) fn i32(&mut self, value: i32) -> &mut Self {
            self.u32(value.cast_unsigned())
        }

        pub(crate) fn u64(&mut self, value: u64) -> &mut Self {
            self.bytes.extend_from_slice(&value.to_le_bytes());
            self
        }

        /// # Panics
        /// If `value` is 4 GiB or longer; a plan is bounded far below that.
        pub(crate) fn bytes(&mut self, value: &[u8]) -> &mut Self {
            self.u32(u32::try_from(value.len()).expect("plans are bounded far below 4 GiB"));
            self.bytes.extend_from_slice(value);
            self
        }

        pub(crate) fn string(&mut self, value: &CStr) -> &mut Self {
            self.bytes(value.to_bytes_with_nul())
        }

        pub(crate) fn list<T>(&mut self, items: &[T], mut encode: impl FnMut(&mut Writer, &T)) -> &mut Self {
            let mut inner = Writer::default();
            for item in items {
                encode(&mut inner, item);
            }
            let count = u32::try_from(items.len()).expect("plans are bounded far below 4 Gi items");
            self.list_of(count, &inner.bytes)
        }

        /// A list whose items are encoded already.
        pub(crate) fn list_of(&mut self, count: u32, items: &[u8]) -> &mut Self {
            let len = u32::try_from(items.len() + 4).expect("plans are bounded far below 4 GiB");
            self.u32(len).u32(count).bytes.extend_from_slice(items);
            self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    #[test]
    fn a_list_is_read_whole_or_not_at_all() {
        let encoded = |count: u32, items: &[u64], more: &[u8]| {
            let items: Vec<u8> = items.iter().flat_map(|item| item.to_le_bytes()).collect();
            let inner = [&count.to_le_bytes()[..], &items, more].concat();
            [&u32::try_from(inner.len()).unwrap().to_le_bytes()[..], &inner].concat()
        };
        let read = |bytes: &[u8]| {
            List::<u64>::read(&mut Reader::new(bytes)).map(|list| list.iter().collect::<Vec<_>>())
        };
        assert_eq!(read(&encoded(2, &[7, 8], b"")), Some(vec![7, 8]));
        assert_eq!(read(&encoded(0, &[], b"")), Some(vec![]));
        assert_eq!(read(&encoded(3, &[7, 8], b"")), None, "one is missing");
        assert_eq!(read(&encoded(3, &[7, 8], b"half")), None, "one is cut short");
        assert_eq!(read(&encoded(1, &[7, 8], b"")), None, "one is left over");
    }
}
