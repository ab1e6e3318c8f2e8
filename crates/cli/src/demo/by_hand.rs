//! What the demo showed, once more by hand: commands that can be pasted as they are, ours and those of others.

use std::path::{Path, PathBuf};

use candor_log::tiles::{Resource, Span};
use candor_verify::bundle::Bundle;
use candor_verify::bytes::{Hash32, to_hex};
use candor_verify::tlog::leaf_data;

use super::story::CALLDATA;
use super::{Stage, shown};
use crate::output::{Failure, say};

/// This program on the demo's state, as a shell takes it.
pub(super) fn candor(stage: &Stage) -> String {
    let program = std::env::current_exe().map(|path| quoted(&path)).unwrap_or_else(|_| "candor".into());
    format!("{program} --state {}", quoted(&stage.state))
}

/// Commands that can be pasted as they are. What needs the chain is listed only if the chain stays.
pub(super) fn try_it(stage: &Stage, bundle: &Bundle, path: &Path, transfer: Option<Hash32>) -> Result<(), Failure> {
    let candor = candor(stage);
    let (file, flipped) = (quoted(path), stage.state.join("flipped.candor"));
    say!("\nTry it yourself");
    say!("  the same file, every check\n    {candor} verify {file}");
    say!("  one bit of it flipped: refused, by name");
    say!(
        "    python3 -c 'import sys; d = bytearray(open(sys.argv[1], \"rb\").read()); d[9000] ^= 1; open(sys.argv[2], \"wb\").write(d)' {file} {}",
        quoted(&flipped)
    );
    say!("    {candor} verify {}", quoted(&flipped));
    say!("  the model again, byte for byte\n    {candor} replay {file}");
    let leaf = stage.state.join("leaf");
    let delivery = &bundle.delivery;
    let preimage = [candor_verify::tags::LEAF, &delivery.leaf_salt.0, &delivery.receipt.digest().0, &delivery.signature.0].concat();
    std::fs::write(&leaf, preimage).map_err(|error| Failure::cannot(format!("{}: {error}", leaf.display())))?;
    let (entries, offset) = leaf_in_log(stage, bundle)?;
    let hash = to_hex(&leaf_data(&delivery.leaf_salt, &delivery.receipt.digest(), &delivery.signature).0);
    say!("  the receipt's leaf by hand, and where the log has it: both lines print {}", hash.trim_start_matches("0x"));
    say!("    sha256sum {}", quoted(&leaf));
    say!("    od -An -v -tx1 -w32 -j{offset} -N32 {} | tr -d ' '", quoted(&entries));
    if !stage.is_kept {
        say!("  on chain: the demo with --keep leaves chain and node running, and prints what to ask them");
        return Ok(());
    }
    let (rpc, deployment) = (&stage.rpc, stage.development.deployed().addresses);
    let log = entries.ancestors().find(|directory| directory.join("checkpoint").exists()).unwrap_or(&entries);
    say!("  the same file against the chain\n    {candor} verify {file} --rpc {rpc}");
    say!("  who is registered, and the whole log against its anchors");
    say!("    {candor} registry list --rpc {rpc}\n    {candor} log check {} --rpc {rpc}", quoted(log));
    say!("  the chain without us; `cast` is Foundry's: https://getfoundry.sh, or npm install @foundry-rs/cast-linux-amd64");
    if let Some(hash) = transfer {
        say!("    cast receipt {hash} --rpc-url {rpc}");
    }
    say!("  the proof to a contract: digest of the receipt, K_sig, operator, listed id, kinds and outcome of the work, model,");
    say!("  Unix times of answer and anchor, whether the anchor is in sequence, and the money");
    say!(
        "    cast decode-abi 'prove()((bytes32,address,address,bytes32,uint32,uint8,bytes32,uint64,uint64,bool,(bytes32,uint8,address,address,address,uint256,address,uint256,uint256,uint256,uint256,bytes32)))' $(cast call {} --data $(cat {}) --rpc-url {rpc})",
        deployment.registry,
        quoted(&stage.state.join(CALLDATA))
    );
    Ok(())
}

/// File and offset of the receipt's leaf in the published log. Spec: log.md §4: entries are 2 bytes of length and 32 of leaf.
fn leaf_in_log(stage: &Stage, bundle: &Bundle) -> Result<(PathBuf, u64), Failure> {
    let receipt = &bundle.delivery.receipt;
    let log = stage.state.join("node/host/log").join(receipt.log_id.to_string().trim_start_matches("0x"));
    let position = receipt.sequence % 256;
    // The log may have grown since: any bundle of its row that reaches this far.
    let widths = u16::try_from(position + 1).into_iter().flat_map(|first| first..=256);
    let spans = widths.filter_map(|width| Span::full(receipt.sequence / 256)?.of_width(width));
    let file = spans.map(|span| log.join(Resource::Entries { span }.to_string())).find(|file| file.exists());
    let file = file.ok_or_else(|| Failure::cannot(format!("no entries are published in {}", log.display())))?;
    Ok((file, position * 34 + 2))
}

/// A path as a shell reads it.
pub(super) fn quoted(path: &Path) -> String {
    let text = shown(path);
    let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-+".contains(&byte));
    if is_plain { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}
