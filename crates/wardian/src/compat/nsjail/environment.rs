//! nsjail's environment: cleared unless `keep_env`, then `envar` in order, the last one of a name winning.

use std::collections::BTreeMap;

use wardian_nsjail::NsjailConfig;

/// Where a variable's value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The config file says it.
    Set(String),
    /// The caller's variable of that name; unset if the caller has none.
    Caller,
}

/// The variables of the program by name. `caller` are the names the caller has, which only `keep_env` needs.
pub fn environment<'a>(
    config: &NsjailConfig,
    caller: impl IntoIterator<Item = &'a str>,
) -> BTreeMap<String, Origin> {
    let kept = if config.keep_env() { Some(caller) } else { None };
    let mut variables: BTreeMap<_, _> =
        kept.into_iter().flatten().map(|name| (name.to_owned(), Origin::Caller)).collect();
    for envar in &config.envar {
        match envar.split_once('=') {
            Some((name, value)) => variables.insert(name.to_owned(), Origin::Set(value.to_owned())),
            None => variables.insert(envar.clone(), Origin::Caller),
        };
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::*;
    use wardian_nsjail::parse;

    #[test]
    fn the_callers_environment_is_cleared_unless_kept() {
        let config = parse("envar: 'A=1=2' envar: 'B' envar: 'E='").unwrap();
        let expected = BTreeMap::from([
            ("A".to_owned(), Origin::Set("1=2".to_owned())),
            ("B".to_owned(), Origin::Caller),
            ("E".to_owned(), Origin::Set(String::new())),
        ]);
        assert_eq!(environment(&config, ["SECRET"]), expected);
    }

    #[test]
    fn the_last_of_a_name_wins() {
        let config = parse("keep_env: true envar: 'A=1' envar: 'A' envar: 'B=2' envar: 'B=3'").unwrap();
        let variables = environment(&config, ["B", "C"]);
        assert_eq!(variables["A"], Origin::Caller);
        assert_eq!(variables["B"], Origin::Set("3".to_owned()));
        assert_eq!(variables["C"], Origin::Caller);
    }
}
