//! Names made of any bytes, as text.

/// The name with `%XX` for every byte that is not part of a printable UTF-8 character, and for `%` itself, so
/// that the bytes can be had back.
pub(super) fn escape(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character == '%' || !printable(character) {
                let mut bytes = [0; 4];
                hex(&mut text, character.encode_utf8(&mut bytes).as_bytes());
            } else {
                text.push(character);
            }
        }
        hex(&mut text, chunk.invalid());
    }
    text
}

/// The bytes that a path of a report stands for.
#[must_use]
pub fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|_| *first == b'%').and_then(|digits| str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}

/// Whether a terminal shows the character as itself and leaves its neighbours where they are.
#[must_use]
pub fn printable(character: char) -> bool {
    !character.is_control()
        && !matches!(
            character,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// Text for a terminal: what is not printable is written `\u{...}`, but for line ends and tabs.
#[must_use]
pub fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if printable(character) || matches!(character, '\n' | '\t') {
            shown.push(character);
        } else {
            shown.extend(character.escape_unicode());
        }
    }
    shown
}

fn hex(text: &mut String, bytes: &[u8]) {
    let digit = |value: u8| char::from(b"0123456789ABCDEF"[usize::from(value & 0xf)]);
    for byte in bytes {
        text.extend(['%', digit(byte >> 4), digit(*byte)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_bytes_can_be_had_back(name: Vec<u8>, text: String) {
            for bytes in [name.as_slice(), text.as_bytes()] {
                let shown = escape(bytes);
                prop_assert!(shown.chars().all(printable));
                prop_assert_eq!(unescape(&shown), bytes);
            }
        }
    }

    #[test]
    fn leaves_printable_text_alone() {
        assert_eq!(escape("déjà vu/日本.png".as_bytes()), "déjà vu/日本.png");
    }

    #[test]
    fn escapes_what_is_not_printable() {
        assert_eq!(escape(b"a\nb\x1b[2J"), "a%0Ab%1B[2J");
        assert_eq!(escape(b"\xff\xc3(100%)"), "%FF%C3(100%25)");
        assert_eq!(escape("a\u{202e}gpj.exe".as_bytes()), "a%E2%80%AEgpj.exe");
    }
}
