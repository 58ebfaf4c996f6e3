//! Bytes as Python shows them.

/// `repr()` of a `bytes` object.
pub(super) fn bytes(bytes: &[u8]) -> String {
    let quote = if bytes.contains(&b'\'') && !bytes.contains(&b'"') { '"' } else { '\'' };
    let mut text = String::with_capacity(bytes.len() + 3);
    text.extend(['b', quote]);
    for byte in bytes.iter().copied() {
        match byte {
            b'\t' => text.push_str("\\t"),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\\' => text.push_str("\\\\"),
            _ if char::from(byte) == quote => text.extend(['\\', quote]),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text.push(quote);
    text
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn bytes_look_as_in_python() {
        for (given, shown) in [
            (&b""[..], "b''"),
            (b"a b", "b'a b'"),
            (b"it's", "b\"it's\""),
            (b"it's \"so\"", "b'it\\'s \"so\"'"),
            (b"\t\n\r\\\0\x7f\xff", r"b'\t\n\r\\\x00\x7f\xff'"),
        ] {
            assert_eq!(bytes(given), shown);
        }
    }
}
