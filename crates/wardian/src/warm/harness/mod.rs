//! What a zygote runs before it is one: files that its interpreter finds by their names.

/// The native half, which Python imports as an extension module.
const NATIVE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/shared/libwardian_zygote.so"));

/// Each by its name.
pub(crate) const FILES: [(&str, &[u8]); 7] = [
    ("sitecustomize.py", include_bytes!("sitecustomize.py")),
    ("wardian_end.py", include_bytes!("wardian_end.py")),
    ("wardian_open_files.py", include_bytes!("wardian_open_files.py")),
    ("wardian_program.py", include_bytes!("wardian_program.py")),
    ("wardian_rehearsal.py", include_bytes!("wardian_rehearsal.py")),
    ("wardian_renewal.py", include_bytes!("wardian_renewal.py")),
    ("wardian_zygote.so", NATIVE),
];

/// Whether a module of this name is among them.
pub(super) fn has(module: &str) -> bool {
    FILES.iter().any(|(name, _)| name.split('.').next() == Some(module))
}

#[cfg(test)]
mod tests {
    use wardian_init::{CONTROL, MESSAGE_BYTES, Message};

    /// It cannot ask the protocol's own code.
    #[test]
    fn the_harness_has_the_numbers_of_the_protocol() {
        let harness = include_str!("sitecustomize.py");
        let ready = Message::Ready.encode()[0];
        let socket = CONTROL.fd().number();
        for line in [
            format!("SOCKET = {socket}"),
            format!("RESULT = {socket}"),
            format!("MESSAGE_BYTES = {MESSAGE_BYTES}"),
            format!("READY = ({ready}).to_bytes(8, \"little\") + bytes(MESSAGE_BYTES - 8)"),
        ] {
            assert!(harness.lines().any(|found| found == line), "{line}");
        }
    }
}
