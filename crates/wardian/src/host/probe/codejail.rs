//! What CodeJail's users need: a program under the preset `codejail` is refused as they expect.

use super::run::{self, Outcome};
use crate::host::Host;
use crate::host::examination::Finding;
use crate::plan::Program;
use crate::policy::Level;
use crate::report::{Report, Verdict};

const ATTEMPTS: &str = "\
import errno, os, socket, sys
def attempt(name, act):
    try:
        act()
        print(name, 'done')
    except OSError as error:
        print(name, errno.errorcode.get(error.errno, '?'))
attempt('reading outside', lambda: open('/etc/passwd'))
attempt('writing', lambda: open('written', 'w'))
attempt('a socket', socket.socket)
attempt('a second program', lambda: os.execv(sys.executable, ['python', '-c', 'print()']))
";
const ATTEMPTED: usize = 4;
const LAYER: &str = "codejail";
const MEND: &str = "mend what is not well above";
const BY_NAME: &str = "mend what is not well above; or choose the weaker level by name, with CODEJAIL_LEVEL=landlock in the \
                       environment of the program that imports codejail";

/// Lets a program try; whether there is a weaker level decides what to do where it cannot run.
pub(super) fn finding(host: &Host, landlock: bool) -> Finding {
    match run::under("codejail", Level::Namespaces, Program::Code(ATTEMPTS.into()), Vec::new(), host) {
        Outcome::Ran(report) => judge(&report),
        Outcome::NotRun(failure) => {
            let fix = if landlock { BY_NAME } else { MEND };
            Finding::warn(LAYER, format!("CodeJail's interface refuses to run anything: {failure}"), fix)
        }
    }
}

fn judge(report: &Report) -> Finding {
    let answers: Vec<(&str, &str)> =
        report.stdout.text.lines().filter_map(|line| line.rsplit_once(' ')).collect();
    let of = |wanted: fn(&str) -> bool| -> Vec<&str> {
        answers.iter().filter(|(_, answer)| wanted(answer)).map(|(name, _)| *name).collect()
    };
    let open = of(|answer| answer == "done");
    if !open.is_empty() {
        let fix = "run nothing untrusted here, and report this with the output of `wardian doctor --json`";
        return Finding::fail(LAYER, format!("NOT refused: {}", open.join(", ")), fix);
    }
    let refused = of(|answer| answer == "EACCES");
    if report.verdict != Verdict::Ok || refused.len() != ATTEMPTED {
        let last = report.stderr.text.trim_end().lines().last().unwrap_or_default();
        let refused = if refused.is_empty() { "nothing".to_owned() } else { refused.join(", ") };
        let detail = format!("refused with EACCES: {refused}; {} {last}", report.message);
        let fix =
            "try `wardian run --policy codejail -c 'print(1)'`, and another interpreter with `--python`";
        return Finding::warn(LAYER, detail.trim_end().to_owned(), fix);
    }
    let detail = "needs no AppArmor, sudo, sandbox user or second virtualenv here; refused with EACCES";
    Finding::ok(LAYER, format!("{detail}: {}", refused.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Status;
    use crate::host::{Cap, Host};

    fn of(edit: impl FnOnce(&mut String)) -> Finding {
        let host = Host::detect_with(Cap::default());
        let program = Program::Code("print('a EACCES\\nb EACCES\\nc EACCES\\nd EACCES')".into());
        match run::under("python", Level::Namespaces, program, Vec::new(), &host) {
            Outcome::Ran(mut report) => {
                edit(&mut report.stdout.text);
                judge(&report)
            }
            Outcome::NotRun(failure) => panic!("{failure}"),
        }
    }

    #[test]
    fn answers_are_judged() {
        assert_eq!(of(|_| {}).status, Status::Ok);
        let open = of(|text| *text = text.replace("c EACCES", "c done"));
        assert_eq!((open.status, open.detail.as_str()), (Status::Fail, "NOT refused: c"));
        assert_eq!(of(|text| *text = text.replace("c EACCES", "c ENOENT")).status, Status::Warn);
        assert_eq!(of(String::clear).status, Status::Warn);
    }
}
