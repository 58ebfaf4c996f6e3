//! Kafel, as far as it asks for what holds anyway: lists of calls to be refused, all of which wardian refuses.
//!
//! The list of allowed calls is wardian's own and is not made longer or shorter by a config. A config that only
//! takes away what nobody has is honoured; any other is refused, with the call that makes it so.

use crate::seccomp;

/// Why a policy is not honoured.
pub(super) fn problem(text: &str) -> Option<String> {
    read(text).err()
}

/// Reads `KILL { a, b } ERRNO(1) { c } DEFAULT ALLOW`, with or without `POLICY name { … } USE name` around it.
fn read(text: &str) -> Result<(), String> {
    let mut words = words(text)?.into_iter().peekable();
    let mut next = || words.next().unwrap_or_default();
    let mut depth = 0;
    loop {
        match next().as_str() {
            "POLICY" => {
                drop(next());
                expect(&next(), "{")?;
                depth += 1;
            }
            "}" if depth > 0 => depth -= 1,
            "," | "USE" => {}
            "DEFAULT" => {
                let default = next();
                let is_all = next().is_empty() && depth == 0;
                return match default.as_str() {
                    "ALLOW" if is_all => Ok(()),
                    "ALLOW" => Err("Kafel is read only up to `DEFAULT ALLOW`".into()),
                    _ => Err(format!("`DEFAULT {default}`: {OWN_FILTER}")),
                };
            }
            "KILL" | "KILL_PROCESS" | "KILL_THREAD" | "DENY" => calls(&mut next)?,
            action @ ("ERRNO" | "TRAP") => {
                expect(&next(), "(")?;
                let number = next();
                expect(&next(), ")")?;
                if action == "ERRNO" && !number.parse::<u16>().is_ok_and(|errno| errno > 0) {
                    return Err(format!("`ERRNO({number})` would answer that a refused call succeeded"));
                }
                calls(&mut next)?;
            }
            "" => return Err(format!("without `DEFAULT ALLOW` all calls are refused: {OWN_FILTER}")),
            // The name after `USE`; an action or a macro that is none of the above has a block or parentheses.
            word if word.chars().all(is_of_a_name) && word.chars().any(char::is_lowercase) => {}
            word => return Err(format!("`{word}`: {OWN_FILTER}")),
        }
    }
}

const OWN_FILTER: &str = "of Kafel only lists of refused calls are read; wardian's own filter applies, and refused calls are in the report";

fn expect(word: &str, expected: &str) -> Result<(), String> {
    if word == expected { Ok(()) } else { Err(format!("`{word}` where Kafel wants `{expected}`")) }
}

/// A block of names.
fn calls(next: &mut impl FnMut() -> String) -> Result<(), String> {
    expect(&next(), "{")?;
    loop {
        match next().as_str() {
            "}" => return Ok(()),
            "," => {}
            name if seccomp::is_never_allowed(name) => {}
            "" => Err("a block is not closed".to_owned())?,
            name => Err(format!("`{name}`: a config cannot take away what wardian allows; {OWN_FILTER}"))?,
        }
    }
}

fn is_of_a_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Names, numbers and single signs, without comments.
fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let end = if rest.starts_with("/*") {
            rest.find("*/").map(|at| at + 2).ok_or("a comment is not closed")?
        } else if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else {
            let end = rest.find(|c| !is_of_a_name(c)).unwrap_or(rest.len()).max(first.len_utf8());
            words.push(rest[..end].to_owned());
            end
        };
        rest = rest[end..].trim_start();
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_refused_anyway_can_be_asked_for() {
        for text in [
            "DEFAULT ALLOW",
            "KILL { ptrace, process_vm_readv } DEFAULT ALLOW",
            "KILL_PROCESS { ptrace } ERRNO(38) { io_uring_setup, io_uring_enter } DEFAULT ALLOW",
            "POLICY some { DENY { bpf }, TRAP(2) { keyctl } } USE some DEFAULT ALLOW",
            "/* why */ KILL { // what\n syslog }\nDEFAULT ALLOW\n",
        ] {
            assert_eq!(problem(text), None, "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused_by_name() {
        for (text, word) in [
            ("", "without `DEFAULT ALLOW`"),
            ("KILL { ptrace }", "without `DEFAULT ALLOW`"),
            ("ALLOW { read, write } DEFAULT KILL", "`ALLOW`"),
            ("KILL { ptrace } DEFAULT KILL", "`DEFAULT KILL`"),
            ("KILL { ptrace } DEFAULT ALLOW KILL { bpf }", "only up to"),
            ("KILL { geteuid } DEFAULT ALLOW", "`geteuid`"),
            ("KILL { no_such_call } DEFAULT ALLOW", "`no_such_call`"),
            ("KILL { ptrace DEFAULT ALLOW", "`DEFAULT`"),
            ("KILL { ptrace", "not closed"),
            ("ERRNO(0) { ptrace } DEFAULT ALLOW", "`ERRNO(0)`"),
            ("KILL { ptrace(request) { request == 0 } } DEFAULT ALLOW", "`(`"),
            ("#define N 1\nDEFAULT ALLOW", "`#`"),
            ("LOG { ptrace } DEFAULT ALLOW", "`LOG`"),
            ("/* DEFAULT ALLOW", "not closed"),
            ("POLICY a { KILL { ptrace } DEFAULT ALLOW", "only up to"),
        ] {
            let problem = problem(text).expect(text);
            assert!(problem.contains(word), "{text}: {problem}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn nothing_that_wardian_allows_is_said_to_be_refused(
            name in "read|write|openat|execve|socket|clone|mmap|ioctl|prctl|exit_group|fcntl|[a-z_0-9]{1,12}",
        ) {
            let honoured = problem(&format!("KILL {{ {name} }} DEFAULT ALLOW")).is_none();
            prop_assert_eq!(honoured, seccomp::is_never_allowed(&name));
        }

        #[test]
        fn any_text_is_read_to_an_end(text in "(KILL|ERRNO|POLICY|USE|DEFAULT|ALLOW|ptrace|[{}(),/*#]|[ a-z\n]){0,30}") {
            let _ = problem(&text);
        }
    }
}
