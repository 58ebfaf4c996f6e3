//! The gate: so many runs at once, a bounded queue in front of it, and turns shared fairly between keys.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// A key's number; everyone without a key is one.
pub(crate) type KeyId = Arc<str>;

/// Lets runs through.
#[derive(Clone)]
pub(crate) struct Gate(Arc<Mutex<State>>);

/// Why nobody gets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// As many wait as may.
    Full,
    /// The service is about to end.
    Draining,
}

/// How full it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Levels {
    pub(crate) running: usize,
    pub(crate) waiting: usize,
}

#[derive(Default)]
struct State {
    most_running: usize,
    most_waiting: usize,
    running: HashMap<KeyId, usize>,
    /// Those who wait, by key; the first line has the next turn.
    lines: VecDeque<Line>,
    next_ticket: u64,
    draining: bool,
}

struct Line {
    key: KeyId,
    most_running: usize,
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    ticket: u64,
    answer: oneshot::Sender<Result<Pass, Refused>>,
}

/// The right to run; given back when it is dropped.
pub(crate) struct Pass {
    gate: Gate,
    key: KeyId,
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut state = self.gate.lock();
        if let Some(running) = state.running.get_mut(&self.key) {
            *running -= 1;
            if *running == 0 {
                state.running.remove(&self.key);
            }
        }
        let admitted = state.admit(&self.gate);
        drop(state);
        send(admitted);
    }
}

type Admitted = Vec<(oneshot::Sender<Result<Pass, Refused>>, Pass)>;

/// Outside the lock: a pass whose taker has gone away is dropped here, which takes the lock.
fn send(admitted: Admitted) {
    for (answer, pass) in admitted {
        let _ = answer.send(Ok(pass));
    }
}

impl Gate {
    pub(crate) fn new(most_running: usize, most_waiting: usize) -> Gate {
        Gate(Arc::new(Mutex::new(State { most_running, most_waiting, ..State::default() })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// New bounds; nobody who is through or waits is sent away.
    pub(crate) fn resize(&self, most_running: usize, most_waiting: usize) {
        let mut state = self.lock();
        (state.most_running, state.most_waiting) = (most_running, most_waiting);
        let admitted = state.admit(self);
        drop(state);
        send(admitted);
    }

    /// From now on nobody new gets in; those who wait do.
    pub(crate) fn drain(&self) {
        self.lock().draining = true;
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.lock().draining
    }

    pub(crate) fn levels(&self) -> Levels {
        let state = self.lock();
        Levels { running: state.running(), waiting: state.waiting() }
    }

    /// Waits for a turn of `key`, which may have `most_running` runs at once.
    pub(crate) async fn enter(&self, key: &KeyId, most_running: usize) -> Result<Pass, Refused> {
        let (answer, receiver) = oneshot::channel();
        let ticket = self.line_up(key, most_running, answer)?;
        let _in_line = InLine { gate: self, key, ticket };
        receiver.await.unwrap_or(Err(Refused::Draining))
    }

    fn line_up(
        &self,
        key: &KeyId,
        most_running: usize,
        answer: oneshot::Sender<Result<Pass, Refused>>,
    ) -> Result<u64, Refused> {
        let mut state = self.lock();
        if state.draining {
            return Err(Refused::Draining);
        }
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        state.push(key, most_running, Waiting { ticket, answer });
        let admitted = state.admit(self);
        let sent_away = if state.waiting() > state.most_waiting { state.shorten() } else { None };
        drop(state);
        send(admitted);
        if let Some(waiting) = sent_away {
            let _ = waiting.answer.send(Err(Refused::Full));
        }
        Ok(ticket)
    }
}

/// Someone's place in a line, given up when they go away.
struct InLine<'a> {
    gate: &'a Gate,
    key: &'a KeyId,
    ticket: u64,
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        let mut state = self.gate.lock();
        if let Some(line) = state.lines.iter_mut().find(|line| line.key == *self.key) {
            line.waiting.retain(|waiting| waiting.ticket != self.ticket);
        }
        state.lines.retain(|line| !line.waiting.is_empty());
    }
}

impl State {
    fn running(&self) -> usize {
        self.running.values().sum()
    }

    fn waiting(&self) -> usize {
        self.lines.iter().map(|line| line.waiting.len()).sum()
    }

    fn push(&mut self, key: &KeyId, most_running: usize, waiting: Waiting) {
        match self.lines.iter_mut().find(|line| line.key == *key) {
            Some(line) => {
                line.most_running = most_running;
                line.waiting.push_back(waiting);
            }
            None => {
                let line = Line { key: Arc::clone(key), most_running, waiting: VecDeque::from([waiting]) };
                self.lines.push_back(line);
            }
        }
    }

    /// Lets through who can: one of each key in turn.
    fn admit(&mut self, gate: &Gate) -> Admitted {
        let mut admitted = Vec::new();
        let mut running = self.running();
        while running < self.most_running {
            let next = self.lines.iter().position(|line| {
                self.running.get(&line.key).is_none_or(|running| *running < line.most_running)
            });
            let Some(mut line) = next.and_then(|next| self.lines.remove(next)) else { break };
            if let Some(waiting) = line.waiting.pop_front() {
                *self.running.entry(Arc::clone(&line.key)).or_default() += 1;
                running += 1;
                admitted.push((waiting.answer, Pass { gate: gate.clone(), key: Arc::clone(&line.key) }));
            }
            if !line.waiting.is_empty() {
                self.lines.push_back(line);
            }
        }
        admitted
    }

    /// Sends away the last of the longest line: a key that fills the queue does not shut out the others.
    fn shorten(&mut self) -> Option<Waiting> {
        let longest = self.lines.iter_mut().max_by_key(|line| line.waiting.len())?;
        let last = longest.waiting.pop_back();
        self.lines.retain(|line| !line.waiting.is_empty());
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    type Entering<'a> = Pin<Box<dyn Future<Output = Result<Pass, Refused>> + 'a>>;

    fn poll(entering: &mut Entering<'_>) -> Option<Result<Pass, Refused>> {
        match entering.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => Some(answer),
            Poll::Pending => None,
        }
    }

    fn at_once(gate: &Gate, key: &KeyId, most_running: usize) -> Option<Result<Pass, Refused>> {
        let mut entering: Entering<'_> = Box::pin(gate.enter(key, most_running));
        poll(&mut entering)
    }

    fn key(name: &str) -> KeyId {
        name.into()
    }

    #[test]
    fn keys_take_turns_and_a_long_line_shuts_nobody_out() {
        let gate = Gate::new(1, 3);
        let (a, b) = (key("a"), key("b"));
        let first = at_once(&gate, &a, 9).unwrap().unwrap();
        let mut lines: Vec<Entering<'_>> = Vec::new();
        for _ in 0..3 {
            lines.push(Box::pin(gate.enter(&a, 9)));
            assert!(poll(lines.last_mut().unwrap()).is_none());
        }
        let mut other: Entering<'_> = Box::pin(gate.enter(&b, 9));
        assert!(poll(&mut other).is_none());
        assert_eq!(gate.levels(), Levels { running: 1, waiting: 3 });
        let last = poll(&mut lines[2]).unwrap();
        assert_eq!(last.err(), Some(Refused::Full));
        drop(first);
        let second = poll(&mut lines[0]).unwrap().unwrap();
        assert!(poll(&mut other).is_none());
        drop(second);
        assert!(poll(&mut lines[1]).is_none());
        let third = poll(&mut other).unwrap().unwrap();
        drop(third);
        assert!(poll(&mut lines[1]).unwrap().is_ok());
    }

    #[test]
    fn a_key_waits_for_its_own_and_who_leaves_gives_up_the_place() {
        let gate = Gate::new(2, 9);
        let (a, b) = (key("a"), key("b"));
        let first = at_once(&gate, &a, 1).unwrap().unwrap();
        let mut second: Entering<'_> = Box::pin(gate.enter(&a, 1));
        assert!(poll(&mut second).is_none());
        let other = at_once(&gate, &b, 1).unwrap();
        assert!(other.is_ok());
        assert_eq!(gate.levels(), Levels { running: 2, waiting: 1 });
        drop(second);
        drop((first, other));
        assert_eq!(gate.levels(), Levels::default());
        gate.drain();
        let refused = at_once(&gate, &a, 1).unwrap();
        assert_eq!(refused.err(), Some(Refused::Draining));
    }
}
