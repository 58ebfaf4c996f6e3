//! From what the guest wrote to the report.

use super::streams::{Kept, Taker};
use crate::report::{Encoding, Json, ResultMissing, Stream};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A stream, as the report has it.
pub(super) fn stream(mut taker: Taker) -> Stream {
    let (bytes, truncated, passed_through) = (taker.bytes(), taker.is_over_limit(), taker.passes_on());
    let write_error = taker.take_write_error();
    let kept = taker.into_kept();
    let passed_through = passed_through && kept.is_none();
    let Kept { mut head, tail } = kept.unwrap_or_default();
    let tail: Vec<u8> = tail.into();
    let omitted = if passed_through { 0 } else { bytes - (head.len() + tail.len()) as u64 };
    let whole_characters = cut_end(&head, truncated).len();
    let is_text = std::str::from_utf8(head.get(..whole_characters).unwrap_or(&head)).is_ok();
    let (encoding, text, tail) = match std::str::from_utf8(cut_start(&tail)) {
        Ok(tail) if is_text => {
            head.truncate(whole_characters);
            (Encoding::Utf8, String::from_utf8(head).unwrap_or_default(), tail.to_owned())
        }
        _ => (Encoding::Base64, base64_in_place(head), STANDARD.encode(&tail)),
    };
    Stream {
        encoding,
        text,
        bytes,
        truncated,
        omitted_bytes: omitted,
        tail: truncated.then_some(tail),
        passed_through,
        write_error,
    }
}

/// Base64 in the memory of the bytes themselves, which may be most of what we have: from their end, since what is written
/// lies behind what is still to be read.
fn base64_in_place(mut bytes: Vec<u8>) -> String {
    const CHUNK: usize = 3 << 10;
    let len = bytes.len();
    bytes.resize(len.div_ceil(3) * 4, 0);
    let mut chunk = Vec::with_capacity(CHUNK);
    for start in (0..len).step_by(CHUNK).rev() {
        chunk.clear();
        chunk.extend_from_slice(bytes.get(start..len.min(start + CHUNK)).unwrap_or_default());
        let encoded = bytes.get_mut(start / 3 * 4..).unwrap_or_default();
        // There is room: a chunk starts at a multiple of three.
        let _ = STANDARD.encode_slice(&chunk, encoded);
    }
    String::from_utf8(bytes).unwrap_or_default()
}

/// What came over the result channel: the guest's own word, and only checked to be bounded JSON.
pub(super) fn result(taker: Taker) -> (Option<Json>, Option<ResultMissing>) {
    let too_large = taker.is_over_limit();
    let Kept { head, .. } = taker.into_kept().unwrap_or_default();
    if too_large {
        return (None, Some(ResultMissing::TooLarge));
    }
    match Json::read(head) {
        Ok(json) => (Some(json), None),
        Err(why) => (None, Some(why)),
    }
}

/// Without the first bytes of a character that the cut went through.
fn cut_end(head: &[u8], truncated: bool) -> &[u8] {
    if !truncated {
        return head;
    }
    match std::str::from_utf8(head) {
        // No error length: the text ends within a character.
        Err(error) if error.error_len().is_none() => head.get(..error.valid_up_to()).unwrap_or(head),
        _ => head,
    }
}

/// Without the last bytes of a character that the cut went through.
fn cut_start(tail: &[u8]) -> &[u8] {
    let continuation = tail.iter().take(3).take_while(|byte| **byte & 0xC0 == 0x80).count();
    tail.get(continuation..).unwrap_or(tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_needs_no_second_place() {
        for len in [0, 1, 2, 3, 4, 3071, 3072, 3073, 3074, 3075, 100_000] {
            let bytes: Vec<u8> = (0..len).map(|n: u32| n.wrapping_mul(37).to_le_bytes()[0]).collect();
            assert_eq!(base64_in_place(bytes.clone()), STANDARD.encode(&bytes), "{len}");
        }
    }
}
