//! Who calls: API keys, kept as digests, each with its rate, its share and its ceilings.

use crate::config::{ConfigError, KeyConfig};
use crate::gate::KeyId;
use crate::limits::Limits;
use crate::problem::Problem;
use axum::http::{HeaderMap, StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Someone who may call.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) id: KeyId,
    pub(crate) at_once: usize,
    pub(crate) ceilings: Limits,
    /// Whether there may be others, with keys of theirs.
    pub(crate) has_key: bool,
    bucket: Option<Mutex<Bucket>>,
}

impl Caller {
    /// Whoever needs no key.
    pub(crate) fn anonymous(name: &str) -> Caller {
        Caller {
            id: name.into(),
            at_once: usize::MAX,
            ceilings: Limits::default(),
            has_key: false,
            bucket: None,
        }
    }

    /// Counts a request.
    pub(crate) fn take(&self) -> Result<(), Problem> {
        let Some(bucket) = &self.bucket else { return Ok(()) };
        let mut bucket = bucket.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.take(Instant::now()).map_err(|seconds| {
            let detail = format!("more than {} requests a second with this key", bucket.rate);
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate-limit", detail).retry_after(seconds)
        })
    }
}

/// Fills by `rate` a second up to `burst`; a request takes one.
#[derive(Debug)]
struct Bucket {
    rate: f64,
    burst: f64,
    level: f64,
    at: Instant,
}

impl Bucket {
    fn take(&mut self, now: Instant) -> Result<(), u64> {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * self.rate;
        (self.level, self.at) = ((self.level + gained).min(self.burst), now);
        if self.level >= 1.0 {
            self.level -= 1.0;
            return Ok(());
        }
        let seconds = ((1.0 - self.level) / self.rate).ceil().clamp(1.0, 3600.0);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped just above")]
        Err(seconds as u64)
    }
}

type Sha = [u8; 32];

/// All keys, by their digests. Looking one up by the digest of what was sent tells a listener to the time it takes
/// nothing about the key: digests cannot be chosen.
#[derive(Debug, Default)]
pub(crate) struct Keys(HashMap<Sha, Arc<Caller>>);

impl Keys {
    /// What a key has left of its rate is what it had `before`.
    pub(crate) fn new(keys: &[KeyConfig], before: Option<&Keys>) -> Result<Keys, ConfigError> {
        let mut all = HashMap::new();
        for key in keys {
            let at = |field: &str| format!("keys.{}.{field}", key.name);
            let digest = from_hex(&key.sha256)
                .ok_or_else(|| ConfigError::invalid(at("sha256"), "is not 64 hexadecimal digits"))?;
            let bucket = match key.rate {
                None => None,
                Some(rate) if rate.is_finite() && rate > 0.0 => {
                    let burst = key.burst.map_or(rate.max(1.0), f64::from).max(1.0);
                    let (level, at) =
                        before.and_then(|keys| keys.left(&key.name)).unwrap_or((burst, Instant::now()));
                    Some(Mutex::new(Bucket { rate, burst, level: level.min(burst), at }))
                }
                Some(_) => return Err(ConfigError::invalid(at("rate"), "must be above 0")),
            };
            if key.at_once == Some(0) {
                return Err(ConfigError::invalid(at("at_once"), "must be above 0"));
            }
            let caller = Caller {
                id: key.name.as_str().into(),
                at_once: key.at_once.unwrap_or(usize::MAX),
                ceilings: key.ceilings,
                has_key: true,
                bucket,
            };
            if all.insert(digest, Arc::new(caller)).is_some() {
                return Err(ConfigError::invalid(at("sha256"), "is another key's too"));
            }
        }
        Ok(Keys(all))
    }

    /// What a bucket holds, and since when.
    fn left(&self, name: &str) -> Option<(f64, Instant)> {
        let caller = self.0.values().find(|caller| &*caller.id == name)?;
        let bucket = caller.bucket.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        Some((bucket.level, bucket.at))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whose key the headers carry: `Authorization: Bearer KEY`, or `Basic` with the key as the password, which is
    /// what `http://any:KEY@host` becomes for clients that can only be told another address.
    pub(crate) fn find(&self, headers: &HeaderMap) -> Result<Arc<Caller>, Problem> {
        let refused = |detail: &str| Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail);
        let value = headers.get(header::AUTHORIZATION).ok_or_else(|| {
            let hint = "send `Authorization: Bearer KEY`, or KEY as the password in the address";
            refused("a key is needed").with_hint(Some(hint.into()))
        })?;
        let key = value.to_str().ok().and_then(presented);
        let key = key.ok_or_else(|| refused("`Authorization` is neither Bearer nor Basic"))?;
        self.0.get(&digest(key.as_bytes())).cloned().ok_or_else(|| refused("no such key"))
    }
}

fn presented(value: &str) -> Option<String> {
    let (scheme, rest) = value.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.to_owned());
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let text = String::from_utf8(STANDARD.decode(rest).ok()?).ok()?;
        return text.split_once(':').map(|(_, key)| key.to_owned());
    }
    None
}

pub(crate) fn digest(bytes: &[u8]) -> Sha {
    Sha256::digest(bytes).into()
}

fn from_hex(text: &str) -> Option<Sha> {
    let mut digest = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (at, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(digest)
}

/// A new key, and its entry for the configuration.
///
/// # Errors
/// A machine without randomness.
pub fn new_key(name: &str) -> std::io::Result<(String, String)> {
    let mut bytes = [0u8; 32];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let key = format!("wk_{}", hex(&bytes));
    let entry = format!("[[keys]]\nname = {name:?}\nsha256 = \"{}\"\n", hex(&digest(key.as_bytes())));
    Ok((key, entry))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[derive(serde::Deserialize)]
    struct File {
        keys: Vec<KeyConfig>,
    }

    fn keys(entry: &str) -> Keys {
        Keys::new(&toml::from_str::<File>(entry).unwrap().keys, None).unwrap()
    }

    #[test]
    fn a_new_key_opens_as_bearer_and_as_password_and_no_other_does() {
        let (key, entry) = new_key("bot").unwrap();
        assert!(!entry.contains(&key));
        let keys = keys(&entry);
        let with = |value: String| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            keys.find(&headers).map(|caller| caller.id.to_string())
        };
        assert_eq!(with(format!("Bearer {key}")).unwrap(), "bot");
        assert_eq!(with(format!("basic {}", STANDARD.encode(format!("x:{key}")))).unwrap(), "bot");
        assert_eq!(with(format!("Bearer {key}0")).unwrap_err().status, StatusCode::UNAUTHORIZED);
        assert_eq!(with(key).unwrap_err().status, StatusCode::UNAUTHORIZED);
        assert_eq!(keys.find(&HeaderMap::new()).unwrap_err().status, StatusCode::UNAUTHORIZED);
    }

    #[test]
    fn a_new_configuration_gives_nobody_a_new_burst() {
        let (_, entry) = new_key("bot").unwrap();
        let with = |rate: &str, before: Option<&Keys>| {
            let file: File = toml::from_str(&format!("{entry}\n{rate}")).unwrap();
            Keys::new(&file.keys, before).unwrap()
        };
        let take = |keys: &Keys| keys.0.values().next().unwrap().take().is_ok();
        let first = with("rate = 0.001\nburst = 2", None);
        assert!(take(&first) && take(&first) && !take(&first));
        let second = with("rate = 0.001\nburst = 5", Some(&first));
        assert!(!take(&second));
        assert!(take(&with("", Some(&second))), "it has no limit now");
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let start = Instant::now();
        let mut bucket = Bucket { rate: 2.0, burst: 3.0, level: 3.0, at: start };
        for _ in 0..3 {
            assert_eq!(bucket.take(start), Ok(()));
        }
        assert_eq!(bucket.take(start), Err(1));
        assert_eq!(bucket.take(start + Duration::from_millis(500)), Ok(()));
        assert_eq!(bucket.take(start + Duration::from_millis(500)), Err(1));
    }
}
