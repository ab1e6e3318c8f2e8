//! No I/O, clock, environment or output in crates whose answers must depend on their arguments alone; no way to pay told from another outside
//! of the rooms that are for that.
//!
//! A word search, on purpose: it is blunt and it reads like the rule. Tests are exempt.

use std::collections::BTreeMap;

use super::{Report, Tree};

/// Crates and the names that must not occur in their code, with the reason.
const BANS: &[Ban] = &[
    Ban {
        crates: &["verify", "link", "x402", "log", "engine", "report"],
        names: &["SystemTime", "Instant::now", "std::env", "env::var", "std::process", "std::net", "tokio::", "thread::sleep"],
        except: &[],
        reason: "time, environment and sockets are parameters or belong to the shells",
    },
    Ban {
        crates: &["verify", "link", "x402", "log", "engine", "report"],
        names: &["std::fs", "File::open", "File::create"],
        except: &["crates/log/src/store.rs"],
        reason: "files belong to the shells",
    },
    Ban {
        crates: &["verify", "link", "x402", "log", "engine", "chain", "report", "enclave", "host", "client"],
        names: &["println!(", "print!(", "eprintln!(", "eprint!(", "dbg!("],
        except: &[],
        reason: "a library does not write to the terminal; what an enclave prints, its host reads",
    },
    Ban {
        crates: &["verify", "link", "x402", "log", "chain", "report", "enclave", "host", "client"],
        names: &["f32", "f64"],
        except: &[],
        reason: "money is integers with an asset; floats live in the engine",
    },
    Ban {
        crates: &["verify", "x402", "link", "log", "chain", "report", "enclave", "host", "client", "cli"],
        names: &[
            "Scheme::ExactEip3009",
            "Scheme::ExactPermit2",
            "Scheme::UptoPermit2",
            "Scheme::Batch",
            "Through::Token",
            "Through::UptoProxy",
        ],
        except: &[
            "crates/verify/src/scheme/mod.rs",
            "crates/verify/src/scheme/eip3009.rs",
            "crates/verify/src/scheme/permit2.rs",
            "crates/verify/src/scheme/transfer.rs",
            "crates/x402/src/scheme/mod.rs",
            "crates/x402/src/scheme/eip3009.rs",
            "crates/x402/src/scheme/permit2.rs",
            "crates/x402/src/scheme/requirements.rs",
            "crates/x402/src/scheme/verify.rs",
            // It reads a case by its scheme, as a stranger's program would.
            "crates/report/src/conformance/signed.rs",
        ],
        reason: "what differs by scheme is answered in `scheme/`: ask `Scheme` or `Through` there",
    },
    Ban { crates: &["verify"], names: &["HashMap", "HashSet"], except: &[], reason: "order that is not fixed has no place in an encoder" },
];

struct Ban {
    crates: &'static [&'static str],
    names: &'static [&'static str],
    except: &'static [&'static str],
    reason: &'static str,
}

/// Crates that read bytes of strangers: a panic there is an outage or worse, so clippy denies what can panic.
const PANIC_FREE: &[&str] = &["verify", "link", "x402", "log", "report", "enclave"];

/// Shells may read the clock, each in one file, so that there is one place to look at.
const CLOCK: &str = "SystemTime::now";

pub(super) fn check(tree: &Tree, report: &mut Report) {
    for file in tree.files.iter().filter(|file| file.extension() == "rs" && file.path.contains("/src/") && !file.is_test()) {
        let Some(crate_name) = file.in_crate() else { continue };
        // Programs may read their arguments and print.
        if file.path.contains("/src/bin/") || file.name() == "main.rs" {
            continue;
        }
        let bans = BANS.iter().filter(|ban| ban.crates.contains(&crate_name) && !ban.except.contains(&file.path.as_str()));
        for ban in bans {
            for (number, line) in file.code() {
                if let Some(name) = ban.names.iter().find(|name| contains_name(line, name)) {
                    report.error("purity", format!("{}:{number}", file.path), format!("`{name}`: {}", ban.reason));
                }
            }
        }
    }
    one_clock(tree, report);
    for name in PANIC_FREE {
        let path = format!("crates/{name}/src/lib.rs");
        match tree.get(&path) {
            None => report.error("panics", path, "missing"),
            Some(file) if file.text.contains("clippy::unwrap_used") && file.text.contains("clippy::indexing_slicing") => {}
            Some(_) => {
                report.error("panics", path, "deny clippy::unwrap_used, expect_used, panic, indexing_slicing, arithmetic_side_effects")
            }
        }
    }
}

fn one_clock(tree: &Tree, report: &mut Report) {
    let mut doors: BTreeMap<&str, &str> = BTreeMap::new();
    let sources = tree.files.iter().filter(|file| file.extension() == "rs" && file.path.contains("/src/") && !file.is_test());
    for file in sources.filter(|file| file.code().any(|(_, line)| line.contains(CLOCK))) {
        let Some(crate_name) = file.in_crate() else { continue };
        match doors.get(crate_name) {
            None => drop(doors.insert(crate_name, &file.path)),
            Some(door) => report.error("purity", &file.path, format!("`{CLOCK}`: this crate reads the clock in {door}")),
        }
    }
}

/// Whether the name occurs and is not the end of a longer one.
fn contains_name(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
}

#[cfg(test)]
mod tests {
    use super::contains_name;

    #[test]
    fn a_name_is_not_the_end_of_another() {
        assert!(contains_name("    print!(\"x\")", "print!("));
        assert!(!contains_name("    eprint!(\"x\")", "print!("));
    }
}
