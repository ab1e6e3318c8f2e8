//! Writes `vectors/`: `vectors OUTDIR [--bundles]`.
//!
//! The deterministic files are written always: running it again changes nothing. Bundles carry an attestation under a root that is made
//! for the occasion and thrown away, so they are new every time; they are written only if there are none yet, or with `--bundles`.

use std::path::Path;
use std::{env, fs, io};

use candor_testkit::forge::Forge;
use candor_testkit::{cases, flat, fresh_hypervisor, json, live, proofs};

fn main() -> io::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (out, bundles) = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [out] => (Path::new(out), false),
        [out, "--bundles"] => (Path::new(out), true),
        _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "usage: vectors OUTDIR [--bundles]")),
    };
    fs::create_dir_all(out)?;
    for (name, content) in flat::all() {
        fs::write(out.join(format!("{name}.json")), flat::text(&content))?;
    }
    let dir = out.join("bundle");
    if bundles || !dir.exists() {
        write_bundles(&dir)?;
    }
    // Where bundles are, and not only their folder.
    if dir.join("honest.candor").exists() { write_proofs(&out.join("proof"), &dir) } else { Ok(()) }
}

/// From the bundles that are there: running it again changes nothing.
fn write_proofs(dir: &Path, bundles: &Path) -> io::Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir)?;
    }
    fs::create_dir_all(dir)?;
    let cases = proofs::all(&|name| fs::read(bundles.join(format!("{name}.candor"))).unwrap_or_default());
    for case in &cases {
        fs::write(dir.join(format!("{}.candor", case.file)), &case.bytes)?;
    }
    let judged = serde_json::from_slice(&fs::read(bundles.join("cases.json"))?)?;
    fs::write(dir.join("cases.json"), proofs::cases_text(&cases, &judged))
}

fn write_bundles(dir: &Path) -> io::Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir)?;
    }
    fs::create_dir_all(dir)?;
    let (forge, stranger) = (Forge::new(fresh_hypervisor("ours")), Forge::new(fresh_hypervisor("strangers")));
    let cases = cases::all(&forge, &stranger);
    for case in &cases {
        fs::write(dir.join(format!("{}.candor", case.file)), &case.bytes)?;
    }
    fs::write(dir.join("cases.json"), json::cases_text(&cases))?;
    fs::write(dir.join("live.json"), live::text(&forge))?;
    println!("{} cases in {}", cases.len(), dir.display());
    Ok(())
}
