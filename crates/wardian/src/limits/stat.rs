//! `/proc/<pid>/stat`, whose second field is chosen by the program it describes.

/// What we use of it; see `proc_pid_stat(5)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) pid: u32,
    /// `Z` and `X`: it has ended.
    pub(crate) state: u8,
    pub(crate) parent: u32,
    /// `utime + stime` of all its threads, in clock ticks.
    pub(crate) own_ticks: u64,
    /// `cutime + cstime`: of descendants that were waited for, in clock ticks.
    pub(crate) waited_ticks: u64,
    pub(crate) threads: u64,
    /// In clock ticks since boot: tells two processes with one pid apart.
    pub(crate) start: u64,
}

impl Stat {
    /// A program may put `) ` and line breaks into its name; no later field can hold a parenthesis, so the
    /// last one ends the name.
    pub(crate) fn parse(text: &[u8]) -> Option<Stat> {
        let open = text.iter().position(|byte| *byte == b'(')?;
        let close = text.iter().rposition(|byte| *byte == b')')?;
        let pid = std::str::from_utf8(text.get(..open)?).ok()?.trim().parse().ok()?;
        let rest = std::str::from_utf8(text.get(close + 1..)?).ok()?;
        let mut fields = [""; 20];
        let mut words = rest.split_ascii_whitespace();
        for field in &mut fields {
            *field = words.next()?;
        }
        // The first of `fields` is the third of the file.
        let number = |place: usize| -> Option<u64> { fields[place - 3].parse().ok() };
        Some(Stat {
            pid,
            state: *fields[0].as_bytes().first()?,
            parent: fields[1].parse().ok()?,
            own_ticks: number(14)?.saturating_add(number(15)?),
            // Signed in the kernel's format, never negative.
            waited_ticks: number(16)?.saturating_add(number(17)?),
            threads: number(20)?,
            start: number(22)?,
        })
    }

    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str) -> Vec<u8> {
        format!("42 ({name}) S 7 42 42 0 -1 4194304 100 0 0 0 5 6 7 8 20 0 3 0 9999 1 2 3\n").into_bytes()
    }

    #[test]
    fn the_name_decides_nothing() {
        let names = [
            "python3",
            "a b",
            ") Z 1 1 1",
            "(((",
            "x) R 0 0 0 0 0 0 0 0 0 0 9",
            "two\nlines)\n1 (x) Z 1",
            "",
        ];
        for name in names {
            let stat = Stat::parse(&line(name)).unwrap_or_else(|| panic!("{name:?}"));
            let expected = Stat {
                pid: 42,
                state: b'S',
                parent: 7,
                own_ticks: 11,
                waited_ticks: 15,
                threads: 3,
                start: 9999,
            };
            assert_eq!(stat, expected, "{name:?}");
            assert!(!stat.has_ended());
        }
        let mut bytes = line("x");
        bytes[4] = 0xff;
        assert!(Stat::parse(&bytes).is_some());
    }

    #[test]
    fn what_is_cut_short_is_refused() {
        let whole = line("name");
        let start = whole.iter().position(|byte| *byte == b'9').unwrap();
        for end in 0..start {
            assert_eq!(Stat::parse(&whole[..end]), None, "{end}");
        }
    }

    #[test]
    fn the_kernel_writes_it_so() {
        let text = std::fs::read("/proc/self/stat").unwrap();
        assert_eq!(Stat::parse(&text).unwrap().pid, std::process::id());
    }
}
