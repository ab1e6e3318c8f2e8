//! `node.toml`: what is written reads back, each field is refused at its place, and no error shows a key.

use super::*;

/// A file with every field, none of them at its default.
fn full() -> NodeText {
    let address = |byte| Address([byte; 20]);
    NodeText {
        version: 1,
        node: NodePart {
            listen: "0.0.0.0:443".parse().unwrap(),
            log_listen: "[::]:80".parse().unwrap(),
            urls: vec!["https://node.example".into(), "https://[2001:db8::1]:8443".into()],
            log_urls: vec!["http://node.example:8444".into()],
            check_urls: CheckUrls::Require,
            data: "/var/lib/candor \"node\"".into(),
            socket: Some("/run/candor/enclave.sock".into()),
            policy: Some("own.toml".into()),
            tee: Some("tee".into()),
        },
        keys: KeysPart { directory: Some("keys".into()), passphrase_file: Some("secret/pass".into()), payee: Some(address(1)) },
        terms: TermsPart { days: 90, file: Some("terms.cbor".into()) },
        chains: vec![
            ChainPart {
                id: 84532,
                rpc: vec!["https://one.example/KEY".into(), "https://two.example".into()],
                rpc_agree: 2,
                rpc_file: None,
                deployment: Some("deployment.toml".into()),
                attestors: vec!["http://127.0.0.1:8451".into()],
                max_fee_gwei: Some(3),
            },
            ChainPart {
                id: 11_155_111,
                rpc: Vec::new(),
                rpc_agree: 1,
                rpc_file: Some("rpc.toml".into()),
                deployment: None,
                attestors: Vec::new(),
                max_fee_gwei: None,
            },
        ],
        assets: vec![AssetPart {
            symbol: "USDC".into(),
            chain_id: 84532,
            address: address(2),
            name: "USD Coin".into(),
            version: "2".into(),
            decimals: 6,
        }],
        models: vec![
            NodeModel {
                id: "meta/llama-3.2".into(),
                file: Some("llama.cnd1".into()),
                prices: vec![PricePart {
                    asset: "USDC".into(),
                    input: Decimal::parse("0.25").unwrap(),
                    output: Decimal::parse("1.5").unwrap(),
                    request: Decimal::parse("0.0001").unwrap(),
                }],
            },
            NodeModel { id: "guard".into(), file: Some("/var/lib/guard.cnd1".into()), prices: vec![] },
        ],
        access: AccessPart { paid: false, open: true, keys: vec![Hash32([7; 32])] },
        guard: GuardPart {
            model: Some("guard".into()),
            payer_requests_per_minute: 10,
            payer_tokens_per_day: 100_000,
            deny: vec![address(9)],
        },
        limits: LimitsPart {
            generation_seconds: 120,
            answers: Some(3),
            connections: 99,
            connections_per_address: 9,
            unsettled_per_payer: 2,
        },
        anchor: AnchorPart { seconds: Some(300), value: Some(Decimal::parse("2.5").unwrap()) },
        renewal: RenewalPart { hours: 12 },
        storage: StoragePart { quota_mib: Some(512), keep_answers: false },
        log: LogPart { format: LogFormat::Json, level: "info,host::settle=debug".into() },
        metrics: MetricsPart { listen: Some("127.0.0.1:9464".parse().unwrap()), remote: true },
    }
}

#[test]
fn what_is_written_reads_back_with_every_field() {
    for text in [NodeText::default(), full()] {
        assert_eq!(NodeText::parse(&text.to_toml()), Ok(text));
    }
}

#[test]
fn every_field_stands_in_the_file_that_is_written_also_without_a_value() {
    let names = |text: &str| -> std::collections::BTreeSet<String> {
        let lines = text.lines().map(|line| line.trim_start_matches("# ")).filter_map(|line| line.split_once(" = "));
        lines.map(|(name, _)| name.to_owned()).filter(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')).collect()
    };
    let mut without = full();
    without.keys = KeysPart::default();
    without.terms.file = None;
    (without.node.socket, without.node.policy, without.node.tee) = (None, None, None);
    without.chains[0].deployment = None;
    without.models[0].file = None;
    without.guard.model = None;
    without.limits.answers = None;
    without.anchor = AnchorPart::default();
    without.storage.quota_mib = None;
    without.metrics.listen = None;
    assert_eq!(names(&without.to_toml()), names(&full().to_toml()));
}

/// Field by field: a value of another type, one out of its range, and a slip of its name. Each is refused at its place.
#[test]
fn each_field_is_refused_by_name_if_its_type_range_or_name_is_wrong() {
    let text = full().to_toml();
    let rows: &[(&str, &[&str])] = &[
        ("version", &["\"1\"", "0", "2", "-1"]),
        ("listen", &["8443", "\"8443\"", "\"localhost:1\"", "\"127.0.0.1:99999\""]),
        ("log_listen", &["true", "\"\""]),
        (
            "urls",
            &[
                "\"https://a\"",
                "[\"http://a\"]",
                "[\"https://0.0.0.0:1\"]",
                "[\"https://[::]\"]",
                "[\"https://a/b\"]",
                "[\"https://\"]",
                "[\"https://a@b\"]",
                "[\"https://:1\"]",
            ],
        ),
        ("log_urls", &["[\"ftp://a\"]", "[1]"]),
        ("check_urls", &["true", "\"off\""]),
        ("data", &["1"]),
        ("socket", &["1"]),
        ("policy", &["true"]),
        ("tee", &["0"]),
        ("directory", &["1"]),
        ("passphrase_file", &["[]"]),
        ("payee", &["\"0x12\"", "\"0x0000000000000000000000000000000000000000\"", "5"]),
        ("days", &["0", "367", "1.5", "\"30\""]),
        ("file", &["1"]),
        ("id", &["\"x\"", "0", "-5"]),
        ("rpc", &["\"https://a\"", "[1]"]),
        ("rpc_agree", &["0", "3", "17", "\"2\""]),
        ("rpc_file", &["7"]),
        ("deployment", &["7"]),
        ("attestors", &["\"http://a\""]),
        ("max_fee_gwei", &["0", "4294967296", "\"3\""]),
        ("symbol", &["\"\"", "\"US DC\"", "1"]),
        ("chain_id", &["0", "1", "\"84532\""]),
        ("address", &["\"\"", "1"]),
        ("name", &["\"\"", "1"]),
        ("decimals", &["19", "-1", "\"6\""]),
        ("asset", &["\"EURC\"", "1"]),
        ("input", &["0.25", "\"-1\"", "\"1e3\"", "\"0.0000001\"", "1"]),
        ("output", &["1", "\"x\""]),
        ("request", &["1", "\"\""]),
        ("paid", &["1", "\"yes\""]),
        ("open", &["\"false\""]),
        ("keys", &["[\"0x12\"]", "\"0x12\""]),
        ("model", &["\"other\"", "1"]),
        ("payer_requests_per_minute", &["-1", "4294967296"]),
        ("payer_tokens_per_day", &["-1", "\"9\""]),
        ("deny", &["[\"0x\"]", "0"]),
        ("generation_seconds", &["0", "201", "1.0"]),
        ("answers", &["0", "\"2\""]),
        ("connections", &["0", "1000001"]),
        ("connections_per_address", &["0", "-1"]),
        ("unsettled_per_payer", &["0", "true"]),
        ("seconds", &["0", "86401"]),
        ("value", &["1", "\"1e9\""]),
        ("hours", &["0", "73"]),
        ("quota_mib", &["15", "\"1 GiB\""]),
        ("keep_answers", &["0"]),
        ("format", &["\"xml\"", "1"]),
        ("level", &["\"loud\"", "\"host=loud\"", "1"]),
        ("remote", &["\"no\""]),
    ];
    let mut seen: Vec<&str> =
        text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| Some(line.split_once(" = ")?.0)).collect();
    seen.sort_unstable();
    seen.dedup();
    for (name, values) in rows {
        seen.retain(|field| field != name);
        let line = text.lines().find(|line| line.starts_with(&format!("{name} = "))).unwrap_or_else(|| panic!("{name} is not in the file"));
        for value in *values {
            let read = NodeText::parse(&text.replacen(&format!("\n{line}"), &format!("\n{name} = {value}"), 1));
            let refused = read.err().unwrap_or_else(|| panic!("{name} = {value} is taken")).to_string();
            // A line that may hold a key is only named by its place.
            let is_named = (refused.contains(name) && refused.contains("expected")) || refused.contains("the line is not shown");
            assert!(is_named, "{name} = {value}: {refused}");
        }
        let slip = format!("{}x", name);
        let refused = NodeText::parse(&text.replacen(&format!("\n{line}"), &format!("\n{}", line.replacen(name, &slip, 1)), 1))
            .map(drop)
            .unwrap_err()
            .to_string();
        let is_placed = refused.contains('^') || refused.contains("the line is not shown");
        assert!(is_placed && refused.contains(&format!("did you mean `{name}`?")), "{slip}: {refused}");
    }
    assert_eq!(seen, [""; 0], "every field has a row");
}

#[test]
fn a_chain_an_asset_or_a_model_that_stands_there_twice_is_refused() {
    let twice = |change: fn(&mut NodeText)| {
        let mut text = full();
        change(&mut text);
        NodeText::parse(&text.to_toml()).unwrap_err().to_string()
    };
    assert!(twice(|text| text.chains[1].id = 84532).contains("each chain once"));
    assert!(twice(|text| text.assets.push(text.assets[0].clone())).contains("each symbol once"));
    assert!(twice(|text| text.models.push(text.models[0].clone())).contains("each model once"));
    assert!(twice(|text| text.access = AccessPart { paid: false, open: false, keys: Vec::new() }).contains("nobody"));
}

/// An RPC URL is a key, and so is what opens the node: an error shows neither, whatever is wrong with the line.
#[test]
fn no_error_quotes_what_may_be_a_key() {
    for line in [
        "[access]\nkeys = [\"ck_SECRET\"]",
        "[access]\nkeys = \"SECRET\"",
        "[[chain]]\nid = 1\nrpc = \"https://rpc.example/SECRET\"",
        "[[chain]]\nid = 1\nrpcs = [\"https://rpc.example/SECRET\"]",
        "[[chain]]\nid = 1\nrpc = [\"https://rpc.example/1\"]\nrpc = [\"https://rpc.example/SECRET\"]",
        "[[chain]]\nid = 1\nrpc = [\"https://rpc.example/SECRET]",
        "[[chain]]\nid = 1\nrpc = [1, \"https://rpc.example/SECRET\"]",
        "[[chain]]\nid = 1\nrpc_file = [\"https://rpc.example/SECRET\"]",
        "[[chain]]\nid = 1\nattestors = \"http://attestor.example/SECRET\"",
        "[node]\nlisten = \"https://rpc.example/SECRET\"",
    ] {
        let error = NodeText::parse(&format!("version = 1\n{line}\n")).unwrap_err();
        assert!(!error.to_string().contains("SECRET") && !format!("{error:?}").contains("SECRET"), "{line}: {error}");
    }
    let slip = NodeText::parse("version = 1\n[[chain]]\nid = 1\nrpcs = [\"https://rpc.example/SECRET\"]").unwrap_err().to_string();
    assert!(slip.contains("line 4") && slip.contains("did you mean `rpc`?"), "{slip}");
}
