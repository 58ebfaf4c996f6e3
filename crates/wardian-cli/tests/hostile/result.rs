//! The result channel: bounded JSON on descriptor 3, the guest's own word, and nothing else.

use crate::harness::{Outcome, Run};

fn run(code: &str) -> Outcome {
    Run::new(format!("import os\n{code}")).flag("--result").option("--result-size", "64K").run().expect("ok")
}

fn is_missing(code: &str, why: &str) {
    let outcome = run(code);
    assert_eq!(outcome.text("result_missing"), why);
    assert!(outcome.report.get("result").is_none());
}

#[test]
fn a_value_arrives_whatever_else_is_written() {
    let outcome = run("os.write(3, b'{\"a\": [1')\nprint('noise')\nos.write(3, b', 2]}')");
    assert_eq!(outcome.get("result").to_string(), r#"{"a":[1,2]}"#);
    assert!(outcome.report.get("result_missing").is_none());
    assert_eq!(outcome.stdout(), "noise\n");
}

#[test]
fn what_is_no_bounded_json_is_named_and_not_carried() {
    is_missing("", "not_written");
    is_missing("os.write(3, b'[NaN]')", "not_json");
    is_missing("os.write(3, b'1'); os.write(3, b' 2')", "not_json");
    is_missing("os.write(3, b'\"\\xff\"')", "not_json");
    is_missing("os.write(3, b'[' * 200 + b']' * 200)", "too_deep");
    is_missing("os.write(3, b'1' * 60000); os.write(3, b'1' * 60000)", "too_large");
}

#[test]
fn a_flood_of_results_neither_blocks_nor_grows() {
    let code = "for _ in range(1000): os.write(3, b'[1]' * 100000)";
    let outcome = run(code);
    assert_eq!(outcome.text("result_missing"), "too_large");
    assert!(outcome.own_memory < 32 << 20, "{} bytes", outcome.own_memory);
}

#[test]
fn a_child_that_keeps_it_open_holds_nothing_up() {
    let outcome = run("import time\nif not os.fork(): time.sleep(30)\nos.write(3, b'7')");
    assert_eq!(outcome.get("result").to_string(), "7");
    assert!(outcome.elapsed.as_secs() < 10, "{:?}", outcome.elapsed);
}

#[test]
fn it_is_only_there_when_it_is_granted() {
    let outcome = Run::new("import os\nos.write(3, b'7')").run().expect("nonzero_exit");
    assert!(outcome.report.get("result").is_none() && outcome.report.get("result_missing").is_none());
}

#[test]
fn a_policy_that_executes_once_has_it_too() {
    let outcome =
        Run::new("import os\nos.write(3, b'7')").policy("codejail").times("20s").flag("--result").run();
    assert_eq!(outcome.expect("ok").get("result").to_string(), "7");
}
