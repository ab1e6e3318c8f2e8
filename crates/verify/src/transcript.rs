//! The transcript: commitments to what was asked and to every frame that was answered.
//!
//! The request commitment is salted so that nobody can test prompts against it. The response commitment is an RFC 9162 tree over the
//! values of the SSE `data:` fields as sent, each blinded by an HMAC whose seed goes to the client before the first token; so a
//! client that left early can still prove the part it has. Spec: transcript.md.
//! Not here: JSON. Frames are bytes; the receipt is cut out of the last one as bytes.

use alloc::vec::Vec;

use crate::bytes::Hash32;
use crate::hash::{hmac_sha256, keccak256, sha256, whole};
use crate::tags;
use crate::tlog::node_hash;

/// Commitment to a request: sha256(tag ‖ salt ‖ for method, path, body: u64 length ‖ bytes).
#[must_use]
pub fn request_commitment(salt: &Hash32, method: &str, path: &str, body: &[u8]) -> Hash32 {
    request_of(salt, method, path, body, sha256)
}

/// What [`request_commitment`] hashes.
#[must_use]
pub fn request_preimage(salt: &Hash32, method: &str, path: &str, body: &[u8]) -> Vec<u8> {
    request_of(salt, method, path, body, whole)
}

fn request_of<T>(salt: &Hash32, method: &str, path: &str, body: &[u8], with: impl FnOnce(&[&[u8]]) -> T) -> T {
    let [a, b, c] = [method.as_bytes(), path.as_bytes(), body].map(length_prefix);
    with(&[tags::REQUEST, &salt.0, &a, method.as_bytes(), &b, path.as_bytes(), &c, body])
}

/// Hash of a question that was asked to be public: keccak256(tag ‖ for method, path, body: u64 length ‖ bytes). No salt: whoever knows the
/// question makes the same hash. The body is as it was received. Spec: transcript.md §4.
#[must_use]
pub fn question_hash(method: &str, path: &str, body: &[u8]) -> Hash32 {
    question_of(method, path, body, keccak256)
}

/// What [`question_hash`] hashes.
#[must_use]
pub fn question_preimage(method: &str, path: &str, body: &[u8]) -> Vec<u8> {
    question_of(method, path, body, whole)
}

fn question_of<T>(method: &str, path: &str, body: &[u8], with: impl FnOnce(&[&[u8]]) -> T) -> T {
    let [a, b, c] = [method.as_bytes(), path.as_bytes(), body].map(length_prefix);
    with(&[tags::QUESTION, &a, method.as_bytes(), &b, path.as_bytes(), &c, body])
}

/// Salt of a request commitment, from a secret only this boot knows. `bucket` = Unix seconds / 60, so that an offer can be found again
/// without being stored.
#[must_use]
pub fn request_salt(boot_secret: &Hash32, bucket: u64, method: &str, path: &str, body: &[u8]) -> Hash32 {
    let [a, b, c] = [method.as_bytes(), path.as_bytes(), body].map(length_prefix);
    let parts = [tags::REQUEST_SALT, &bucket.to_be_bytes(), &a, method.as_bytes(), &b, path.as_bytes(), &c, body];
    hmac_sha256(boot_secret, &parts)
}

fn length_prefix(bytes: &[u8]) -> [u8; 8] {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes()
}

/// RFC 9162 leaf hash of frame `index`: the leaf is HMAC(seed, u64 index) ‖ value.
#[must_use]
pub fn frame_leaf_hash(seed: &Hash32, index: u64, value: &[u8]) -> Hash32 {
    frame_of(seed, index, value, sha256)
}

/// What [`frame_leaf_hash`] hashes.
#[must_use]
pub fn frame_leaf_preimage(seed: &Hash32, index: u64, value: &[u8]) -> Vec<u8> {
    frame_of(seed, index, value, whole)
}

/// What blinds the frame at this index.
#[must_use]
pub fn frame_blind(seed: &Hash32, index: u64) -> Hash32 {
    hmac_sha256(seed, &[&index.to_be_bytes()])
}

fn frame_of<T>(seed: &Hash32, index: u64, value: &[u8], with: impl FnOnce(&[&[u8]]) -> T) -> T {
    with(&[&[0], &frame_blind(seed, index).0, value])
}

/// Commitment to `n` frames under this root: sha256(tag ‖ u64 n ‖ root).
#[must_use]
pub fn response_commitment(frames: u64, root: &Hash32) -> Hash32 {
    response_of(frames, root, sha256)
}

/// What [`response_commitment`] hashes.
#[must_use]
pub fn response_preimage(frames: u64, root: &Hash32) -> Vec<u8> {
    response_of(frames, root, whole)
}

fn response_of<T>(frames: u64, root: &Hash32, with: impl FnOnce(&[&[u8]]) -> T) -> T {
    with(&[tags::RESPONSE, &frames.to_be_bytes(), &root.0])
}

/// Builds the response commitment while frames go out. Holds one hash per full subtree: at most 64.
#[derive(Clone, Debug)]
pub struct TranscriptBuilder {
    seed: Hash32,
    frames: u64,
    // Invariant: one root per set bit of `frames`, largest subtree first.
    subtrees: Vec<Hash32>,
}

impl TranscriptBuilder {
    /// An empty transcript with this blinding seed.
    #[must_use]
    pub fn new(seed: Hash32) -> Self {
        Self { seed, frames: 0, subtrees: Vec::new() }
    }

    /// Adds the next frame and returns its leaf hash.
    pub fn push(&mut self, value: &[u8]) -> Hash32 {
        let leaf = frame_leaf_hash(&self.seed, self.frames, value);
        let mut node = leaf;
        for _ in 0..self.frames.trailing_ones() {
            match self.subtrees.pop() {
                Some(left) => node = node_hash(&left, &node),
                None => break,
            }
        }
        self.subtrees.push(node);
        self.frames = self.frames.saturating_add(1);
        leaf
    }

    /// Number of frames so far.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// The commitment to the frames so far.
    #[must_use]
    pub fn commitment(&self) -> Hash32 {
        response_commitment(self.frames, &fold_subtrees(&self.subtrees))
    }
}

/// Root of a tree from the roots of its full subtrees, largest first; the empty tree's root if there are none.
#[must_use]
pub fn fold_subtrees(subtrees: &[Hash32]) -> Hash32 {
    let mut roots = subtrees.iter().rev();
    let Some(first) = roots.next() else {
        return crate::tlog::empty_root();
    };
    roots.fold(*first, |right, left| node_hash(left, &right))
}

/// The root over leaf hashes that are already computed, for prefix proofs over stored hashes.
#[must_use]
pub fn root_of(leaf_hashes: &[Hash32]) -> Hash32 {
    match leaf_hashes {
        [] => crate::tlog::empty_root(),
        [one] => *one,
        many => {
            let half = many.len().next_power_of_two().checked_div(2).unwrap_or(1);
            let (left, right) = many.split_at(half);
            node_hash(&root_of(left), &root_of(right))
        }
    }
}

/// The response commitment of whole frames.
#[must_use]
pub fn commitment_of<'a>(seed: &Hash32, frames: impl IntoIterator<Item = &'a [u8]>) -> Hash32 {
    let mut builder = TranscriptBuilder::new(*seed);
    for frame in frames {
        builder.push(frame);
    }
    builder.commitment()
}

/// What starts the spliced member in a final frame.
const SPLICE: &[u8] = b",\"candor\":{";

/// Puts `member` (the inside of a JSON object) into the last frame as its last member, just before the closing brace.
///
/// Returns `None` if the frame is not an object.
#[must_use]
pub fn splice(frame: &[u8], member: &[u8]) -> Option<Vec<u8>> {
    let (brace, head) = frame.split_last()?;
    if *brace != b'}' {
        return None;
    }
    let mut out = Vec::with_capacity(frame.len().saturating_add(member.len()).saturating_add(16));
    out.extend_from_slice(head);
    out.extend_from_slice(SPLICE);
    out.extend_from_slice(member);
    out.extend_from_slice(b"}}");
    Some(out)
}

/// Cuts the spliced member out of a final frame: the frame as it was hashed, and the inside of the member.
///
/// Bytes only: nothing is parsed or serialised again. The member holds no quote-comma-quote sequence that could look like a second
/// start, because its values are base64 and hex; the *last* start is taken, and text of the model cannot contain one unescaped.
#[must_use]
pub fn unsplice(frame: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let at = frame.windows(SPLICE.len()).rposition(|window| window == SPLICE)?;
    let (head, tail) = frame.split_at_checked(at)?;
    let member = tail.strip_prefix(SPLICE)?.strip_suffix(b"}}")?;
    let mut value = head.to_vec();
    value.push(b'}');
    Some((value, member))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boundary_moved_between_parts_changes_the_commitment() {
        let salt = Hash32([1; 32]);
        let a = request_commitment(&salt, "POST", "/v1/chat", b"{}");
        assert_ne!(a, request_commitment(&salt, "POST/", "v1/chat", b"{}"));
        assert_ne!(a, request_commitment(&salt, "POST", "/v1/chat{", b"}"));
        assert_ne!(a, request_commitment(&Hash32([2; 32]), "POST", "/v1/chat", b"{}"));
    }

    #[test]
    fn the_builder_agrees_with_the_tree_for_every_length() {
        let seed = Hash32([3; 32]);
        let mut builder = TranscriptBuilder::new(seed);
        let mut leaves = Vec::new();
        for n in 0..70u64 {
            assert_eq!(builder.commitment(), response_commitment(n, &root_of(&leaves)), "{n} frames");
            let value = alloc::format!("frame {n}");
            leaves.push(builder.push(value.as_bytes()));
            assert_eq!(leaves.last(), Some(&frame_leaf_hash(&seed, n, value.as_bytes())));
        }
    }

    #[test]
    fn frames_moved_dropped_or_changed_change_the_commitment() {
        let seed = Hash32([3; 32]);
        let whole = commitment_of(&seed, [b"a".as_slice(), b"b", b"c"]);
        for other in
            [[b"b".as_slice(), b"a", b"c"].as_slice(), &[b"a", b"b"], &[b"a", b"b", b"d"], &[b"ab", b"c"], &[b"a", b"b", b"c", b""]]
        {
            assert_ne!(whole, commitment_of(&seed, other.iter().copied()));
        }
        assert_ne!(whole, commitment_of(&Hash32([4; 32]), [b"a".as_slice(), b"b", b"c"]));
    }

    #[test]
    fn a_spliced_member_is_cut_out_again_byte_for_byte() {
        let frame = br#"{"choices":[],"text":"\",\"candor\":{}}"}"#;
        let member = br#""receipt":"AAEC""#;
        let spliced = splice(frame, member).unwrap();
        assert!(spliced.ends_with(br#","candor":{"receipt":"AAEC"}}"#));
        assert_eq!(unsplice(&spliced), Some((frame.to_vec(), member.as_slice())));
        assert_eq!(unsplice(frame), None);
        assert_eq!(splice(b"[1]", member), None);
        assert_eq!(splice(b"", member), None);
    }
}
