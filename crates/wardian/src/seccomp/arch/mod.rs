//! The architectures we know: their names for the kernel, and their system calls.

mod aarch64;
mod x86_64;

use serde::Serialize;

/// A processor architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Arch {
    /// x86-64, without x32.
    #[serde(rename = "x86_64")]
    X86_64,
    /// 64-bit Arm, little-endian.
    #[serde(rename = "aarch64")]
    Aarch64,
}

impl Arch {
    /// Every architecture.
    pub const ALL: [Self; 2] = [Self::X86_64, Self::Aarch64];

    /// The one this program was built for.
    #[cfg(target_arch = "x86_64")]
    pub const fn current() -> Self {
        Self::X86_64
    }

    /// The one this program was built for.
    #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
    pub const fn current() -> Self {
        Self::Aarch64
    }

    /// `AUDIT_ARCH_*` (`linux/audit.h`): the ELF machine, 64 bits, little-endian.
    pub const fn audit(self) -> u32 {
        match self {
            Self::X86_64 => 0xc000_003e,
            Self::Aarch64 => 0xc000_00b7,
        }
    }

    /// The bit that marks a call of another ABI which shares [`Arch::audit`]: x32 on x86-64.
    pub(super) const fn foreign_bit(self) -> Option<u32> {
        match self {
            Self::X86_64 => Some(0x4000_0000),
            Self::Aarch64 => None,
        }
    }

    /// Every system call: name and number, in the order of the numbers.
    pub(super) const fn calls(self) -> &'static [(&'static str, u32)] {
        match self {
            Self::X86_64 => x86_64::CALLS,
            Self::Aarch64 => aarch64::CALLS,
        }
    }
}

/// The name of a system call.
pub fn name_of(nr: u32, arch: Arch) -> Option<&'static str> {
    let calls = arch.calls();
    let at = calls.binary_search_by_key(&nr, |&(_, number)| number).ok()?;
    calls.get(at).map(|&(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_ascend_and_names_are_not_repeated() {
        for arch in Arch::ALL {
            let calls = arch.calls();
            assert!(calls.is_sorted_by(|a, b| a.1 < b.1), "{arch:?}");
            let names: std::collections::BTreeSet<_> = calls.iter().map(|call| call.0).collect();
            assert_eq!(names.len(), calls.len(), "{arch:?}");
        }
    }

    #[test]
    fn well_known_numbers() {
        assert_eq!(name_of(59, Arch::X86_64), Some("execve"));
        assert_eq!(name_of(221, Arch::Aarch64), Some("execve"));
        assert_eq!(name_of(435, Arch::X86_64), Some("clone3"));
        assert_eq!(name_of(435, Arch::Aarch64), Some("clone3"));
        assert_eq!(name_of(9999, Arch::X86_64), None);
    }
}
