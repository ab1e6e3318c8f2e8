//! Registrations as a chain shows them, newest first, and the evidence that is rebuilt of each from the chain alone.
//!
//! Not here: what a policy says of it, and which of them is asked (`resolve`). Nothing is believed yet.

use candor_chain::{ChainClient, ChainError, KeyStatus, Registered, RegistrationList, Standing};
use candor_verify::bytes::{Address, Signature65};
use candor_verify::evidence::Evidence;
use candor_verify::terms::SignedTerms;

use crate::clock;
use crate::error::ClientError;
use crate::resolve::chain_error;

/// One registered enclave, as the chain shows it. Nothing is believed yet.
#[derive(Debug)]
#[non_exhaustive]
pub struct Candidate {
    /// What the registry holds of it for good, and what was sent with it.
    pub registered: Registered,
    /// What of it changes.
    pub status: KeyStatus,
    /// Where it stands now.
    pub standing: Standing,
}

impl Candidate {
    /// Evidence rebuilt from the chain alone; the inner error says what is wrong with it.
    ///
    /// # Errors
    /// `Chain`.
    pub async fn evidence(&self, chain: &ChainClient, registry: &Address) -> Result<Result<Evidence, String>, ClientError> {
        from_chain(chain, registry, &self.registered, &self.status).await
    }
}

/// The newest enclaves of a registry, `most` of them at most, oldest first.
///
/// # Errors
/// `Chain`, also if the endpoint does not show what the registry says is there.
pub async fn candidates(chain: &ChainClient, registry: &Address, most: usize) -> Result<Vec<Candidate>, ClientError> {
    let mut walk = Walk::begin(chain, registry, vec![RegistrationList::All]).await?;
    let mut out = Vec::new();
    while out.len() < most
        && let Some(registered) = walk.next().await?
    {
        let Some(status) = chain.key_status(registry, &registered.record.k_sig).await.map_err(chain_error)? else { continue };
        out.push(Candidate { registered, status, standing: status.standing(clock::now().seconds()) });
    }
    if let Some(error) = walk.broken.pop() {
        return Err(chain_error(error));
    }
    out.reverse();
    Ok(out)
}

/// Registrations of some lists, newest first, read from the chain one block after another: nobody reads more than they look at.
pub(crate) struct Walk<'a> {
    chain: &'a ChainClient,
    registry: &'a Address,
    // Each list with the block that is read next.
    lists: Vec<(RegistrationList, Option<u64>)>,
    // Of the block that was read last, newest last.
    read: Vec<Registered>,
    // Of each list that the endpoint does not show to its end: the others are walked all the same.
    pub(crate) broken: Vec<ChainError>,
}

impl<'a> Walk<'a> {
    pub(crate) async fn begin(chain: &'a ChainClient, registry: &'a Address, lists: Vec<RegistrationList>) -> Result<Self, ClientError> {
        let mut from = Vec::new();
        for list in lists {
            from.push((list, chain.newest_registration(registry, &list).await.map_err(chain_error)?));
        }
        Ok(Self { chain, registry, lists: from, read: Vec::new(), broken: Vec::new() })
    }

    /// Whether it walks everybody's registrations.
    pub(crate) fn is_of_all(&self) -> bool {
        self.lists.iter().any(|(list, _)| matches!(list, RegistrationList::All))
    }

    /// The next older one; `None` at the end of every list.
    pub(crate) async fn next(&mut self) -> Result<Option<Registered>, ClientError> {
        while self.read.is_empty() {
            // `None` is the smallest.
            let Some((list, next)) = self.lists.iter_mut().max_by_key(|(_, next)| *next) else { return Ok(None) };
            let Some(block) = *next else { return Ok(None) };
            match self.chain.registrations_in(self.registry, list, block).await {
                Ok(read) => (self.read, *next) = read,
                Err(error @ ChainError::Malformed { .. }) => {
                    *next = None;
                    self.broken.push(error);
                }
                Err(error) => return Err(chain_error(error)),
            }
            self.read.reverse();
        }
        Ok(self.read.pop())
    }
}

/// Evidence rebuilt from the chain alone. The inner error is of what the chain shows, the outer one of an endpoint that shows nothing.
pub(crate) async fn from_chain(
    chain: &ChainClient,
    registry: &Address,
    registered: &Registered,
    status: &KeyStatus,
) -> Result<Result<Evidence, String>, ClientError> {
    let boot = match &registered.boot {
        Ok(boot) => boot,
        Err(error) => return Ok(Err(error.to_string())),
    };
    let (document, freshness) = match chain.newest_renewal(registry, &registered.record.k_sig, status).await {
        Ok(Some(renewal)) => (renewal.document, renewal.freshness),
        Ok(None) => (boot.document.clone(), boot.freshness),
        Err(error) => return unreadable(error),
    };
    let terms = match SignedTerms::parse(&boot.terms_data) {
        Ok(terms) => terms,
        Err(error) => return Ok(Err(format!("the terms beside the registration are unreadable: {error}"))),
    };
    // The registry checked this signature; the one inside the terms data is only what the submitter sent.
    let signature = Signature65::from_slice(&boot.operator_signature).unwrap_or(terms.signature);
    let terms = SignedTerms { signature, ..terms };
    Ok(Ok(Evidence::nitro(document, boot.manifest.clone(), freshness, terms)))
}

/// Whoever registers writes the events: what cannot be read in one of them is that registration's fault, and not the endpoint's.
fn unreadable(error: ChainError) -> Result<Result<Evidence, String>, ClientError> {
    if matches!(error, ChainError::Malformed { .. }) { Ok(Err(error.to_string())) } else { Err(chain_error(error)) }
}
