//! An RPC URL is a secret: providers put the key of an account into its path or query. Whatever the endpoint does, no part of it that may be
//! a key is in any output, answer or file. Over the real program, with an endpoint that repeats the URL in whatever it says.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use candor_client::plain;

use crate::support::http::{Http, post};
use crate::support::liar::{Form, Liar, Lie};
use crate::support::payer::question;
use crate::support::process::{Process, new_directory};
use crate::support::split::{Split, log_status, metrics_url};
use crate::support::{World, eventually};

fn keyed(endpoint: &str) -> String {
    format!("{endpoint}/v2/SECRETKEY123?token=SECRET456")
}

/// Neither key is there, also not its beginning alone, in any case.
fn assert_kept(what: &str, text: &str) {
    let upper = text.to_ascii_uppercase();
    assert!(!upper.contains("SECRETKEY") && !upper.contains("SECRET45"), "{what}: {text}");
}

/// Every file below a directory.
fn assert_files_keep_it(directory: &Path) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            assert_files_keep_it(&path);
        } else if ["in-force.toml", "split.toml"].iter().any(|name| path.ends_with(name)) {
            // A node's own file has its endpoints: for its owner's eyes only.
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        } else if let Ok(bytes) = std::fs::read(&path) {
            // Sockets cannot be read, and files of a running host come and go.
            assert_kept(&path.display().to_string(), &String::from_utf8_lossy(&bytes));
        }
    }
}

/// Runs the program to its end; neither output says the secret, with `--json` or without.
fn assert_says_it_nowhere(state: &Path, arguments: &[&str]) {
    for json in [&[][..], &["--json"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_candor"));
        let output = command.args(json).arg("--state").arg(state).args(arguments).stdin(Stdio::null()).output().unwrap();
        assert_kept(arguments[0], &String::from_utf8_lossy(&output.stdout));
        assert_kept(arguments[0], &String::from_utf8_lossy(&output.stderr));
    }
}

#[tokio::test]
async fn no_part_of_an_rpc_url_that_may_be_a_key_is_said_or_written_whatever_the_endpoint_does() {
    let mut liar = None;
    let mut world = World::start_through(&[], |chain| keyed(&liar.insert(Liar::start(chain)).url));
    let liar = liar.unwrap();
    let rpc = keyed(&liar.url);
    let rpc = rpc.as_str();
    world.node.signal("INT");
    assert_eq!(world.node.wait(), Some(0));
    // Its halves by themselves, so that all that the host says is heard.
    let enclave = Split::enclave(&world);
    let mut arguments = Split::host_arguments_over(&world, rpc);
    arguments.extend(["--metrics-listen", "127.0.0.1:0", "--log-level", "debug"].map(str::to_owned));
    let host = Split::host(&world.state, &arguments);
    let metrics = metrics_url(&host);
    host.line(|line| line.starts_with("registered "));
    eventually("the node serves", || async { Http::connect(&world.api()).await.ok().map(drop) }).await;
    let proxy = Process::start(&world.state, &["proxy", "--rpc", rpc, "--listen", "127.0.0.1:0"]);
    let sdk = proxy.text("url").trim_end_matches("/v1").to_owned();

    let bundle = world.bundle().to_str().unwrap();
    let log_id = log_status(&world).await.unwrap()["log"]["id"].as_str().unwrap().to_owned();
    let log = world.log_directory(&log_id);
    let log = log.to_str().unwrap();
    let elsewhere = new_directory();
    for (lie, code) in [
        (Lie::None, None),
        (Lie::Quotes(Form::Text), Some("malformed")),
        (Lie::Quotes(Form::Result), Some("malformed")),
        (Lie::Quotes(Form::Error), Some("rpc_error")),
        (Lie::Quotes(Form::Unauthorized), Some("http_error")),
        (Lie::Down, Some("unreachable")),
    ] {
        liar.tell(lie);
        for arguments in [
            &["ask", "Hi", "--max-tokens", "4", "--rpc", rpc][..],
            &["verify", bundle, "--rpc", rpc],
            &["registry", "list", "--rpc", rpc],
            &["log", "check", log, "--rpc", rpc],
            &["wallet", "show", "--rpc", rpc],
            &["chain", "--deploy-to", rpc],
        ] {
            assert_says_it_nowhere(&world.state, arguments);
        }
        // With the truth it would run on.
        if lie != Lie::None {
            assert_says_it_nowhere(&elsewhere, &["proxy", "--rpc", rpc, "--listen", "127.0.0.1:0"]);
        }
        // With less it would try for a minute.
        if lie == Lie::Down {
            assert_says_it_nowhere(&elsewhere, &["serve", "--rpc", rpc, "--listen", "127.0.0.1:0", "--log-listen", "127.0.0.1:0"]);
        }
        let status = eventually("the host notices", || async {
            let status = log_status(&world).await?;
            (status["troubles"]["chain"].as_str() == code).then_some(status)
        })
        .await;
        assert_kept("/status", &status.to_string());
        let reply = post(&sdk, "/v1/chat/completions", &question(&format!("{lie:?}"), false)).await;
        assert_kept("the proxy", &String::from_utf8_lossy(&reply.body));
        assert_kept("/metrics", &String::from_utf8_lossy(&plain::get(&metrics).await.unwrap()));
        liar.tell(Lie::None);
        eventually("the host notices the truth", || async {
            log_status(&world).await.filter(|status| status["troubles"]["chain"].is_null()).map(drop)
        })
        .await;
    }

    let said: Vec<String> = [&host, &enclave, &proxy, &world.node, &world.chain].into_iter().flat_map(Process::said).collect();
    let logged = host.log();
    assert!(logged.iter().any(|line| line.contains(" host::rpc  chain: ")), "the operator is told of the chain: {logged:?}");
    assert_kept("what was logged", &logged.join("\n"));
    assert_kept("what was said", &said.join("\n"));
    assert_files_keep_it(&world.state);
    std::fs::remove_dir_all(elsewhere).unwrap();
}
