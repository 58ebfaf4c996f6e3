//! Features taken away on purpose, so that an older or poorer host can be tested on a newer and richer one.

use crate::limits::cgroup;
use std::str::FromStr;

/// What a host is to be taken for. It only takes away: a cap never lets wardian use what is not there, and
/// the default takes nothing.
///
/// ```
/// use wardian::host::{Cap, Host};
/// let cap: Cap = "landlock:0,notify:off".parse().unwrap();
/// assert_eq!(Host::detect_with(cap).landlock_abi, 0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cap {
    /// The highest Landlock ABI; 0 for none.
    pub landlock: Option<u32>,
    /// The versions of cgroups.
    pub cgroup: cgroup::Cap,
    /// Whether refused system calls can not be observed.
    pub no_notify: bool,
}

/// A word that is no cap.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a feature cap: landlock:N, cgroup:none, cgroup:v1, cgroup:v2, notify:off")]
pub struct CapError(String);

impl FromStr for Cap {
    type Err = CapError;

    /// Words with commas between them; no word takes nothing away.
    fn from_str(text: &str) -> Result<Cap, CapError> {
        let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
        words.into_iter().try_fold(Cap::default(), Cap::and)
    }
}

impl Cap {
    fn and(self, word: &str) -> Result<Cap, CapError> {
        let unknown = || CapError(word.to_owned());
        Ok(match word.split_once(':').ok_or_else(unknown)? {
            ("landlock", abi) => {
                let abi: u32 = abi.parse().map_err(|_| unknown())?;
                Cap { landlock: Some(self.landlock.map_or(abi, |before| before.min(abi))), ..self }
            }
            ("cgroup", "none") => Cap { cgroup: cgroup::Cap::None, ..self },
            ("cgroup", "v1") => Cap { cgroup: both(self.cgroup, cgroup::Cap::V1Only), ..self },
            ("cgroup", "v2") => Cap { cgroup: both(self.cgroup, cgroup::Cap::V2Only), ..self },
            ("notify", "off") => Cap { no_notify: true, ..self },
            _ => return Err(unknown()),
        })
    }
}

/// What two caps leave.
fn both(one: cgroup::Cap, other: cgroup::Cap) -> cgroup::Cap {
    if one == cgroup::Cap::Any || one == other { other } else { cgroup::Cap::None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Host;
    use crate::limits::cgroup::Version;

    fn cap(text: &str) -> Cap {
        text.parse().unwrap()
    }

    #[test]
    fn words_add_up_and_only_take_away() {
        assert_eq!(cap(""), Cap::default());
        assert_eq!(
            cap("landlock:3, cgroup:v1,notify:off"),
            Cap { landlock: Some(3), cgroup: cgroup::Cap::V1Only, no_notify: true }
        );
        assert_eq!(cap("landlock:3,landlock:5").landlock, Some(3));
        assert_eq!(cap("cgroup:v1,cgroup:v2").cgroup, cgroup::Cap::None);
        assert_eq!(cap("cgroup:none,cgroup:v1").cgroup, cgroup::Cap::None);
    }

    #[test]
    fn a_word_that_is_unknown_is_named() {
        for word in
            ["landlock", "landlock:", "landlock:-1", "landlock:x", "cgroup:v3", "notify:on", "seccomp:off"]
        {
            assert_eq!(word.parse::<Cap>(), Err(CapError(word.into())));
        }
    }

    #[test]
    fn a_host_has_no_more_than_its_cap() {
        let whole = Host::detect();
        let poor = Host::detect_with(cap("landlock:0,cgroup:none,notify:off"));
        assert_eq!((poor.landlock_abi, poor.notify, poor.cgroups().version()), (0, false, None));
        let rich = Host::detect_with(cap("landlock:4000000"));
        assert_eq!((rich.landlock_abi, rich.notify), (whole.landlock_abi, whole.notify));
        assert_ne!(Host::detect_with(cap("cgroup:v1")).cgroups().version(), Some(Version::V2));
        assert_ne!(Host::detect_with(cap("cgroup:v2")).cgroups().version(), Some(Version::V1));
    }
}
