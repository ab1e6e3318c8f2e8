//! Completions and manual pages: of every command that help shows, and the same at each time.

use std::process::Command;

use crate::support::process::{listed, new_directory, run};

/// The commands that help shows, each of which has a manual page.
fn shown() -> Vec<String> {
    let state = new_directory();
    assert_eq!(run(&state, &["man", state.to_str().unwrap()]).code, 0);
    let help = Command::new(env!("CARGO_BIN_EXE_candor")).arg("-h").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let shown = listed(&help);
    for name in &shown {
        assert!(state.join(format!("candor-{name}.1")).is_file(), "{name} has no manual page");
    }
    std::fs::remove_dir_all(state).unwrap();
    shown
}

fn script(shell: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_candor")).args(["completions", shell]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_shell_completes_every_command_that_help_shows() {
    let shown = shown();
    assert!(["ask", "serve", "verify", "completions"].iter().all(|name| shown.iter().any(|found| found == name)), "{shown:?}");
    for shell in ["bash", "zsh", "fish"] {
        let script = script(shell);
        for name in &shown {
            assert!(script.contains(name.as_str()), "{shell}: {name}");
        }
        let state = new_directory();
        let ran = run(&state, &["completions", shell]);
        assert_eq!((ran.code, ran.json["script"].as_str()), (0, Some(script.as_str())));
        // A shell that starts asks for them: nothing is made, and nothing has to be there.
        assert_eq!(std::fs::read_dir(&state).unwrap().count(), 0);
        std::fs::remove_dir_all(state).unwrap();
    }
}

#[test]
fn bash_completes_the_beginning_of_a_command() {
    let state = new_directory();
    let file = state.join("candor.bash");
    // Longer than an argument may be.
    std::fs::write(&file, script("bash")).unwrap();
    let asked = "COMP_WORDS=(candor veri); COMP_CWORD=1; _candor candor veri candor; echo \"${COMPREPLY[*]}\"";
    let output = Command::new("bash").args(["--norc", "-c", &format!(". {}; {asked}", file.display())]).output().unwrap();
    std::fs::remove_dir_all(state).unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "verify\n", "{output:?}");
}

#[test]
fn a_shell_that_is_not_known_is_refused_with_those_that_are() {
    let state = new_directory();
    for (arguments, words) in [(&["completions"][..], "<SHELL>"), (&["completions", "powershell"], "bash, zsh, fish")] {
        let ran = run(&state, arguments);
        assert!(ran.code == 2 && ran.json["error"].as_str().unwrap().contains(words), "{ran:?}");
    }
    std::fs::remove_dir_all(state).unwrap();
}

#[test]
fn there_is_a_manual_page_for_the_program_and_for_each_command_that_help_shows() {
    let state = new_directory();
    let (first, second) = (state.join("first"), state.join("second"));
    for directory in [&first, &second] {
        std::fs::create_dir(directory).unwrap();
        assert_eq!(run(&state, &["man", directory.to_str().unwrap()]).code, 0);
    }
    let mut names = vec!["candor".to_string()];
    names.extend(shown().iter().map(|name| format!("candor-{name}")));
    for name in &names {
        let page = std::fs::read_to_string(first.join(format!("{name}.1"))).unwrap();
        assert!(page.contains(".TH ") && !page.contains(state.to_str().unwrap()), "{name}");
    }
    let mut count = 0;
    for entry in std::fs::read_dir(&first).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        assert!(!name.starts_with("candor-enclave") && !name.starts_with("candor-host") && name != "candor-man.1", "{name}");
        assert_eq!(std::fs::read(entry.path()).unwrap(), std::fs::read(second.join(&name)).unwrap(), "{name} is the same each time");
        count += 1;
    }
    assert!(names.len() <= count);
    std::fs::remove_dir_all(state).unwrap();
}

#[test]
fn manual_pages_are_not_written_into_nowhere() {
    let state = new_directory();
    let nowhere = state.join("none");
    let ran = run(&state, &["man", nowhere.to_str().unwrap()]);
    assert!(ran.code == 2 && ran.json["error"].as_str().unwrap().contains(nowhere.to_str().unwrap()), "{ran:?}");
    std::fs::remove_dir_all(state).unwrap();
}
