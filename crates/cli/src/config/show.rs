//! `candor config show|check`: what is in force and where each value comes from, without a secret; and whether it can be.

use std::path::Path;
use std::process::ExitCode;

use candor_chain::Rpc;
use candor_report::{NodeText, node_fields};
use serde_json::{Value, json};

use super::{ConfigArg, Settings};
use crate::output::{Done, Failure, print_json, say};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Show every value that is in force, and whether it is a default or the file's. URLs of endpoints are shown without their keys.
    Show {
        #[command(flatten)]
        config: ConfigArg,
        /// Only what the file says.
        #[arg(long)]
        said: bool,
    },
    /// Read the file as the node will: every field, and that files it names are there. `candor doctor` looks at keys, chains and ports too.
    Check {
        #[command(flatten)]
        config: ConfigArg,
    },
}

pub(crate) fn run(args: Args, state: &Path, json_output: bool) -> Done {
    match args.command {
        Command::Show { config, said } => show(&config.load(state)?, said, json_output),
        Command::Check { config } => check(&config.load(state)?, state, json_output),
    }
}

fn show(settings: &Settings, only_said: bool, json_output: bool) -> Done {
    let rows: Vec<Row> = settings.in_force().into_iter().filter(|row| !only_said || row.is_said).collect();
    if json_output {
        let fields = rows.iter().map(|row| json!({"field": row.field, "value": row.value, "from": row.from()}));
        print_json(
            &json!({"file": settings.file.as_ref().map(|path| path.display().to_string()), "fields": fields.collect::<Vec<Value>>()}),
        );
        return Ok(ExitCode::SUCCESS);
    }
    say!("{}", settings.name());
    let width = rows.iter().map(|row| row.field.len()).max().unwrap_or_default();
    for row in rows {
        say!("{:<width$}  {}   {}", row.field, row.value, row.from());
    }
    Ok(ExitCode::SUCCESS)
}

fn check(settings: &Settings, state: &Path, json_output: bool) -> Done {
    crate::listeners::check(&settings.text)?;
    crate::logging::check(&settings.text.log)?;
    let missing = settings.missing_files();
    if let Some((field, path)) = missing.first() {
        return Err(Failure::cannot(format!("{}: {field}: no file {path}", settings.name())));
    }
    let name = settings.name();
    match json_output {
        true => print_json(&json!({"ok": true, "file": name})),
        false => {
            say!("{name}: every field can be read, and the files that it names are there; next: candor doctor{}", settings.option(state))
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl Settings {
    /// Every field with its value, for people: no secret is among them.
    fn in_force(&self) -> Vec<Row> {
        let endpoints = |field: &str| {
            let chains = self.text.chains.iter().enumerate();
            let mut lists = chains
                .flat_map(|(at, chain)| [(format!("chain[{at}].rpc"), &chain.rpc), (format!("chain[{at}].attestors"), &chain.attestors)]);
            lists.find(|(name, _)| field == name).map(|(_, urls)| hidden(urls))
        };
        let rows = node_fields(&self.text.to_toml()).into_iter().map(|(field, value)| {
            let (value, is_said) = (endpoints(&field).unwrap_or(value), self.said.contains(&field));
            Row { field, value, is_said }
        });
        rows.collect()
    }

    /// Files and directories that are named and not there.
    pub(crate) fn missing_files(&self) -> Vec<(String, String)> {
        let NodeText { keys, terms, chains, models, node, .. } = &self.text;
        let mut named = vec![
            ("keys.directory".to_owned(), &keys.directory),
            ("keys.passphrase_file".to_owned(), &keys.passphrase_file),
            ("terms.file".to_owned(), &terms.file),
            ("node.policy".to_owned(), &node.policy),
        ];
        for (at, chain) in chains.iter().enumerate() {
            named.push((format!("chain[{at}].rpc_file"), &chain.rpc_file));
            named.push((format!("chain[{at}].deployment"), &chain.deployment));
        }
        named.extend(models.iter().enumerate().map(|(at, model)| (format!("model[{at}].file"), &model.file)));
        let missing = named.into_iter().filter_map(|(field, path)| Some((field, path.as_ref()?)));
        missing.filter(|(_, path)| !path.exists()).map(|(field, path)| (field, path.display().to_string())).collect()
    }
}

/// A value in force.
struct Row {
    field: String,
    value: String,
    // Whether the file says it.
    is_said: bool,
}

impl Row {
    fn from(&self) -> &'static str {
        if self.is_said { "file" } else { "default" }
    }
}

/// Endpoints by scheme, host and port: the rest of an RPC URL is a key.
fn hidden(urls: &[String]) -> String {
    // Its Debug is the name that may be shown.
    let names = Rpc::of(urls, 1).endpoints.iter().map(|endpoint| format!("{endpoint:?}")).collect::<Vec<_>>();
    format!("[{}]", names.join(", "))
}
