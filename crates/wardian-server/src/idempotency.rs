//! `Idempotency-Key`: a request that is sent again gets the first one's answer, and is not run again.

use crate::gate::KeyId;
use crate::problem::Problem;
use axum::http::{HeaderMap, StatusCode};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long answers are kept.
const KEPT_FOR: Duration = Duration::from_secs(600);
/// How many are kept, and how many bytes of them.
const MOST: usize = 1000;
const MOST_BYTES: usize = 64 << 20;

type Name = (KeyId, String);

/// Answers by the names clients gave their requests.
#[derive(Clone, Default)]
pub(crate) struct Answers(Arc<Mutex<HashMap<Name, Entry>>>);

struct Entry {
    body: [u8; 32],
    at: Instant,
    /// None while it is being made.
    answer: Option<Arc<Vec<u8>>>,
}

/// What a name stands for.
pub(crate) enum Known {
    /// Nothing yet: whoever asked makes the answer.
    New(Claim),
    /// An answer.
    Answer(Arc<Vec<u8>>),
}

/// The right to make the answer of a name; dropping it gives the name up.
pub(crate) struct Claim {
    answers: Answers,
    name: Name,
    kept: bool,
}

impl Answers {
    fn lock(&self) -> MutexGuard<'_, HashMap<Name, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks up the name in the headers, if there is one.
    pub(crate) fn look_up(
        &self,
        caller: &KeyId,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Option<Known>, Problem> {
        let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
        let name = value.to_str().ok().filter(|name| (1..=255).contains(&name.len()));
        let name = name.ok_or_else(|| {
            let detail = "`Idempotency-Key` has to be 1 to 255 printable characters";
            Problem::new(StatusCode::BAD_REQUEST, "idempotency-key", detail)
        })?;
        let name = (Arc::clone(caller), name.to_owned());
        let body: [u8; 32] = Sha256::digest(body).into();
        let mut entries = self.lock();
        entries.retain(|_, entry| entry.answer.is_none() || entry.at.elapsed() < KEPT_FOR);
        match entries.get(&name) {
            Some(entry) if entry.body != body => {
                let detail = "this `Idempotency-Key` was used for another request";
                Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency-key", detail))
            }
            Some(Entry { answer: Some(answer), .. }) => Ok(Some(Known::Answer(Arc::clone(answer)))),
            Some(_) => {
                let detail = "the request with this `Idempotency-Key` is under way";
                Err(Problem::new(StatusCode::CONFLICT, "idempotency-key", detail).retry_after(1))
            }
            None => {
                entries.insert(name.clone(), Entry { body, at: Instant::now(), answer: None });
                Ok(Some(Known::New(Claim { answers: self.clone(), name, kept: false })))
            }
        }
    }
}

impl Claim {
    /// Keeps the answer; the oldest make place.
    pub(crate) fn keep(mut self, answer: &[u8]) {
        self.kept = true;
        let mut entries = self.answers.lock();
        if let Some(entry) = entries.get_mut(&self.name) {
            entry.answer = Some(Arc::new(answer.to_vec()));
        }
        let bytes = |entries: &HashMap<Name, Entry>| -> usize {
            entries.values().filter_map(|entry| entry.answer.as_ref()).map(|answer| answer.len()).sum()
        };
        while entries.len() > MOST || bytes(&entries) > MOST_BYTES {
            let done = entries.iter().filter(|(_, entry)| entry.answer.is_some());
            let Some(oldest) = done.min_by_key(|(_, entry)| entry.at).map(|(name, _)| name.clone()) else {
                return;
            };
            entries.remove(&oldest);
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.kept {
            self.answers.lock().remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_for_one_request_and_its_answer() {
        let answers = Answers::default();
        let caller: KeyId = "a".into();
        let mut headers = HeaderMap::new();
        assert!(answers.look_up(&caller, &headers, b"1").unwrap().is_none());
        headers.insert("idempotency-key", "x".parse().unwrap());
        let Some(Known::New(claim)) = answers.look_up(&caller, &headers, b"1").unwrap() else {
            panic!("known")
        };
        let status =
            |body| answers.look_up(&caller, &headers, body).err().map(|problem| problem.status.as_u16());
        assert_eq!((status(b"1"), status(b"2")), (Some(409), Some(422)));
        drop(claim);
        let Some(Known::New(claim)) = answers.look_up(&caller, &headers, b"2").unwrap() else {
            panic!("known")
        };
        claim.keep(b"answer");
        assert_eq!(status(b"1"), Some(422));
        let Some(Known::Answer(answer)) = answers.look_up(&caller, &headers, b"2").unwrap() else {
            panic!("new")
        };
        assert_eq!(&**answer, b"answer");
        let other: KeyId = "b".into();
        assert!(matches!(answers.look_up(&other, &headers, b"1"), Ok(Some(Known::New(_)))));
    }
}
