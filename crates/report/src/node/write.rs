//! The commented `node.toml`: every field with what it means. A field that has no value stands in a comment, so that it can be found.

use std::path::PathBuf;

use super::{AssetPart, ChainPart, CheckUrls, LogFormat, NodeModel, NodeText, PricePart};
use crate::toml_text::{bare, field, list, maybe, quoted, section};

impl NodeText {
    /// The text of a file with these values.
    #[must_use]
    pub fn to_toml(&self) -> String {
        // Named one by one, so that a new part is not forgotten here.
        let Self { version, node: _, keys: _, terms: _, chains, assets, models, access: _, guard: _, limits: _, .. } = self;
        let mut out = format!(
            "# A node of Candor: everything its operator decides. Unknown fields are refused. Paths begin at this file's directory.\n\
             # `candor config check` reads it as the node will, `candor config show` says where each value comes from.\n\
             version = {version}\n"
        );
        self.write_where(&mut out);
        self.write_who(&mut out);
        for chain in chains {
            chain.write(&mut out);
        }
        for asset in assets {
            asset.write(&mut out);
        }
        for model in models {
            model.write(&mut out);
        }
        self.write_whom(&mut out);
        self.write_how_much(&mut out);
        self.write_what_it_says(&mut out);
        out
    }

    fn write_where(&self, out: &mut String) {
        section(out, "[node]", "");
        let node = &self.node;
        field(out, "Where clients connect: TLS that ends in the enclave.", "listen", &quoted(&node.listen));
        field(out, "Where the log and the node's state are served: plain HTTP, public data.", "log_listen", &quoted(&node.log_listen));
        let what = "How clients reach the two, as the signed terms publish it: https://NAME:PORT. Empty: by the addresses above.";
        field(out, what, "urls", &list(&node.urls));
        bare(out, "log_urls", &list(&node.log_urls));
        let word = match node.check_urls {
            CheckUrls::Warn => "warn",
            CheckUrls::Require => "require",
        };
        let what = "If a published address cannot be reached from here: \"warn\" or \"require\". One that leads to another key is always an error.";
        field(out, what, "check_urls", &quoted(&word));
        field(out, "Directory of database and published log.", "data", &quoted(&node.data.display()));
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| quoted(&path.display()));
        maybe(
            out,
            "Where the enclave listens and the host connects; in `data` if not said.",
            "socket",
            path(&node.socket),
            "\"enclave.sock\"",
        );
        let what = "What the registrar accepts as this node's own enclave. Without it: SIMULATED evidence of this very program.";
        maybe(out, what, "policy", path(&node.policy), "\"own-policy.toml\"");
        maybe(out, "SIMULATED only: directory of the software hypervisor's root.", "tee", path(&node.tee), "\"tee\"");
    }

    fn write_who(&self, out: &mut String) {
        section(out, "[keys]", "");
        let keys = &self.keys;
        let what = "Keystores operator.json, registrar.json, gas.json, anchor.json. operator.json may lie elsewhere: see [terms].";
        maybe(out, what, "directory", keys.directory.as_ref().map(|path| quoted(&path.display())), "\"keys\"");
        let what = "File with their passphrase, mode 0600; asked for if there is none.";
        maybe(out, what, "passphrase_file", keys.passphrase_file.as_ref().map(|path| quoted(&path.display())), "\"passphrase\"");
        let what = "Who is paid: an address that you can sell from. No key of it is needed here.";
        maybe(out, what, "payee", keys.payee.map(|payee| quoted(&payee)), "\"0x…\"");
        section(
            out,
            "[terms]",
            "What you allow the enclave to do, signed by the operator's key; everything here that buyers rely on goes into it.",
        );
        field(out, "Days for which terms are signed. The node stops selling at their end.", "days", &self.terms.days);
        let what = "Terms that were signed on another machine (`candor terms draft`, `sign`). Without it they are signed at each start.";
        maybe(out, what, "file", self.terms.file.as_ref().map(|path| quoted(&path.display())), "\"terms.cbor\"");
    }

    fn write_whom(&self, out: &mut String) {
        section(out, "[access]", "Who gets answers.");
        let access = &self.access;
        field(out, "Whoever pays.", "paid", &access.paid);
        field(
            out,
            "Anybody, without payment: the same receipts, log and anchor, and the verdict says that nobody paid.",
            "open",
            &access.open,
        );
        let what = "Whoever has one of these keys, without payment: their SHA-256, as `candor access new` prints it.";
        field(out, what, "keys", &list(&access.keys));
        section(out, "[guard]", "What stands between strangers and the models. Model and caps are in the signed terms.");
        let guard = &self.guard;
        maybe(
            out,
            "A model of this file that judges each conversation before another answers it; it is not sold itself.",
            "model",
            guard.model.as_ref().map(quoted),
            "\"…\"",
        );
        field(out, "Requests of one payer a minute; 0 for no cap.", "payer_requests_per_minute", &guard.payer_requests_per_minute);
        field(out, "Tokens of one payer a day; 0 for no cap.", "payer_tokens_per_day", &guard.payer_tokens_per_day);
        field(out, "Payers who get nothing.", "deny", &list(&guard.deny));
    }

    fn write_how_much(&self, out: &mut String) {
        section(out, "[limits]", "");
        let limits = &self.limits;
        field(
            out,
            "Seconds that one answer is generated at most: no more tokens are offered than fit in.",
            "generation_seconds",
            &limits.generation_seconds,
        );
        maybe(out, "Answers generated at once; one for each core.", "answers", limits.answers.map(|count| count.to_string()), "2");
        field(out, "Connections at once, and of one address.", "connections", &limits.connections);
        bare(out, "connections_per_address", &limits.connections_per_address);
        let what = "Answers of one payer whose payment was not seen on chain yet: your credit to a stranger.";
        field(out, what, "unsettled_per_payer", &limits.unsettled_per_payer);
        section(out, "[anchor]", "Each anchor puts the log's newest tree on chain, and costs gas.");
        let anchor = &self.anchor;
        let what = "Seconds between anchors, at least: nothing new, no anchor. A minute if not said; a moment on the development chain.";
        maybe(out, what, "seconds", anchor.seconds.map(|seconds| seconds.to_string()), "60");
        let what = "At once when so much was charged since the last one, in the first asset.";
        maybe(out, what, "value", anchor.value.map(|value| quoted(&value)), "\"1.00\"");
        section(out, "[renewal]", "");
        field(
            out,
            "Hours between renewals of the registration, at most 72: buyers pay no key that is shown less often.",
            "hours",
            &self.renewal.hours,
        );
        section(out, "[storage]", "");
        let what = "Most MiB of the database: beyond it nothing new is sold.";
        maybe(out, what, "quota_mib", self.storage.quota_mib.map(|mib| mib.to_string()), "4096");
        let what = "Keep answers, sealed, for clients who paid and lost the connection.";
        field(out, what, "keep_answers", &self.storage.keep_answers);
    }

    fn write_what_it_says(&self, out: &mut String) {
        section(out, "[log]", "The node's own lines. No prompt, answer, signature or RPC URL is ever in them.");
        let format = match self.log.format {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        };
        field(out, "\"text\" or \"json\".", "format", &quoted(&format));
        field(out, "off, error, warn, info, debug; or by target: \"info,host::settle=debug\".", "level", &quoted(&self.log.level));
        section(out, "[metrics]", "For Prometheus: /metrics, /live, /ready.");
        let metrics = &self.metrics;
        maybe(out, "A loopback address.", "listen", metrics.listen.map(|address| quoted(&address)), "\"127.0.0.1:9464\"");
        field(out, "Allow another: whoever reaches it sees your turnover.", "remote", &metrics.remote);
    }
}

impl ChainPart {
    fn write(&self, out: &mut String) {
        section(out, "[[chain]]", "Boots are registered and the log is anchored on the first chain.");
        bare(out, "id", &self.id);
        field(
            out,
            "Endpoints: of several the first that is well answers. Those whose key is a header go into a file.",
            "rpc",
            &list(&self.rpc),
        );
        maybe(out, "", "rpc_file", self.rpc_file.as_ref().map(|path| quoted(&path.display())), "\"rpc.toml\"");
        field(out, "How many of them must give the same answer.", "rpc_agree", &self.rpc_agree);
        let what = "The contracts: what `candor deploy` wrote, or whoever deployed them gave you.";
        maybe(out, what, "deployment", self.deployment.as_ref().map(|path| quoted(&path.display())), "\"deployment.toml\"");
        field(out, "Where members of its quorum are asked to attest a boot.", "attestors", &list(&self.attestors));
        let what = "Most that a transaction pays per gas, in gwei; while the chain asks more, registrations, anchors and settlements wait.";
        maybe(out, what, "max_fee_gwei", self.max_fee_gwei.map(|gwei| gwei.to_string()), "50");
    }
}

impl AssetPart {
    fn write(&self, out: &mut String) {
        section(out, "[[asset]]", "A token with EIP-3009. `name` and `version` are those of its EIP-712 domain on that chain.");
        bare(out, "symbol", &quoted(&self.symbol));
        bare(out, "chain_id", &self.chain_id);
        bare(out, "address", &quoted(&self.address));
        bare(out, "name", &quoted(&self.name));
        bare(out, "version", &quoted(&self.version));
        bare(out, "decimals", &self.decimals);
    }
}

impl NodeModel {
    fn write(&self, out: &mut String) {
        section(out, "[[model]]", "");
        bare(out, "id", &quoted(&self.id));
        let what = "Model container; without it the small model that is built in.";
        maybe(out, what, "file", self.file.as_ref().map(|path| quoted(&path.display())), "\"model.cnd1\"");
        for PricePart { asset, input, output, request } in &self.prices {
            section(
                out,
                "[[model.price]]",
                "The ceiling, in money: per million tokens read and written, and per request. `candor prices set` goes below it.",
            );
            bare(out, "asset", &quoted(asset));
            bare(out, "input", &quoted(input));
            bare(out, "output", &quoted(output));
            bare(out, "request", &quoted(request));
        }
    }
}
