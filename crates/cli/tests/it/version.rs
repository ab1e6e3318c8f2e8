//! `candor --version`, and the rules by which the build script makes it.

#[allow(dead_code)] // its `main`
#[path = "../../build.rs"]
mod build;

use std::path::PathBuf;
use std::process::Command;

use crate::support::process::new_directory;

const COMMIT: &str = "abcdef0123456789abcdef0123456789abcdef01";
const DATE: &str = "2026-11-28";

#[test]
fn the_program_calls_itself_by_its_name_its_version_and_its_commit() {
    let output = Command::new(env!("CARGO_BIN_EXE_candor")).arg("-V").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said, concat!("candor ", env!("CANDOR_VERSION"), "\n"));
    assert!(said.starts_with(concat!("candor ", env!("CARGO_PKG_VERSION"))), "{said}");
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    if root.join(".git").exists() {
        let commit = build::of_git(&root).unwrap();
        assert_eq!(env!("CANDOR_VERSION"), build::version(env!("CARGO_PKG_VERSION"), Some((&commit.0, &commit.1))).unwrap());
    }
}

#[test]
fn a_version_names_twelve_digits_of_the_commit_and_its_day() {
    let version = |commit: &str| build::version("0.1.0", Some((commit, DATE)));
    assert_eq!(version(COMMIT).as_deref(), Ok("0.1.0 (abcdef012345 2026-11-28)"));
    assert_eq!(version(&COMMIT[..12]).as_deref(), Ok("0.1.0 (abcdef012345 2026-11-28)"));
    assert_eq!(version(&format!("{COMMIT}-modified")).as_deref(), Ok("0.1.0 (abcdef012345-modified 2026-11-28)"));
    assert_eq!(build::version("0.1.0", None).as_deref(), Ok("0.1.0"));
}

#[test]
fn what_is_no_commit_or_no_day_stops_the_build_and_is_named() {
    for commit in ["", "abcdef01234", "ABCDEF0123456789", "abcdef01234g", "abcdef012345-dirty", "abcdef012345\nx", &"a".repeat(65)] {
        let error = build::version("0.1.0", Some((commit, DATE))).unwrap_err();
        assert!(error.contains("CANDOR_COMMIT:") && error.contains("12 to 64"), "{error}");
    }
    for date in ["", "2026-11-2", "28.11.2026", "2026/11/28", "2026-11-28T00:00", "2026-1a-28", "2026-11-2é"] {
        let error = build::version("0.1.0", Some((COMMIT, date))).unwrap_err();
        assert!(error.contains("CANDOR_COMMIT_DATE: expected YYYY-MM-DD"), "{error}");
    }
}

/// A repository with one commit, and a work tree beside it.
fn repository() -> (PathBuf, PathBuf, impl Fn(&PathBuf, &[&str])) {
    let (main, tree) = (new_directory(), new_directory());
    let git = |directory: &PathBuf, arguments: &[&str]| {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgSign=false"]);
        command.envs([("GIT_COMMITTER_DATE", "2026-11-28T12:00:00 +0000"), ("GIT_CONFIG_GLOBAL", "/dev/null")]);
        let output = command.arg("-C").arg(directory).args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    std::fs::remove_dir_all(&tree).unwrap();
    git(&main, &["init", "--quiet", "--initial-branch=main"]);
    git(&main, &["commit", "--quiet", "--allow-empty", "--message=one"]);
    git(&main, &["worktree", "add", "--quiet", "-b", "other", tree.to_str().unwrap()]);
    (main, tree, git)
}

#[test]
fn a_work_tree_has_its_own_commit_and_watches_its_own_head_and_branch() {
    let (main, tree, git) = repository();
    git(&tree, &["commit", "--quiet", "--allow-empty", "--message=two"]);
    let (of_main, of_tree) = (build::of_git(&main).unwrap(), build::of_git(&tree).unwrap());
    assert!(of_main.0 != of_tree.0 && of_tree.1 == "2026-11-28", "{of_tree:?}");
    let watched = |root: &PathBuf| build::watched(root).iter().map(|path| path.canonicalize().unwrap()).collect::<Vec<_>>();
    let of_repository = main.join(".git").canonicalize().unwrap();
    assert_eq!(watched(&main), [of_repository.join("HEAD"), of_repository.join("refs/heads/main")]);
    let own = of_repository.join("worktrees").join(tree.file_name().unwrap());
    assert_eq!(watched(&tree), [own.join("HEAD"), of_repository.join("refs/heads/other")]);
    // What is watched exists, packed or not: a missing file would build the program anew each time.
    git(&main, &["pack-refs", "--all"]);
    assert_eq!(watched(&main), [of_repository.join("HEAD"), of_repository.join("packed-refs"), of_repository.join("logs/HEAD")]);
    // No branch is checked out.
    git(&tree, &["checkout", "--quiet", "--detach"]);
    assert_eq!(watched(&tree), [own.join("HEAD")]);
    std::fs::remove_dir_all(main).unwrap();
    std::fs::remove_dir_all(tree).unwrap();
}

#[test]
fn a_directory_that_is_no_checkout_has_no_commit_even_inside_one() {
    let (main, tree, _git) = repository();
    let inside = main.join("vendor/candor");
    std::fs::create_dir_all(&inside).unwrap();
    assert!(build::of_git(&inside).is_none() && build::watched(&inside).is_empty());
    std::fs::write(inside.join(".git"), "gitdir: /nowhere\n").unwrap();
    assert!(build::of_git(&inside).is_none() && build::watched(&inside).is_empty());
    std::fs::remove_dir_all(main).unwrap();
    std::fs::remove_dir_all(tree).unwrap();
}
