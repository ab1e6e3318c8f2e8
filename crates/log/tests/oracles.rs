//! Our trees, proofs and tiles against two other people's implementations, and against the verifier that clients use.

mod common;

use common::{Keys, MemStore, leaf, log_of, publish_all};

use candor_log::edge::Edge;
use candor_log::store::LogReader;
use candor_log::tiles::Resource;
use candor_verify::Hash32;
use candor_verify::tlog::{verify_consistency, verify_inclusion};
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use proptest::prelude::*;
use sha2::Sha256;
use tlog_tiles::{Hash, HashReader, Tile, TileHashReader, TileReader};

/// Reads our published tiles for the other implementation, which puts the height into the path.
struct Published(MemStore);

impl TileReader for Published {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        let read = |tile: &Tile| {
            let resource = Resource::parse(&tile.path().replacen("tile/8/", "tile/", 1)).expect("their paths are ours");
            let whole = self.0.fetch(resource).unwrap().or_else(|| self.0.fetch(resource.completed()).unwrap());
            Ok(whole.expect("they ask for tiles that there are")[..resource.bytes_max()].to_vec())
        };
        tiles.iter().map(read).collect()
    }

    fn save_tiles(&self, _: &[Tile], _: &[Vec<u8>]) {}
}

fn bytes_of(proof: &[Hash32]) -> Vec<u8> {
    proof.iter().flat_map(|hash| hash.0).collect()
}

fn theirs(proof: Vec<Hash>) -> Vec<Hash32> {
    proof.into_iter().map(|hash| Hash32(hash.0)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn roots_and_proofs_are_those_of_ct_merkle(size in 1u64..700, pick: prop::sample::Index, old: prop::sample::Index) {
        let log = log_of(&Keys::new(1), size);
        let mut oracle = MemoryBackedTree::<Sha256, Vec<u8>>::new();
        let mut edge = Edge::new();
        for i in 0..size {
            oracle.push(leaf(i).0.0.to_vec());
            edge.push(leaf(i).hash()).unwrap();
        }
        let now = log.tree().now();
        let root = oracle.root();
        let ours = now.tree().root;
        prop_assert_eq!(ours.0.as_slice(), root.as_bytes().as_slice());
        prop_assert_eq!(edge.tree(), now.tree());
        let index = pick.index(size as usize);
        let inclusion = now.inclusion(index as u64).unwrap();
        let oracle_inclusion = oracle.prove_inclusion(index);
        prop_assert_eq!(bytes_of(&inclusion), oracle_inclusion.as_bytes());
        let old_size = 1 + old.index(size as usize) as u64;
        if old_size < size {
            let consistency = now.consistency_from(old_size).unwrap();
            let oracle_consistency = oracle.prove_consistency((size - old_size) as usize);
            prop_assert_eq!(bytes_of(&consistency), oracle_consistency.as_bytes());
        }
    }

    #[test]
    fn proofs_from_our_published_tiles_by_tlog_tiles_are_our_proofs(size in 1u64..70_000, pick: prop::sample::Index, old: prop::sample::Index) {
        let keys = Keys::new(1);
        let log = log_of(&keys, size);
        let store = MemStore::default();
        publish_all(&store, &keys, &log).unwrap();
        let now = log.tree().now();
        let tree = now.tree();
        let published = Published(store);
        let reader = TileHashReader::new(size, Hash(tree.root.0), &published);
        prop_assert_eq!(tlog_tiles::tree_hash(size, &reader).unwrap().0, tree.root.0);
        let index = pick.index(size as usize) as u64;
        let inclusion = now.inclusion(index).unwrap();
        prop_assert_eq!(&inclusion, &theirs(tlog_tiles::prove_record(size, index, &reader).unwrap()));
        prop_assert_eq!(verify_inclusion(leaf(index).hash(), index, &inclusion, &tree).unwrap().tree(), tree);
        let old_size = 1 + old.index(size as usize) as u64;
        let consistency = now.consistency_from(old_size).unwrap();
        prop_assert_eq!(&consistency, &theirs(tlog_tiles::prove_tree(size, old_size, &reader).unwrap()));
        let before = log.tree().at(old_size).unwrap().tree();
        prop_assert_eq!(verify_consistency(&before, &tree, &consistency).unwrap().old(), before);
        let stored = tlog_tiles::stored_hash_index(0, index);
        prop_assert_eq!(reader.read_hashes(&[stored]).unwrap()[0].0, leaf(index).hash().0);
    }
}
