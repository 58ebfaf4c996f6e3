//! Media types: by content, else by name for text formats. The guest decides both, so they are only hints.

/// Bytes of a file's beginning that [`guess`] wants.
pub(super) const HEAD: usize = 8192;

const UNKNOWN: &str = "application/octet-stream";

/// Formats without a signature of their own, by extension.
const TEXTS: [(&str, &str); 22] = [
    ("c", "text/x-c"),
    ("css", "text/css"),
    ("csv", "text/csv"),
    ("geojson", "application/geo+json"),
    ("htm", "text/html"),
    ("html", "text/html"),
    ("ini", "text/plain"),
    ("ipynb", "application/x-ipynb+json"),
    ("js", "text/javascript"),
    ("json", "application/json"),
    ("jsonl", "application/jsonl"),
    ("log", "text/plain"),
    ("md", "text/markdown"),
    ("py", "text/x-python"),
    ("rst", "text/x-rst"),
    ("svg", "image/svg+xml"),
    ("tex", "text/x-tex"),
    ("toml", "application/toml"),
    ("tsv", "text/tab-separated-values"),
    ("txt", "text/plain"),
    ("xml", "application/xml"),
    ("yaml", "application/yaml"),
];

/// The media type of a file with this name and beginning.
pub(super) fn guess(path: &[u8], head: &[u8]) -> &'static str {
    let by_name = by_extension(path).filter(|_| !head.contains(&0));
    match infer::get(head) {
        // The signatures of text formats are weaker than names: an SVG picture is XML, too.
        Some(kind) if kind.matcher_type() != infer::MatcherType::Text => kind.mime_type(),
        Some(kind) => by_name.unwrap_or(kind.mime_type()),
        None => by_name.unwrap_or(UNKNOWN),
    }
}

fn by_extension(path: &[u8]) -> Option<&'static str> {
    let dot = path.iter().rposition(|byte| *byte == b'.')?;
    let extension = path.get(dot + 1..)?.to_ascii_lowercase();
    TEXTS.iter().find(|(text, _)| text.as_bytes() == extension).map(|(_, mime)| *mime)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Beginnings after which formats are read further, lengths and offsets included.
    const DEEPER: [&[u8]; 9] = [
        b"",
        b"PK\x03\x04",
        b"PK\x03\x04______________\xff\xff\xff\xff________[Content_Types].xml",
        b"\x50\x2a\x4d\x18",
        b"\xff\xff\xff\xffftyp",
        b"\xca\xfe\xba\xbe",
        b"dey\n036\0",
        b" \t<!DOCTYPE HTML",
        b"\xef\xbb\xbf\xff\xfe<?xml",
    ];

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// A panic here would be the guest's way to end us before the report.
        #[test]
        fn no_content_is_too_strange(start in 0..DEEPER.len(), rest: Vec<u8>, end in 0..200usize, name: Vec<u8>) {
            let content = [DEEPER[start], &rest, DEEPER[start]].concat();
            let cut = &content[..end.min(content.len())];
            prop_assert!(guess(&name, cut).contains('/') && guess(&name, &content).contains('/'));
        }
    }

    #[test]
    fn content_decides_and_names_help_with_text() {
        let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
        assert_eq!(guess(b"plot.png", png), "image/png");
        assert_eq!(guess(b"plot.txt", png), "image/png");
        assert_eq!(guess(b"a/b.CSV", b"1,2\n"), "text/csv");
        assert_eq!(guess(b"a.svg", b"<?xml version=\"1.0\"?><svg/>"), "image/svg+xml");
        assert_eq!(guess(b"a.json", b""), "application/json");
    }

    #[test]
    fn anything_else_is_bytes() {
        assert_eq!(guess(b"a.txt", b"\0\x01\x02"), UNKNOWN);
        assert_eq!(guess(b"\xff", b"text"), UNKNOWN);
        assert_eq!(guess(b"a.png", b"no picture"), UNKNOWN);
    }
}
