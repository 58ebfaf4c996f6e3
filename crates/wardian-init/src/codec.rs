//! The plan's byte format: little-endian numbers, length-prefixed bytes, NUL-terminated strings.
//!
//! Both halves are here so that they cannot drift apart. The bytes are made by the supervisor for a helper it
//! embeds: there are no versions, and a plan that does not decode is a defect, answered by `EPROTO`.

use core::ffi::CStr;

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

/// A counted list in encoded form: decoded again each time it is walked, so nothing has to be stored.
#[derive(Clone)]
pub struct List<'a> {
    count: u32,
    reader: Reader<'a>,
}

impl<'a> List<'a> {
    /// A list is its encoded size, its count, then the items.
    pub(crate) fn read(reader: &mut Reader<'a>) -> Option<List<'a>> {
        let mut inner = Reader::new(reader.bytes()?);
        let count = inner.u32()?;
        Some(List { count, reader: inner })
    }

    /// `count` items that are encoded already.
    #[cfg(feature = "supervisor")]
    pub(crate) fn of(count: u32, items: &'a [u8]) -> List<'a> {
        List { count, reader: Reader::new(items) }
    }

    pub(crate) fn len(&self) -> usize {
        usize::try_from(self.count).unwrap_or(usize::MAX)
    }

    /// Decodes item after item; stops early at one that does not decode.
    pub(crate) fn iter<T, F>(&self, decode: F) -> impl Iterator<Item = T> + use<'a, T, F>
    where
        F: Fn(&mut Reader<'a>) -> Option<T>,
    {
        let mut reader = self.reader.clone();
        let mut left = self.count;
        core::iter::from_fn(move || {
            if left == 0 || reader.is_empty() {
                return None;
            }
            left -= 1;
            decode(&mut reader)
        })
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
