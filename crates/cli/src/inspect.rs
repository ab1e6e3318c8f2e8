//! `candor inspect URL`: who answers there, judged; and its certificate for clients that must be told whom to trust.
//! - **Invariant:** a certificate is called attested, and written, only if the evidence that names its key was verified.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use candor_client::{Endpoint, inspect};
use candor_report::verdict_json;
use candor_verify::eip712::K256;
use candor_verify::evidence::{Moment, verify_evidence};
use candor_verify::text::one_line;
use candor_verify::verdict::Outcome;
use serde_json::json;

use crate::output::{Done, print_json, say, write_once};
use crate::{dev, policy, told, verify};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The node, for example https://127.0.0.1:8443.
    url: String,
    /// Write the node's certificate here, for example for NODE_EXTRA_CA_CERTS. Written only if the evidence is verified and names its key.
    #[arg(long, value_name = "FILE")]
    pem: Option<PathBuf>,
    /// Policy file; the state directory's policy.toml if not said.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
}

pub(crate) async fn run(args: Args, state: &Path, json_output: bool) -> Done {
    let policy = policy::load(args.policy.as_deref(), state)?.policy;
    let (evidence, spki_hash, pem) = inspect(&Endpoint::parse(&args.url)?).await?;
    let moment = Moment::Live { now: dev::now(), nonce: None };
    let (verdict, _) = verify_evidence(&evidence, &policy, moment, &K256);
    // Anybody can write a manifest that names their own key; it says something only once it is verified.
    let is_named = evidence.manifest.tls_spki_hash == spki_hash;
    let attested = is_named && verdict.outcome() == Outcome::Verified;
    let advice = policy::advice(&verdict, &evidence, &args.url, args.policy.as_deref(), state);
    let terms = &evidence.terms.terms;
    if json_output {
        print_json(&json!({
            "k_sig": evidence.manifest.k_sig.to_string(), "k_log": evidence.manifest.k_log.to_string(),
            "log_id": evidence.manifest.log_id().to_string(), "operator": terms.operator.to_string(), "payee": terms.payee.to_string(),
            "guard": Some(&terms.guard.model).filter(|id| !id.is_empty()),
            "models": terms.answering_models().map(|model| json!({"id": model.id, "digest": model.digest.to_string()})).collect::<Vec<_>>(),
            "tls_key_attested": attested, "verdict": verdict_json(&verdict), "advice": advice,
        }));
    } else {
        say!("K_sig     {}\nK_log     {}\nlog       {}", evidence.manifest.k_sig, evidence.manifest.k_log, evidence.manifest.log_id());
        say!("operator  {}\npayee     {}", terms.operator, terms.payee);
        for model in &terms.models {
            let is_guard = if model.id == terms.guard.model { "  judges conversations before the others answer them" } else { "" };
            say!("model     {}  {}{is_guard}", one_line(&model.id), model.digest);
        }
        let key = match (attested, is_named) {
            (true, _) => "(the attested one)",
            (false, true) => "(named by evidence that is REFUSED: nobody vouches for it)",
            (false, false) => "NOT THE ATTESTED ONE",
        };
        say!("TLS key   {spki_hash}  {key}");
        verdict.checks().iter().for_each(told::check);
        if verdict.refused().is_none() {
            say!("{}. Who could still forge this? {}", verdict.outcome().as_str().to_uppercase(), verdict.assurance().as_str());
        }
        if let Some(advice) = advice {
            say!("what to do: {advice}");
        }
        if let (false, Some(path)) = (attested, &args.pem) {
            say!("not written: {}", path.display());
        }
    }
    if !attested {
        return Ok(ExitCode::from(1));
    }
    if let Some(path) = args.pem {
        write_once(&path, pem.as_bytes())?;
        if !json_output {
            say!("wrote     {}", path.display());
        }
    }
    Ok(verify::exit_code(&verdict))
}
