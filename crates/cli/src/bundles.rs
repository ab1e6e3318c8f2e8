//! `candor bundles list|import`: the kept bundles at a glance, and bundles of what was paid for with another client.
//!
//! Putting one together out of saved bytes is `candor-client`'s (`assemble`); here are the files. Not here: any check (`candor-verify`).

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use candor_client::{CHAT_PATH, Endpoint, Exchange, assemble, inspect, private_directory, write_private};
use candor_verify::bundle::Bundle;
use candor_verify::bytes::to_hex;
use candor_verify::check::{ChainFacts, verify_bundle};
use candor_verify::eip712::K256;
use candor_verify::policy::Policy;
use candor_verify::receipt::{Scheme, receipt_id};
use candor_verify::step::Step;
use candor_verify::time::UnixMs;
use candor_verify::verdict::{Outcome, PaymentBinding};
use serde_json::{Value, json};

use crate::output::{Done, Failure, note, print_json, read, say};
use crate::verify::{By, FORM, exit_code};
use crate::{calendar, dev, policy};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// List the bundles of the state directory, oldest first, each judged offline.
    List {
        /// Policy file; the state directory's policy.toml if not said, else hardware roots only.
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
    },
    /// Make a bundle of an answer that another client paid for, or got for nothing, judge it, and keep it.
    ///
    /// Everything is taken as it travelled, byte for byte. A stock client's payment names no offer: a policy accepts it only with
    /// `require_offer_binding = false`, and the verdict then says "equal price only".
    Import(Box<ImportArgs>),
}

#[derive(clap::Args)]
struct ImportArgs {
    /// File with the body of the request.
    #[arg(long, value_name = "FILE")]
    request: PathBuf,
    /// Method of the request.
    #[arg(long, default_value = "POST")]
    method: String,
    /// Path of the request.
    #[arg(long, default_value = CHAT_PATH)]
    path: String,
    /// File with the head of the paid answer: as `curl -D` writes it, or its headers as a JSON object.
    #[arg(long, value_name = "FILE")]
    head: PathBuf,
    /// File with the body of the paid answer: JSON, or the whole stream of events.
    #[arg(long, value_name = "FILE")]
    response: PathBuf,
    /// File with the value of the header PAYMENT-SIGNATURE that was sent; none if nobody paid.
    #[arg(long, value_name = "FILE")]
    payment: Option<PathBuf>,
    /// File with the value of the header PAYMENT-REQUIRED of the 402; needed only if the payment does not echo its extensions.
    #[arg(long, value_name = "FILE", requires = "payment")]
    payment_required: Option<PathBuf>,
    /// Evidence of the node from the time of the answer: a file with what GET /candor/evidence gave, or https://HOST:PORT to ask the node
    /// now.
    #[arg(long, visible_alias = "node", value_name = "FILE|URL")]
    evidence: String,
    /// Where to write the bundle, a file that must not exist yet; the state directory's bundles/ if not said.
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
    #[command(flatten)]
    by: By,
}

pub(crate) async fn run(args: Args, state: &Path, json_output: bool) -> Done {
    match args.command {
        Command::List { policy } => list(policy.as_deref(), state, json_output),
        Command::Import(args) => import(&args, state, json_output).await,
    }
}

async fn import(args: &ImportArgs, state: &Path, json_output: bool) -> Done {
    let (request, head, response) = (read(&args.request)?, read(&args.head)?, read(&args.response)?);
    let payment = args.payment.as_deref().map(read).transpose()?;
    let required = args.payment_required.as_deref().map(read).transpose()?;
    let evidence = match args.evidence.starts_with("https://") {
        // Whoever answers: evidence shows by itself whose it is, and the verdict whether the receipt is of the same boot.
        true => inspect(&Endpoint::parse(&args.evidence)?).await?.0.encode(),
        false => read(Path::new(&args.evidence))?,
    };
    let exchange = Exchange {
        method: &args.method,
        path: &args.path,
        request: &request,
        head: &head,
        response: &response,
        payment: payment.as_deref(),
        required: required.as_deref(),
        evidence: &evidence,
    };
    let bundle = assemble(&exchange).map_err(|error| Failure::cannot(error.to_string()))?;
    let path = place(args.bundle.as_deref(), &bundle, state)?;
    // A refused one lies where refused ones do, unless its place was named.
    let refused_path = if args.bundle.is_none() { path.with_extension("refused.candor") } else { path.clone() };
    let judged = args.by.judge(&bundle, &refused_path.display().to_string(), state).await?;
    let refused = judged.verdict.refused().map(|check| check.step);
    let path = if refused.is_some() { refused_path } else { path };
    keep(&path, &bundle)?;
    if json_output {
        let mut value = judged.json(&bundle);
        value["bundle"] = path.display().to_string().into();
        print_json(&value);
    } else {
        judged.say(&bundle, false);
        note!("kept in {}", path.display());
    }
    if !json_output && matches!(refused, Some(Step::ReceiptSignature | Step::ReceiptBoot | Step::ReceiptTime)) {
        note!("the evidence may be of another time or boot than the answer: save GET /candor/evidence when you pay");
    }
    Ok(exit_code(&judged.verdict))
}

/// Where a bundle goes: what was named, or the bundles of the state, under its receipt's id.
fn place(named: Option<&Path>, bundle: &Bundle, state: &Path) -> Result<PathBuf, Failure> {
    if let Some(path) = named {
        return Ok(path.to_owned());
    }
    dev::make_state(state)?;
    let directory = directory(state);
    private_directory(&directory)?;
    let id = to_hex(&receipt_id(&bundle.delivery.leaf_salt));
    Ok(directory.join(format!("{}.candor", id.trim_start_matches("0x"))))
}

/// Writes a bundle over nothing but itself: what is there is evidence of a payment, and may have been upgraded since.
fn keep(path: &Path, bundle: &Bundle) -> Result<(), Failure> {
    let bytes = bundle.encode();
    match std::fs::read(path) {
        Ok(there) if there == bytes => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(write_private(path, &bytes)?),
        Ok(_) | Err(_) => {
            let what = "is there already and was not touched; name another file with --bundle FILE";
            Err(Failure::cannot(format!("{} {what}", path.display())))
        }
    }
}

/// Where bundles are kept.
pub(crate) fn directory(state: &Path) -> PathBuf {
    state.join("bundles")
}

fn list(named: Option<&Path>, state: &Path, json_output: bool) -> Done {
    let policy = policy::load(named, state)?.policy;
    let directory = directory(state);
    let mut rows = Vec::new();
    match std::fs::read_dir(&directory) {
        Ok(entries) => {
            let is_bundle = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "candor");
            for path in entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_bundle) {
                rows.push(Row::of(&path, &policy)?);
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(Failure::cannot(format!("{}: {error}", directory.display()))),
    }
    rows.sort_by(|a, b| (a.finished_at, &a.file).cmp(&(b.finished_at, &b.file)));
    if json_output {
        print_json(&rows.iter().map(Row::json).collect::<Value>());
    } else {
        rows.iter().for_each(Row::say);
        say!("{} in {}", rows.len(), directory.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// One file of the list. What it says is a fact only if it is verified, and is shown behind its verdict for that reason.
struct Row {
    file: String,
    outcome: &'static str,
    refused: Option<&'static str>,
    log_level: &'static str,
    payment_binding: Option<PaymentBinding>,
    finished_at: UnixMs,
    said: Option<Said>,
}

/// What the bundle says.
struct Said {
    model: String,
    charged: String,
    charge: String,
    ended: &'static str,
}

impl Row {
    fn of(path: &Path, policy: &Policy) -> Result<Self, Failure> {
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Ok(bundle) = Bundle::parse(&read(path)?) else {
            let (outcome, refused) = (Outcome::Refused.as_str(), Some(FORM));
            return Ok(Self { file, outcome, refused, log_level: "", payment_binding: None, finished_at: UnixMs(0), said: None });
        };
        let (verdict, _) = verify_bundle(&bundle, policy, ChainFacts::default(), &K256);
        Ok(Self {
            file,
            outcome: verdict.outcome().as_str(),
            refused: verdict.refused().map(|check| check.id),
            log_level: verdict.log_level().as_str(),
            payment_binding: verdict.payment_binding(),
            finished_at: bundle.delivery.receipt.work.finished_at,
            said: Some(Said::of(&bundle)),
        })
    }

    fn json(&self) -> Value {
        let mut value = json!({
            "file": self.file, "outcome": self.outcome, "refused": self.refused, "log_level": self.log_level,
            "payment_binding": self.payment_binding.map(PaymentBinding::as_str),
        });
        if let Some(said) = &self.said {
            let key = if self.outcome == Outcome::Verified.as_str() { "facts" } else { "claims" };
            value[key] = json!({
                "finished_at": self.finished_at.0, "model": said.model, "charged": said.charged, "charge": said.charge, "ended": said.ended,
            });
        }
        value
    }

    fn say(&self) {
        let verdict = match self.refused {
            Some(check) => format!("REFUSED {check}"),
            None => format!("{}, {}", self.outcome, self.log_level),
        };
        let Some(said) = &self.said else {
            return say!("{verdict:<32}   {}", self.file);
        };
        let binding = if self.payment_binding == Some(PaymentBinding::EqualPriceOnly) { "   equal price only" } else { "" };
        let time = calendar::utc(self.finished_at.0);
        say!("{verdict:<32}   {time}   {}   {}   {}   {}{binding}", said.model, said.charge, said.ended, self.file);
    }
}

impl Said {
    fn of(bundle: &Bundle) -> Self {
        let (receipt, terms) = (&bundle.delivery.receipt, &bundle.evidence.terms.terms);
        let (money, work) = (&receipt.money, &receipt.work);
        let model = terms.model(&work.model_id).map_or_else(|| format!("{:#}", work.model_id), |model| model.id.clone());
        let asset = terms.asset(money.chain_id, &money.asset);
        let unit = asset.and_then(|asset| 10_u128.checked_pow(asset.decimals.into()));
        let charge = match (asset, unit) {
            (Some(asset), Some(unit)) => {
                let (whole, part, digits) = (money.charged.0 / unit, money.charged.0 % unit, usize::from(asset.decimals));
                format!("{whole}.{part:0digits$} {}", asset.name)
            }
            _ if money.scheme == Scheme::None => "nobody paid".to_owned(),
            _ => format!("{} units of {}", money.charged, money.asset),
        };
        Self { model, charged: money.charged.to_string(), charge, ended: work.outcome.as_str() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_what_its_bundle_says_behind_its_verdict() {
        let directory = std::env::temp_dir().join(format!("candor-bundles-{}", std::process::id()));
        private_directory(&directory).unwrap();
        let bytes = include_bytes!("../../../vectors/bundle/honest.candor");
        let bundle = Bundle::parse(bytes).unwrap();
        let path = directory.join("a.candor");
        keep(&path, &bundle).unwrap();
        keep(&path, &bundle).unwrap();
        // Nobody's root is named: then it is a claim, and says so.
        let row = Row::of(&path, &Policy::default()).unwrap();
        let json = row.json();
        assert_eq!((&json["outcome"], &json["refused"], &json["facts"]), (&"refused".into(), &"attest.root".into(), &Value::Null));
        assert_eq!(json["claims"]["charged"], bundle.delivery.receipt.money.charged.to_string());
        assert!(json["claims"]["charge"].as_str().unwrap().ends_with(" USDC"), "{json}");
        // What is no bundle is in the list too, and nothing is written over it.
        std::fs::write(&path, "none").unwrap();
        assert_eq!(Row::of(&path, &Policy::default()).unwrap().json()["refused"], "bundle.form");
        assert!(keep(&path, &bundle).unwrap_err().message().contains("not touched"));
        assert_eq!(std::fs::read(&path).unwrap(), b"none");
        std::fs::remove_dir_all(directory).unwrap();
    }
}
