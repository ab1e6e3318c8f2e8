//! Leaves and RFC 9162 proofs, made by the recursive definitions of the RFC and never by the code under test.

use candor_verify::bytes::{Hash32, Signature65};
use candor_verify::tlog::{empty_root, leaf_data, leaf_hash, node_hash};
use serde_json::{Value, json};

use super::{File, file, h, hash, hashes, hex, number};

pub(super) fn files() -> Vec<File> {
    vec![leaves(), inclusions(), consistencies()]
}

fn leaves() -> File {
    let case = |name: &str, salt: &Hash32, digest: &Hash32, signature: &Signature65| {
        let data = leaf_data(salt, digest, signature);
        json!({
            "name": name, "logSalt": hash(salt), "receiptDigest": hash(digest), "signature": hex(&signature.0),
            "leafData": hash(&data), "leafHash": hash(&leaf_hash(&data.0)),
        })
    };
    let mut salted = case("another salt", &h(1), &h(2), &Signature65([3; 65]));
    salted["logSalt"] = hash(&h(4));
    salted["refusedBy"] = json!("log.inclusion");
    let zeros = Signature65([0; 65]);
    file("leaf", vec![case("distinct parts", &h(1), &h(2), &Signature65([3; 65])), case("zeros", &h(0), &h(0), &zeros)], vec![salted])
}

fn leaf(index: u64) -> Hash32 {
    leaf_hash(&h(u8::try_from(index % 251).expect("below 251")).0)
}

/// RFC 9162 §2.1.1: the root over leaves `from..to`.
fn root(from: u64, to: u64) -> Hash32 {
    match to - from {
        0 => empty_root(),
        1 => leaf(from),
        count => node_hash(&root(from, from + split(count)), &root(from + split(count), to)),
    }
}

/// The largest power of two below `count` (2 or more).
fn split(count: u64) -> u64 {
    1 << (63 - (count - 1).leading_zeros())
}

/// RFC 9162 §2.1.3.1, lowest sibling first.
fn path(index: u64, from: u64, to: u64) -> Vec<Hash32> {
    if to - from == 1 {
        return Vec::new();
    }
    let middle = from + split(to - from);
    let (mut proof, sibling) =
        if index < middle { (path(index, from, middle), root(middle, to)) } else { (path(index, middle, to), root(from, middle)) };
    proof.push(sibling);
    proof
}

/// RFC 9162 §2.1.4.1.
fn subproof(old: u64, from: u64, to: u64, whole: bool) -> Vec<Hash32> {
    if old == to {
        return if whole { Vec::new() } else { vec![root(from, to)] };
    }
    let middle = from + split(to - from);
    let (mut proof, sibling) = if old <= middle {
        (subproof(old, from, middle, whole), root(middle, to))
    } else {
        (subproof(old, middle, to, false), root(from, middle))
    };
    proof.push(sibling);
    proof
}

/// Hashes in an inclusion path, by the same recursion without any hash.
fn path_length(index: u64, size: u64) -> usize {
    match size {
        1 => 0,
        size if index < split(size) => 1 + path_length(index, split(size)),
        size => 1 + path_length(index - split(size), size - split(size)),
    }
}

/// The root that a path leads to, for trees too large to build.
fn root_by_path(leaf: Hash32, index: u64, size: u64, path: &[Hash32]) -> Hash32 {
    let Some((last, rest)) = path.split_last() else { return leaf };
    let middle = split(size);
    if index < middle {
        node_hash(&root_by_path(leaf, index, middle, rest), last)
    } else {
        node_hash(last, &root_by_path(leaf, index - middle, size - middle, rest))
    }
}

fn inclusions() -> File {
    let case = |name: String, leaf: &Hash32, index: u64, size: u64, root: &Hash32, proof: &[Hash32], valid: bool| {
        let mut case = json!({
            "name": name, "leafHash": hash(leaf), "index": number(index), "size": number(size), "root": hash(root),
            "proof": hashes(proof), "valid": valid,
        });
        if !valid {
            case["refusedBy"] = json!("log.inclusion");
        }
        case
    };
    let mut cases = Vec::new();
    for size in 1..=8 {
        for index in 0..size {
            let (root, proof) = (root(0, size), path(index, 0, size));
            cases.push(case(format!("leaf {index} of {size}"), &leaf(index), index, size, &root, &proof, true));
        }
    }
    for (index, size) in [(0, 100), (63, 100), (64, 100), (96, 100), (99, 100), (255, 256), (256, 257)] {
        cases.push(case(format!("leaf {index} of {size}"), &leaf(index), index, size, &root(0, size), &path(index, 0, size), true));
    }
    for (index, size) in [(0, u64::MAX), (u64::MAX - 1, u64::MAX), (1 << 63, u64::MAX), (1 << 63, (1 << 63) + 1)] {
        let proof: Vec<Hash32> = (0..path_length(index, size)).map(|i| h(u8::try_from(i).expect("at most 64"))).collect();
        let root = root_by_path(leaf(0), index, size, &proof);
        cases.push(case(format!("leaf {index} of {size}"), &leaf(0), index, size, &root, &proof, true));
    }
    let (tree, proof) = (root(0, 7), path(5, 0, 7));
    let mut wrong = |name: &str, leaf: &Hash32, index: u64, size: u64, root: &Hash32, proof: &[Hash32]| {
        cases.push(case(name.to_owned(), leaf, index, size, root, proof, false));
    };
    wrong("another leaf", &leaf(4), 5, 7, &tree, &proof);
    wrong("another index", &leaf(5), 4, 7, &tree, &proof);
    wrong("index at the size", &leaf(5), 7, 7, &tree, &proof);
    wrong("index beyond the size", &leaf(5), u64::MAX, 7, &tree, &proof);
    wrong("size zero", &leaf(0), 0, 0, &empty_root(), &[]);
    wrong("smaller size", &leaf(5), 5, 6, &tree, &proof);
    wrong("another root", &leaf(5), 5, 7, &root(0, 8), &proof);
    wrong("one hash less", &leaf(5), 5, 7, &tree, &proof[1..]);
    wrong("last hash missing", &leaf(5), 5, 7, &tree, &proof[..proof.len() - 1]);
    wrong("one hash more", &leaf(5), 5, 7, &tree, &[proof.as_slice(), &[h(0)]].concat());
    wrong("no proof", &leaf(5), 5, 7, &tree, &[]);
    wrong("an inner node as leaf", &node_hash(&leaf(4), &leaf(5)), 2, 7, &tree, &proof[1..]);
    wrong("the root as leaf of a tree of one, with a path", &tree, 0, 1, &tree, &proof);
    for (i, mask) in [(0, 1), (1, 0x80), (2, 1)] {
        let mut altered = proof.clone();
        altered[i].0[31] ^= mask;
        wrong(&format!("hash {i} altered"), &leaf(5), 5, 7, &tree, &altered);
    }
    let mut swapped = proof.clone();
    swapped.swap(0, 1);
    wrong("hashes swapped", &leaf(5), 5, 7, &tree, &swapped);
    file("inclusion", cases, vec![])
}

fn consistencies() -> File {
    let case =
        |name: String, (first, first_root): (u64, Hash32), (second, second_root): (u64, Hash32), proof: &[Hash32], valid: bool| -> Value {
            let mut case = json!({
                "name": name, "first": number(first), "firstRoot": hash(&first_root), "second": number(second),
                "secondRoot": hash(&second_root), "proof": hashes(proof), "valid": valid,
            });
            if !valid {
                case["refusedBy"] = json!("log.consistency");
            }
            case
        };
    let tree = |size: u64| (size, root(0, size));
    let mut cases = Vec::new();
    let small = (2..=8).flat_map(|new| (1..new).map(move |old| (old, new)));
    for (old, new) in small.chain([(1, 100), (32, 100), (63, 100), (64, 100), (96, 100), (99, 100), (128, 256), (255, 256), (256, 257)]) {
        cases.push(case(format!("{old} to {new}"), tree(old), tree(new), &subproof(old, 0, new, true), true));
    }
    let mut wrong = |name: &str, first: (u64, Hash32), second: (u64, Hash32), proof: &[Hash32]| {
        cases.push(case(name.to_owned(), first, second, proof, false));
    };
    let proof = subproof(3, 0, 7, true);
    wrong("a fork at the old size", (3, h(1)), tree(7), &proof);
    wrong("a fork at the new size", tree(3), (7, h(1)), &proof);
    wrong("old and new exchanged", tree(7), tree(3), &proof);
    wrong("proof for another old size", tree(2), tree(7), &proof);
    wrong("proof for another new size", tree(3), tree(5), &proof);
    wrong("no proof", tree(3), tree(7), &[]);
    wrong("no proof from a complete tree", tree(4), tree(7), &[]);
    wrong("first hash missing", tree(3), tree(7), &proof[1..]);
    wrong("last hash missing", tree(3), tree(7), &proof[..proof.len() - 1]);
    wrong("one hash more", tree(3), tree(7), &[proof.as_slice(), &[h(0)]].concat());
    wrong(
        "old root repeated before the proof of a complete tree",
        tree(4),
        tree(7),
        &[&[root(0, 4)], subproof(4, 0, 7, true).as_slice()].concat(),
    );
    wrong("same size, another root", tree(7), (7, h(1)), &[]);
    wrong("same size with a proof", tree(7), tree(7), &[h(0)]);
    for i in 0..proof.len() {
        let mut altered = proof.clone();
        altered[i].0[0] ^= 1;
        wrong(&format!("hash {i} altered"), tree(3), tree(7), &altered);
    }
    wrong("a rewritten log of the right shape", tree(4), (7, node_hash(&h(1), &root(4, 7))), &subproof(4, 0, 7, true));
    wrong("largest sizes without a proof", (u64::MAX - 1, h(1)), (u64::MAX, h(2)), &[]);
    file("consistency", cases, vec![])
}
