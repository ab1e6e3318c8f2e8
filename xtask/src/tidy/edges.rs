//! Who may use whom. The table is the architecture: a new edge is a decision, with an ADR, and not a line in a Cargo.toml.

use super::Report;
use super::metadata::{Kind, Metadata, Package};

/// A crate and the crates of ours that it may use outside tests.
struct Room {
    name: &'static str,
    may_use: &'static [&'static str],
    reason: &'static str,
}

const ROOMS: &[Room] = &[
    Room { name: "verify", may_use: &[], reason: "the ground floor: everybody must be able to run it, so it stands on nothing of ours" },
    Room { name: "link", may_use: &["verify"], reason: "frames and messages, and the words in them" },
    Room { name: "x402", may_use: &["verify"], reason: "usable on its own" },
    Room { name: "log", may_use: &["verify"], reason: "what it writes is what the verifier reads" },
    Room { name: "engine", may_use: &[], reason: "a function from bytes to bytes, usable on its own" },
    Room { name: "chain", may_use: &["verify"], reason: "the only door to an EVM chain" },
    Room {
        name: "attestor",
        may_use: &["verify", "chain"],
        reason: "signs for evidence from its own look at a chain: it must not lean on anything of the node that asks",
    },
    Room { name: "report", may_use: &["verify"], reason: "a page needs what a terminal needs, without files, sockets or money" },
    Room { name: "devchain", may_use: &[], reason: "a chain knows nothing of us" },
    Room { name: "devtee", may_use: &["verify"], reason: "signs what the verifier reads" },
    Room {
        name: "enclave",
        may_use: &["verify", "link", "x402", "log", "engine"],
        reason: "measured code stays small: no chain client, no database, no simulated hardware",
    },
    Room {
        name: "host",
        may_use: &["verify", "link", "x402", "log", "chain"],
        reason: "carries bytes; it must not be able to do the enclave's work",
    },
    Room {
        name: "client",
        may_use: &["verify", "x402", "chain", "engine", "report"],
        reason: "needs nothing of a node; the engine is for replay",
    },
    Room {
        name: "cli",
        may_use: &[
            "verify",
            "link",
            "x402",
            "log",
            "engine",
            "chain",
            "attestor",
            "report",
            "devchain",
            "devtee",
            "enclave",
            "host",
            "client",
            "workspace-hack",
        ],
        reason: "one binary that can be every process",
    },
    Room {
        name: "testkit",
        may_use: &["verify", "link", "x402", "log", "engine", "chain", "devchain", "devtee", "enclave", "host", "client"],
        reason: "for tests; nothing of the product may use it",
    },
    Room {
        name: "testhttp",
        may_use: &["verify", "x402"],
        reason: "for tests; apart from testkit, so that tests without sockets build none",
    },
    Room { name: "workspace-hack", may_use: &[], reason: "no code, only features of others: one build for demo and tests" },
];

/// Crates of others that only some rooms may use, because a second user would be a second door.
const DOORS: &[(&str, &[&str])] = &[
    ("alloy", &["chain", "devchain"]),
    ("revm", &["devchain"]),
    ("rusqlite", &["host", "client"]),
    ("secp256k1", &["x402"]),
    ("clap", &["cli"]),
    ("toml", &["report"]),
    ("rcgen", &["enclave"]),
];

/// Rooms that are no part of the product: no door is closed to them, and no other room may use them.
const FOR_TESTS: &[&str] = &["testkit", "testhttp"];

pub(super) fn check(metadata: &Metadata, report: &mut Report) {
    for package in metadata.ours() {
        let manifest = manifest(&package.name);
        if package.name == "xtask" {
            if !package.dependencies.is_empty() {
                report.error("edges", manifest, "xtask has no dependencies, so that it compiles first and in seconds");
            }
            continue;
        }
        let room = package.name.strip_prefix("candor-").and_then(|name| ROOMS.iter().find(|room| room.name == name));
        match room {
            None => report.error("edges", manifest, "not in the table of xtask/src/tidy/edges.rs: say there whom it may use, and why"),
            Some(room) => check_room(package, room, report),
        }
    }
}

fn check_room(package: &Package, room: &Room, report: &mut Report) {
    // Tests may use anything: their edges end with the test program.
    for dependency in package.dependencies.iter().filter(|dependency| dependency.kind != Kind::Dev) {
        let manifest = manifest(&package.name);
        if let Some(name) = dependency.name.strip_prefix("candor-")
            && !room.may_use.contains(&name)
        {
            let message = format!("{} must not use {name}; it may use {:?}: {}", room.name, room.may_use, room.reason);
            report.error("edges", &manifest, message);
        }
        let door = DOORS.iter().find(|(name, _)| dependency.name == *name || is_part_of(&dependency.name, name));
        if let Some((_, users)) = door
            && !users.contains(&room.name)
            && !FOR_TESTS.contains(&room.name)
        {
            report.error("edges", manifest, format!("only {users:?} may use {}: there is one door", dependency.name));
        }
    }
}

/// `alloy-primitives` is part of `alloy`, `revm-precompile` of `revm`.
fn is_part_of(name: &str, family: &str) -> bool {
    matches!(family, "alloy" | "revm") && name.strip_prefix(family).is_some_and(|rest| rest.starts_with('-'))
}

fn manifest(package: &str) -> String {
    match package.strip_prefix("candor-") {
        Some(name) => format!("crates/{name}/Cargo.toml"),
        None => format!("{package}/Cargo.toml"),
    }
}
