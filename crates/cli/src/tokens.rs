//! Tokens that a node can take: USDC where its address is known here, the play money of a deployment, or one that is written out.
//!
//! A slip in a domain's name makes every payment invalid: `candor doctor` asks the token on its chain for the hash of its domain.

use std::collections::BTreeMap;

use candor_chain::{ChainClient, Deployment, TokenWords};
use candor_report::{AssetPart, Decimal, NodeText, money_text};
use candor_verify::bytes::{Address, Amount};
use candor_verify::payment::TokenDomain;
use candor_verify::terms::OperatorTerms;
use candor_x402::client::SpendPolicy;

use crate::config::chain_of;
use crate::output::Failure;

/// Play money that anybody mints.
pub(crate) const TEST_USD: &str = "TestUSD";

/// Chain, address, and the name in the token's EIP-712 domain, which differs. Version 2, six decimals everywhere. Source: Circle's list.
const USDC: [(u64, &str, &str); 10] = [
    (1, "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48", "USD Coin"),
    (10, "0x0b2c639c533813f4aa9d7837caf62653d097ff85", "USD Coin"),
    (137, "0x3c499c542cef5e3811e1192ce70d8cc03d5c3359", "USD Coin"),
    (8453, "0x833589fcd6edb6e08f4c7c32d4f71b54bda02913", "USD Coin"),
    (42_161, "0xaf88d065e77c8cc2239327c5edb3a432268e5831", "USD Coin"),
    (43_114, "0xb97ef9ef8734c71904d8002f8b6bc66dd9c48a6e", "USD Coin"),
    (80_002, "0x41e94eb019c0762f9bfcf9fb1e58725bfb0e7582", "USDC"),
    (84_532, "0x036cbd53842c5426634e7929541ec2318f3dcf7e", "USDC"),
    (11_155_111, "0x1c7d4b196cb0c7b01d743fbc6116a902379c7238", "USDC"),
    (11_155_420, "0x5fd84259d66cd46123540766be93dfe6d43130d7", "USDC"),
];

/// An amount on the command line, in a token's money.
pub(crate) fn amount(text: &str) -> Result<Decimal, String> {
    Decimal::parse(text).map_err(|error| format!("expected {error}"))
}

/// USDC on a chain, if it is known here.
pub(crate) fn usdc(chain_id: u64) -> Option<AssetPart> {
    let (_, address, name) = USDC.iter().find(|(id, ..)| *id == chain_id)?;
    Some(token("USDC", chain_id, Address::from_hex(address)?, name))
}

/// A token whose address this program knows.
pub(crate) fn known(chain_id: u64, asset: &Address) -> Option<TokenWords> {
    let is_play_money = || Deployment::play_money().is_ok_and(|address| address == *asset);
    let usdc = usdc(chain_id).filter(|known| known.address == *asset);
    let AssetPart { symbol, name, decimals, .. } = usdc.or_else(|| is_play_money().then(|| play_money(chain_id, *asset)))?;
    Some(TokenWords { name, symbol, decimals })
}

/// What a token says of itself on its chain; `None` if it says nothing, or is none.
pub(crate) async fn words(chain: &ChainClient, asset: &Address) -> Result<Option<TokenWords>, Failure> {
    match chain.token_words(asset).await {
        Ok(words) => Ok(Some(words)),
        Err(error) if error.is_temporary() => Err(error.into()),
        Err(_) => Ok(None),
    }
}

/// An amount in a token's money, as far as somebody knows it.
pub(crate) fn money(amount: Amount, words: Option<&TokenWords>, asset: &Address) -> String {
    money_text(amount, words.map(|words| (words.symbol.as_str(), words.decimals)), asset)
}

/// The play money of a deployment: it calls itself USDC, as what it stands for does.
pub(crate) fn play_money(chain_id: u64, address: Address) -> AssetPart {
    token(TEST_USD, chain_id, address, "USDC")
}

fn token(symbol: &str, chain_id: u64, address: Address, name: &str) -> AssetPart {
    AssetPart { symbol: symbol.to_owned(), chain_id, address, name: name.to_owned(), version: "2".to_owned(), decimals: 6 }
}

/// Holds each token of a file to what the token on its chain says of itself: a slip in decimals is a price off by powers of ten, and one in the
/// domain makes every payment invalid.
pub(crate) async fn check(text: &NodeText, chain: &ChainClient) -> Result<(), Failure> {
    for asset in &text.assets {
        check_one(asset, &chain_of(text, asset.chain_id, chain).await?).await?;
    }
    Ok(())
}

/// Decimals of the assets that a policy spends: as known here, else as the token says on this chain. Of a token of another chain that is not known here
/// there are none.
pub(crate) async fn decimals(spend: &SpendPolicy, chain: &ChainClient) -> Result<BTreeMap<(u64, Address), u8>, Failure> {
    let mut out = BTreeMap::new();
    for limit in &spend.assets {
        let words = match known(limit.network.0, &limit.asset) {
            // One that says none is none that could be paid with.
            None if limit.network.0 == chain.chain_id() => Some(chain.token_words(&limit.asset).await?),
            known => known,
        };
        out.extend(words.map(|words| ((limit.network.0, limit.asset), words.decimals)));
    }
    Ok(out)
}

/// Holds the decimals of signed terms to what each token says, of those that may be paid with on this chain, and to what is known of the others: by
/// them a price is shown and compared, and nothing that an operator signs makes one true.
pub(crate) async fn check_terms(terms: &OperatorTerms, spend: &SpendPolicy, chain: &ChainClient) -> Result<(), Failure> {
    let known = decimals(spend, chain).await?;
    for asset in &terms.assets {
        let Some(expected) = known.get(&(asset.chain_id, asset.asset)) else { continue };
        if *expected != asset.decimals {
            let got = asset.decimals;
            let what = format!("asset {}: expected {expected} decimals, as the token has, got {got} in the operator's terms", asset.asset);
            return Err(Failure::refused(
                "terms.decimals",
                format!("{what}: its prices would be shown off by powers of ten. Nothing was paid"),
            ));
        }
    }
    Ok(())
}

/// Holds one token to what it says of itself.
pub(crate) async fn check_one(asset: &AssetPart, chain: &ChainClient) -> Result<(), Failure> {
    let domain = TokenDomain { name: asset.name.clone(), version: asset.version.clone(), chain_id: asset.chain_id, asset: asset.address };
    let refused = |what: String| Failure::cannot(format!("asset {} at {}: {what}", asset.symbol, asset.address));
    let (separator, decimals) = chain
        .token_domain(&asset.address)
        .await
        .map_err(|error| refused(format!("expected a token with EIP-3009 on chain {}: {error}", asset.chain_id)))?;
    if decimals != asset.decimals {
        return Err(refused(format!(
            "decimals: expected {decimals}, as the token says, got {}: prices would be off by powers of ten",
            asset.decimals
        )));
    }
    if separator != domain.to_struct().hash() {
        return Err(refused(format!(
            "another EIP-712 domain than {:?} {:?}; ask the token for name() and version()",
            asset.name, asset.version
        )));
    }
    Ok(())
}

/// `SYMBOL:ADDRESS:NAME:VERSION:DECIMALS`.
pub(crate) fn parse(text: &str, chain_id: u64) -> Result<AssetPart, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let expected = || format!("--asset: expected USDC, TestUSD or SYMBOL:ADDRESS:NAME:VERSION:DECIMALS, got {text:?}");
    let [symbol, address, name, version, decimals] = parts[..] else { return Err(expected()) };
    let address = Address::from_hex(address).filter(|address| !address.is_zero()).ok_or_else(expected)?;
    let decimals = decimals.parse().map_err(|_| expected())?;
    Ok(AssetPart { symbol: symbol.to_owned(), chain_id, address, name: name.to_owned(), version: version.to_owned(), decimals })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_token_can_be_read_and_no_chain_stands_there_twice() {
        for (at, (chain_id, ..)) in USDC.iter().enumerate() {
            assert!(usdc(*chain_id).is_some_and(|token| token.chain_id == *chain_id && !token.address.is_zero()), "{chain_id}");
            assert!(!USDC[..at].iter().any(|(other, ..)| other == chain_id), "{chain_id}");
        }
        assert_eq!(usdc(31337), None);
    }

    #[test]
    fn a_token_that_is_written_out_is_read_whole_or_refused() {
        let address = "0x0101010101010101010101010101010101010101";
        let token = parse(&format!("EURC:{address}:EURC:2:6"), 8453).unwrap();
        assert_eq!((token.symbol.as_str(), token.decimals), ("EURC", 6));
        for bad in [
            "EURC",
            "EURC:0x01:EURC:2:6",
            &format!("EURC:{address}:EURC:2"),
            &format!("EURC:{address}:EURC:2:six"),
            &format!("EURC:{address}:E:2:6:7"),
        ] {
            assert!(parse(bad, 1).is_err(), "{bad}");
        }
    }
}
