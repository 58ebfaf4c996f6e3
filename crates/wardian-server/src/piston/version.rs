//! Ranges of versions, as npm writes them: `*`, `3`, `3.x`, `3.12`, `^3.8`, `~3.10`, `>=3.8 <3.12`, `3.8 - 3.11`,
//! `3.8 || 3.11`.

type Version = [u32; 3];

/// Whether a version is in a range; what is no range contains nothing, nor does one longer than npm's versions may be.
pub(super) fn is_in(version: &str, range: &str) -> bool {
    const LONGEST: usize = 256;
    if range.len() > LONGEST {
        return false;
    }
    let Some((version, 3)) = numbers(version) else { return false };
    range.split("||").any(|all| match all.split_once(" - ") {
        Some((from, to)) => {
            let (from, to) = (from.trim(), to.trim());
            fits(version, &format!(">={from}")) && fits(version, &format!("<={to}"))
        }
        None => {
            let all = OPERATORS.iter().fold(all.to_owned(), |all, operator| {
                // An operator belongs to what follows it.
                all.split(operator).map(str::trim_start).collect::<Vec<_>>().join(operator)
            });
            let mut words = all.split_whitespace().peekable();
            words.peek().is_some() && words.all(|word| fits(version, word))
        }
    })
}

const OPERATORS: [&str; 7] = [">=", "<=", ">", "<", "^", "~", "="];

fn fits(version: Version, word: &str) -> bool {
    let operator = OPERATORS.into_iter().find(|operator| word.starts_with(operator)).unwrap_or("");
    let Some((bound, given)) = word.strip_prefix(operator).and_then(numbers) else { return false };
    let end = |kept: usize| {
        let mut end = [0; 3];
        let parts = end.iter_mut().zip(bound).enumerate();
        parts
            .filter(|(at, _)| *at < kept)
            .for_each(|(at, (end, part))| *end = part + u32::from(at + 1 == kept));
        end
    };
    // What a short bound leaves open.
    let next = if given == 0 { [u32::MAX; 3] } else { end(given) };
    match operator {
        ">=" => version >= bound,
        "<=" => version < next || version == bound,
        ">" => version >= next,
        "<" => version < bound,
        "^" => version >= bound && version < if given == 0 { next } else { end(1) },
        "~" => version >= bound && version < if given == 0 { next } else { end(given.min(2)) },
        _ => version >= bound && version < next,
    }
}

/// The numbers of a version and how many there are; `x` and `*` end it.
fn numbers(text: &str) -> Option<(Version, usize)> {
    let mut version = [0; 3];
    let mut given = 0;
    let text = text.trim().trim_start_matches('v');
    for part in text.split('.') {
        if matches!(part, "x" | "X" | "*") {
            return Some((version, given));
        }
        // Within bounds that one can be added to.
        *version.get_mut(given)? = part.parse().ok().filter(|number| *number < 1_000_000)?;
        given += 1;
    }
    Some((version, given))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_npms() {
        for range in [
            "*",
            "3",
            "3.x",
            "3.11",
            "3.11.x",
            "3.11.2",
            "=3.11.2",
            "^3.8",
            "^3.8.1",
            "~3.11",
            "~3.11.1",
            ">=3.8 <3.12",
            "3.8 || 3.11",
            ">3.10",
            "<=3.11",
            "v3.11",
            ">= 3.8 < 3.12",
            "~ 3.11",
            "3.8 - 3.11",
            "3.11.2 - 4",
        ] {
            assert!(is_in("3.11.2", range), "{range}");
        }
        for range in [
            "",
            "2",
            "3.1",
            "3.11.1",
            "^4",
            "~3.10",
            ">=3.12",
            "<3.11",
            ">3.11",
            "3.10 || 3.12",
            "latest",
            "3.11.2.1",
            "<=3.10",
            ">= 3.12",
            "3.8 - 3.10",
            "3.12 - 4",
            "3.8 -",
        ] {
            assert!(!is_in("3.11.2", range), "{range}");
        }
        assert!(is_in("3.11.2", &"3||".repeat(85)) && !is_in("3.11.2", &"3||".repeat(86)));
    }
}
