//! `candor inspect URL`: who answers there, judged; and its certificate for clients that must be told whom to trust.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use candor_client::{Endpoint, inspect};
use candor_verify::eip712::K256;
use candor_verify::evidence::{Moment, verify_evidence};
use serde_json::json;

use crate::output::{Done, Failure, print_json};
use crate::{dev, policy, verdict};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The node, for example https://127.0.0.1:8443.
    url: String,
    /// Write the node's certificate here, for example for NODE_EXTRA_CA_CERTS. Written only if the evidence names its key.
    #[arg(long, value_name = "FILE")]
    pem: Option<PathBuf>,
    /// Policy file; the state directory's policy.toml if not said.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
}

pub(crate) async fn run(args: Args, state: &Path, json_output: bool) -> Done {
    let policy = policy::load(args.policy.as_deref(), state)?.policy;
    let (evidence, spki_hash, pem) = inspect(&Endpoint::parse(&args.url)?).await?;
    let moment = Moment::Live { now_ms: dev::now_ms(), nonce: None };
    let (verdict, _) = verify_evidence(&evidence, &policy, moment, &K256);
    let attested = evidence.manifest.tls_spki_hash == spki_hash;
    let order = &evidence.order.order;
    if json_output {
        print_json(&json!({
            "k_sig": evidence.manifest.k_sig.to_string(), "k_log": evidence.manifest.k_log.to_string(),
            "log_id": evidence.manifest.log_id().to_string(), "operator": order.operator.to_string(), "payee": order.payee.to_string(),
            "models": order.models.iter().map(|model| json!({"id": model.id, "digest": model.digest.to_string()})).collect::<Vec<_>>(),
            "tls_key_attested": attested, "verdict": verdict::to_json(&verdict),
        }));
    } else {
        println!("K_sig     {}\nK_log     {}\nlog       {}", evidence.manifest.k_sig, evidence.manifest.k_log, evidence.manifest.log_id());
        println!("operator  {}\npayee     {}", order.operator, order.payee);
        for model in &order.models {
            println!("model     {}  {}", model.id, model.digest);
        }
        println!("TLS key   {}{}", spki_hash, if attested { "  (the attested one)" } else { "  NOT THE ATTESTED ONE" });
        verdict.checks().iter().for_each(verdict::print_check);
    }
    if !attested {
        return Ok(ExitCode::from(1));
    }
    if let Some(path) = args.pem {
        std::fs::write(&path, pem).map_err(|error| Failure::cannot(format!("{}: {error}", path.display())))?;
        if !json_output {
            println!("wrote     {}", path.display());
        }
    }
    Ok(verdict::exit_code(&verdict))
}
