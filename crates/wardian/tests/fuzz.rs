//! The fuzz targets' bodies over good inputs and small mutations of them, with the stable compiler.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

#[path = "../../../fuzz/bodies.rs"]
mod bodies;

/// Enough to reach every branch of the readers' errors, few enough for a second.
const MUTATIONS: u64 = 400;

const POLICY: &str = "name = \"contest\"\nextends = \"judge\"\n[limits]\nwall = \"1.5s\"\nmemory = \"128M\"\n\
    [environment.set]\nA = \"b\"\n[[files.mounts]]\ntype = \"tmpfs\"\ndst = \"/x\"\nsize = \"1M\"\n";
const SEED: &str = include_str!("../../wardian-nsjail/tests/fixtures/seed-nsjail.cfg");
const SEED_JSON: &str = include_str!("../../wardian-nsjail/tests/fixtures/seed-nsjail.json");
const SNEKBOX: &str = include_str!("../../wardian-nsjail/tests/fixtures/snekbox.cfg");
const EVERY_FORM: &str = include_str!("../../wardian-nsjail/tests/fixtures/every-form.cfg");

/// A generator that needs no seed from outside: a failure is found again.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        // Marsaglia's xorshift.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % (end.max(1) as u64)).unwrap_or(0)
    }

    fn mutated(&mut self, from: &[u8]) -> Vec<u8> {
        const WORDS: [&[u8]; 12] = [
            b"-1",
            b"0",
            b"99999999999999999999",
            b"\0",
            b"{",
            b"}",
            b"\"",
            b"..",
            b"/",
            b"\xff",
            b"=",
            b"1e309",
        ];
        let mut data = from.to_vec();
        for _ in 0..=self.below(3) {
            let at = self.below(data.len());
            match self.below(5) {
                0 => data.truncate(at),
                1 if !data.is_empty() => data[at] ^= 1 << self.below(8),
                2 => drop(data.splice(at..at, WORDS[self.below(WORDS.len())].iter().copied())),
                3 => drop(data.drain(at..(at + self.below(16)).min(data.len()))),
                _ => {
                    let part: Vec<u8> = data[at..(at + self.below(64)).min(data.len())].to_vec();
                    let to = self.below(data.len());
                    drop(data.splice(to..to, part));
                }
            }
        }
        data
    }
}

fn run(body: fn(&[u8]), corpus: &[&str]) {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    for seed in corpus {
        body(seed.as_bytes());
        for _ in 0..MUTATIONS {
            body(&random.mutated(seed.as_bytes()));
        }
    }
}

#[test]
fn units() {
    run(bodies::units, &["256M", "1.5 GiB", "500ms", "0.25", "1_000us"]);
}

#[test]
fn policies() {
    run(bodies::policy, &[POLICY, "", include_str!("../src/policy/presets/python.toml")]);
}

#[test]
fn nsjail_configs() {
    run(bodies::nsjail, &[SEED, SEED_JSON, SNEKBOX, EVERY_FORM]);
}

#[test]
fn mounts() {
    run(bodies::mount, &["src=/data,dst=/in,rw", "/data:/in:ro", "a:/b"]);
}

#[test]
fn safeexec_options() {
    run(bodies::safeexec, &["--cpu\n6\n--mem\n250000\n--env_vars\nA=B\n--exec\n/bin/true\nx"]);
}

#[test]
fn globs() {
    run(bodies::globs, &["*.png\nout/**", "[a-z]?\n{a,b}*"]);
}
