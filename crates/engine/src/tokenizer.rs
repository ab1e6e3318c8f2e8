//! The tokenizer: byte-level BPE with special tokens that no text can produce.
//!
//! Spec: det-1.md §2. Not here: the chat template (`chat`), bytes to text (`text`).
//!
//! Invariants: every merge refers to earlier tokens; no token is longer than [`MAX_TOKEN_BYTES`]; encoding is linear in the text.

use std::collections::{HashMap, HashSet};
use std::fmt;

use crate::ModelError;
use crate::config::{MAX_MERGES, MAX_SPECIALS};

/// Bytes of the longest token: bounds the table of a hostile container, where each merge could double.
pub(crate) const MAX_TOKEN_BYTES: usize = 128;
/// Bytes of the longest special token's name.
pub(crate) const MAX_SPECIAL_NAME: u32 = 64;
/// Bytes of a piece without its leading space: bounds the quadratic part of merging.
const MAX_RUN: usize = 32;

/// The special tokens of the template `candor-chat/1`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Special {
    /// Opens every prompt.
    Begin = 0,
    /// Opens a system message.
    System = 1,
    /// Opens a user message.
    User = 2,
    /// Opens an answer.
    Assistant = 3,
    /// Ends every message; generated, it ends the answer.
    End = 4,
}

/// Turns text into token ids and token ids into bytes.
pub struct Tokenizer {
    /// All tokens' bytes, one after the other.
    bytes: Vec<u8>,
    /// Where each token ends in `bytes`; specials are not in it.
    ends: Vec<u32>,
    /// From a pair to the token it merges into. The lower the token, the earlier the merge.
    pairs: HashMap<(u32, u32), u32>,
    specials: Vec<String>,
}

impl Tokenizer {
    pub(crate) const TEMPLATE_SPECIALS: [&'static str; 5] = ["<|begin|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"];

    /// Builds the tables, checking every rule of §2.
    pub(crate) fn new(merges: Vec<(u32, u32)>, specials: Vec<String>) -> Result<Self, ModelError> {
        if merges.len() > MAX_MERGES as usize {
            return Err(ModelError::Field { name: "merges", got: merges.len() as u64 });
        }
        if specials.len() > MAX_SPECIALS as usize {
            return Err(ModelError::Field { name: "specials", got: specials.len() as u64 });
        }
        check_specials(&specials)?;
        let mut tokenizer = Self { bytes: (0..=255).collect(), ends: (1..=256).collect(), pairs: HashMap::new(), specials };
        for (index, pair) in (0u32..).zip(merges) {
            tokenizer.add_merge(pair).map_err(|rule| ModelError::Tokenizer { rule, index })?;
        }
        Ok(tokenizer)
    }

    fn add_merge(&mut self, (left, right): (u32, u32)) -> Result<(), &'static str> {
        let id = self.ends.len() as u32;
        if left >= id || right >= id {
            return Err("a merge refers to earlier tokens");
        }
        let merged = [self.token_bytes(left), self.token_bytes(right)].concat();
        if merged.len() > MAX_TOKEN_BYTES {
            return Err("a token has at most 128 bytes");
        }
        if self.pairs.insert((left, right), id).is_some() {
            return Err("a pair is merged once");
        }
        self.bytes.extend(merged);
        // At most 200,256 tokens of 128 bytes: fits.
        self.ends.push(self.bytes.len() as u32);
        Ok(())
    }

    /// Number of tokens, specials included.
    #[must_use]
    pub fn vocab(&self) -> u32 {
        self.ordinary() + self.specials.len() as u32
    }

    /// Number of tokens that stand for bytes; the ids from here on are special.
    pub(crate) fn ordinary(&self) -> u32 {
        self.ends.len() as u32
    }

    /// The id of a special token.
    #[must_use]
    pub fn special(&self, special: Special) -> u32 {
        self.ordinary() + special as u32
    }

    /// The bytes of a token; none for special and unknown ids.
    #[must_use]
    pub fn token_bytes(&self, id: u32) -> &[u8] {
        let id = id as usize;
        let start = match id.checked_sub(1) {
            Some(previous) => self.ends.get(previous).copied().unwrap_or_default(),
            None => 0,
        };
        let end = self.ends.get(id).copied().unwrap_or(start);
        self.bytes.get(start as usize..end as usize).unwrap_or_default()
    }

    /// Bytes of the longest token.
    #[must_use]
    pub fn longest_token(&self) -> usize {
        let starts = [0].into_iter().chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| end.saturating_sub(start) as usize).max().unwrap_or_default()
    }

    /// Appends the tokens of `text` to `out`. Never a special token, whatever the text says.
    pub fn encode(&self, text: &str, out: &mut Vec<u32>) {
        self.encode_within(text, usize::MAX, out);
    }

    /// The same, but it stops once `out` is longer than `limit`, by less than one piece: the work is bounded by the limit, not by the text.
    pub fn encode_within(&self, text: &str, limit: usize, out: &mut Vec<u32>) {
        let mut rest = text.as_bytes();
        let mut merger = Merger::default();
        while !rest.is_empty() && out.len() <= limit {
            let (piece, tail) = rest.split_at(piece_len(rest));
            merger.merge(piece, &self.pairs, out);
            rest = tail;
        }
    }
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokenizer").field("vocab", &self.vocab()).field("specials", &self.specials).finish_non_exhaustive()
    }
}

fn check_specials(specials: &[String]) -> Result<(), ModelError> {
    let mut seen = HashSet::new();
    for (index, name) in (0u32..).zip(specials) {
        let rule = if !(1..=MAX_SPECIAL_NAME as usize).contains(&name.len()) {
            "a special token's name has 1 to 64 bytes"
        } else if !seen.insert(name) {
            "special tokens are distinct"
        } else if Tokenizer::TEMPLATE_SPECIALS.get(index as usize).is_some_and(|expected| expected != name) {
            "the first five special tokens are the template's"
        } else {
            continue;
        };
        return Err(ModelError::Tokenizer { rule, index });
    }
    if specials.len() < Tokenizer::TEMPLATE_SPECIALS.len() {
        return Err(ModelError::Field { name: "specials", got: specials.len() as u64 });
    }
    Ok(())
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Class {
    Digit,
    Letter,
    Other,
    Space,
}

fn class(byte: u8) -> Class {
    match byte {
        b' ' | b'\t' | b'\n' | b'\r' => Class::Space,
        b'0'..=b'9' => Class::Digit,
        b'A'..=b'Z' | b'a'..=b'z' | 0x80.. => Class::Letter,
        _ => Class::Other,
    }
}

/// Bytes of the first piece of `rest`, which is not empty: the pattern of §2.
fn piece_len(rest: &[u8]) -> usize {
    let mut classes = rest.iter().map(|byte| class(*byte));
    let mut prefix = 0;
    let mut first = classes.next();
    if rest.first() == Some(&b' ') {
        match classes.next() {
            Some(Class::Space) | None => {}
            after => {
                prefix = 1;
                first = after;
            }
        }
    }
    let run = match first {
        Some(Class::Letter | Class::Other) => 1 + classes.take(MAX_RUN - 1).take_while(|class| Some(*class) == first).count(),
        _ => 1,
    };
    prefix + run
}

/// Merges pieces, keeping its buffers.
#[derive(Default)]
struct Merger {
    tokens: Vec<u32>,
    /// For each token but the last: what it and its right neighbour merge into, or `u32::MAX`.
    merged: Vec<u32>,
}

impl Merger {
    fn merge(&mut self, piece: &[u8], pairs: &HashMap<(u32, u32), u32>, out: &mut Vec<u32>) {
        let find = |left: u32, right: u32| pairs.get(&(left, right)).copied().unwrap_or(u32::MAX);
        self.tokens.clear();
        self.tokens.extend(piece.iter().map(|byte| u32::from(*byte)));
        self.merged.clear();
        self.merged.extend(self.tokens.iter().zip(self.tokens.iter().skip(1)).map(|(left, right)| find(*left, *right)));
        // `min_by_key` returns the first of equal minima: the leftmost.
        while let Some((at, id)) = self.merged.iter().copied().enumerate().min_by_key(|(_, id)| *id) {
            if id == u32::MAX {
                break;
            }
            // at is below merged.len() = tokens.len() - 1.
            self.tokens[at] = id;
            self.tokens.remove(at + 1);
            self.merged.remove(at);
            if let Some(left) = at.checked_sub(1) {
                self.merged[left] = find(self.tokens[left], id);
            }
            if let Some(right) = self.tokens.get(at + 1) {
                self.merged[at] = find(id, *right);
            }
        }
        out.extend(&self.tokens);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn specials() -> Vec<String> {
        Tokenizer::TEMPLATE_SPECIALS.map(String::from).to_vec()
    }

    fn tokenizer(merges: &[(u32, u32)]) -> Tokenizer {
        Tokenizer::new(merges.to_vec(), specials()).unwrap()
    }

    fn encode(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
        let mut out = Vec::new();
        tokenizer.encode(text, &mut out);
        out
    }

    fn pieces(text: &str) -> Vec<String> {
        let mut rest = text.as_bytes();
        let mut out = Vec::new();
        while !rest.is_empty() {
            let (piece, tail) = rest.split_at(piece_len(rest));
            out.push(String::from_utf8_lossy(piece).into_owned());
            rest = tail;
        }
        out
    }

    #[test]
    fn text_is_cut_as_the_pattern_says() {
        assert_eq!(
            pieces("What is x402?\n  It's 42 €!"),
            ["What", " is", " x", "4", "0", "2", "?", "\n", " ", " It", "'", "s", " 4", "2", " €", "!"]
        );
        assert_eq!(pieces(" "), [" "]);
        assert_eq!(pieces(&"a".repeat(70)).iter().map(String::len).collect::<Vec<_>>(), [32, 32, 6]);
        assert_eq!(pieces(&format!(" {}", "-".repeat(33))).iter().map(String::len).collect::<Vec<_>>(), [33, 1]);
    }

    #[test]
    fn merges_go_by_rank_then_from_the_left() {
        // 256 = "ab", 257 = "bc", 258 = "aab"
        let t = tokenizer(&[(97, 98), (98, 99), (97, 256)]);
        assert_eq!(encode(&t, "abc"), [256, 99]);
        assert_eq!(encode(&t, "aabbc"), [258, 257]);
        assert_eq!(encode(&tokenizer(&[(97, 97)]), "aaa"), [256, 97]);
        assert_eq!(t.token_bytes(258), b"aab");
    }

    #[test]
    fn encoding_within_a_limit_stops_one_piece_behind_it() {
        let t = tokenizer(&[(97, 98)]);
        let text = "ab cd ".repeat(1 << 17);
        let whole = encode(&t, &text);
        for limit in [0, 1, 100, whole.len() - 1] {
            let mut part = Vec::new();
            t.encode_within(&text, limit, &mut part);
            assert!(limit < part.len() && part.len() <= limit + 1 + MAX_RUN, "{limit}: {}", part.len());
            assert!(whole.starts_with(&part));
        }
        let mut all = Vec::new();
        t.encode_within(&text, whole.len(), &mut all);
        assert_eq!(all, whole);
    }

    #[test]
    fn special_names_in_text_are_only_text() {
        let t = tokenizer(&[]);
        assert_eq!(encode(&t, "<|end|>"), b"<|end|>".map(u32::from));
        assert_eq!(t.special(Special::End), 260);
        assert_eq!(t.token_bytes(260), b"");
        assert_eq!(t.token_bytes(u32::MAX), b"");
        assert_eq!(t.token_bytes(0), [0]);
    }

    #[test]
    fn tables_that_break_a_rule_are_refused() {
        let refused = |merges: &[(u32, u32)], expected: u32| {
            let got = Tokenizer::new(merges.to_vec(), specials());
            assert!(matches!(got, Err(ModelError::Tokenizer { index, .. }) if index == expected), "{merges:?}");
        };
        refused(&[(97, 256)], 0);
        refused(&[(97, 98), (97, 98)], 1);
        refused(&[(0, 0), (256, 256), (257, 257), (258, 258), (259, 259), (260, 260), (261, 261), (262, 262)], 7);
        let renamed: Vec<String> = ["<|begin|>", "<|user|>"].map(String::from).to_vec();
        assert!(matches!(Tokenizer::new(vec![], renamed), Err(ModelError::Tokenizer { index: 1, .. })));
        assert!(matches!(Tokenizer::new(vec![], vec![]), Err(ModelError::Field { name: "specials", got: 0 })));
        let twice = [specials(), vec!["x".into(), "x".into()]].concat();
        assert!(matches!(Tokenizer::new(vec![], twice), Err(ModelError::Tokenizer { index: 6, .. })));
    }

    /// §2 word by word.
    fn slow_merge(piece: &[u8], merges: &[(u32, u32)]) -> Vec<u32> {
        let mut tokens: Vec<u32> = piece.iter().map(|b| u32::from(*b)).collect();
        loop {
            let ranks = tokens.windows(2).enumerate().filter_map(|(i, w)| Some((merges.iter().position(|m| *m == (w[0], w[1]))?, i)));
            let Some((rank, i)) = ranks.min() else { return tokens };
            tokens.splice(i..i + 2, [256 + rank as u32]);
        }
    }

    proptest! {
        #[test]
        fn encoding_equals_the_slow_definition_and_decodes_back(text in "[abc \n1é]{0,80}", seeds in prop::collection::vec((any::<u32>(), any::<u32>()), 0..12)) {
            let mut merges: Vec<(u32, u32)> = Vec::new();
            for (left, right) in seeds {
                let ids: Vec<u32> = b"abc ".iter().map(|b| u32::from(*b)).chain(256..256 + merges.len() as u32).collect();
                let pair = (ids[left as usize % ids.len()], ids[right as usize % ids.len()]);
                if !merges.contains(&pair) {
                    merges.push(pair);
                }
            }
            let Ok(t) = Tokenizer::new(merges.clone(), specials()) else { return Ok(()) };
            let tokens = encode(&t, &text);
            let slow: Vec<u32> = {
                let mut rest = text.as_bytes();
                let mut out = Vec::new();
                while !rest.is_empty() {
                    let (piece, tail) = rest.split_at(piece_len(rest));
                    out.extend(slow_merge(piece, &merges));
                    rest = tail;
                }
                out
            };
            prop_assert_eq!(&tokens, &slow);
            let back: Vec<u8> = tokens.iter().flat_map(|id| t.token_bytes(*id).to_vec()).collect();
            prop_assert_eq!(back, text.into_bytes());
        }
    }
}
