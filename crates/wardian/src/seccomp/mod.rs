//! (interim)
#![allow(missing_docs)]
pub struct Refused {
    pub syscall: &'static str,
    pub detail: String,
    pub errno: wardian_sys::Errno,
    pub errno_name: &'static str,
    pub hint: &'static str,
}
pub fn describe(_nr: i32, _args: &[u64; 6]) -> Refused {
    Refused {
        syscall: "?",
        detail: String::new(),
        errno: wardian_sys::Errno::PERM,
        errno_name: "EPERM",
        hint: "",
    }
}
