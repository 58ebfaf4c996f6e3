//! `Idempotency-Key`: a request that is sent again gets the first one's answer, and is not run again.

use crate::gate::KeyId;
use crate::problem::Problem;
use axum::http::{HeaderMap, StatusCode};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long answers are kept.
const KEPT_FOR: Duration = Duration::from_secs(600);
/// How many are kept, and how many bytes of them.
const MOST: usize = 1000;
const MOST_BYTES: usize = 64 << 20;
/// A larger answer is not kept: a few of them would be all.
const LARGEST: usize = 8 << 20;

type Name = (KeyId, String);
/// What makes two requests the same one.
pub(crate) type Identity = [u8; 32];

/// The name that a client gives its request, if it does.
pub(crate) fn name(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let name = value.to_str().ok().filter(|name| (1..=255).contains(&name.len()));
    name.map(|name| Some(name.to_owned())).ok_or_else(|| {
        let detail = "`Idempotency-Key` has to be 1 to 255 printable characters";
        Problem::new(StatusCode::BAD_REQUEST, "idempotency-key", detail)
    })
}

/// Answers by the names clients gave their requests.
#[derive(Clone, Default)]
pub(crate) struct Answers(Arc<Mutex<HashMap<Name, Entry>>>);

struct Entry {
    body: Identity,
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

    /// Looks up a caller's name for its request.
    pub(crate) fn look_up(&self, caller: &KeyId, name: String, body: Identity) -> Result<Known, Problem> {
        let name = (Arc::clone(caller), name);
        let mut entries = self.lock();
        entries.retain(|_, entry| entry.answer.is_none() || entry.at.elapsed() < KEPT_FOR);
        match entries.get(&name) {
            Some(entry) if entry.body != body => {
                let detail = "this `Idempotency-Key` was used for another request";
                Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency-key", detail))
            }
            Some(Entry { answer: Some(answer), .. }) => Ok(Known::Answer(Arc::clone(answer))),
            Some(_) => {
                let detail = "the request with this `Idempotency-Key` is under way";
                Err(Problem::new(StatusCode::CONFLICT, "idempotency-key", detail).retry_after(1))
            }
            None => {
                entries.insert(name.clone(), Entry { body, at: Instant::now(), answer: None });
                Ok(Known::New(Claim { answers: self.clone(), name, kept: false }))
            }
        }
    }
}

impl Claim {
    /// Keeps the answer, unless it is very large.
    pub(crate) fn keep(mut self, answer: &[u8]) {
        if answer.len() > LARGEST {
            return;
        }
        self.kept = true;
        let mut entries = self.answers.lock();
        if let Some(entry) = entries.get_mut(&self.name) {
            entry.answer = Some(Arc::new(answer.to_vec()));
        }
        make_room(&mut entries);
    }
}

/// While there are too many answers, or too large ones, whoever has most of them loses the oldest: nobody's go for want of
/// room that another has taken.
fn make_room(entries: &mut HashMap<Name, Entry>) {
    while let Some(name) = superfluous(entries) {
        entries.remove(&name);
    }
}

fn superfluous(entries: &HashMap<Name, Entry>) -> Option<Name> {
    let kept =
        || entries.iter().filter_map(|(name, entry)| Some((name, entry.at, entry.answer.as_ref()?.len())));
    let too_large = kept().map(|(_, _, bytes)| bytes).sum::<usize>() > MOST_BYTES;
    if !too_large && kept().count() <= MOST {
        return None;
    }
    let mut shares: HashMap<&KeyId, usize> = HashMap::new();
    for ((caller, _), _, bytes) in kept() {
        *shares.entry(caller).or_default() += if too_large { bytes } else { 1 };
    }
    let (most, _) = shares.into_iter().max_by_key(|(_, share)| *share)?;
    let own = kept().filter(|((caller, _), ..)| caller == most);
    own.min_by_key(|(_, at, _)| *at).map(|(name, ..)| name.clone())
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
        let look_up = |caller: &str, body| answers.look_up(&caller.into(), "x".into(), [body; 32]);
        let status = |body| look_up("a", body).err().map(|problem| problem.status.as_u16());
        let Ok(Known::New(claim)) = look_up("a", 1) else { panic!("known") };
        assert_eq!((status(1), status(2)), (Some(409), Some(422)));
        drop(claim);
        let Ok(Known::New(claim)) = look_up("a", 2) else { panic!("known") };
        claim.keep(b"answer");
        assert_eq!(status(1), Some(422));
        let Ok(Known::Answer(answer)) = look_up("a", 2) else { panic!("new") };
        assert_eq!(&**answer, b"answer");
        assert!(matches!(look_up("b", 1), Ok(Known::New(_))));
    }

    #[test]
    fn a_name_is_printable_and_not_long() {
        let of = |text: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert("idempotency-key", text.try_into().unwrap());
            name(&headers).ok().flatten()
        };
        assert_eq!(name(&HeaderMap::new()).unwrap(), None);
        assert_eq!(of(b"x-1").as_deref(), Some("x-1"));
        assert_eq!((of(b""), of(&[b'x'; 256]), of(b"\xff")), (None, None, None));
    }

    fn keep(answers: &Answers, caller: &str, name: &str, bytes: usize) {
        let Ok(Known::New(claim)) = answers.look_up(&caller.into(), name.into(), [0; 32]) else {
            panic!("known")
        };
        claim.keep(&vec![0; bytes]);
    }

    #[test]
    fn whoever_keeps_most_makes_room_for_more() {
        let answers = Answers::default();
        let kept = |caller: &str| answers.lock().keys().filter(|(other, _)| **other == *caller).count();
        keep(&answers, "small", "first", 10);
        for at in 0..10 {
            keep(&answers, "large", &at.to_string(), LARGEST);
        }
        assert_eq!((kept("small"), kept("large")), (1, MOST_BYTES / LARGEST - 1));
        for at in 0..MOST {
            keep(&answers, "many", &at.to_string(), 1);
        }
        assert_eq!(kept("small"), 1);
        assert!(kept("large") == MOST_BYTES / LARGEST - 1 && kept("many") < MOST);
        keep(&answers, "huge", "x", LARGEST + 1);
        assert_eq!(kept("huge"), 0);
    }
}
