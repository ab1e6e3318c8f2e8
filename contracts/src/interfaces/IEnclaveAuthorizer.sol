// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {PolicyId} from "../Types.sol";

/// @title Speaks for an operator's enclaves in payment channels: whoever claims must be measured code that a policy accepts.
/// @notice A channel's `receiverAuthorizer`, by ERC-1271. It stands for (registry, operator, policy), which are in its code, so a channel
/// outlives reboots, and nobody outside of accepted enclaves can claim from it. Its address follows from the factory's and these three
/// (lib/Clone.sol). Nobody owns it, and it holds nothing.
///
/// It says yes to a digest if a key of that operator, registered there and not revoked, signed
/// ChannelAuthorization(uint256 chainId,address authorizer,bytes32 digest) in Candor's domain naming this chain and this contract, at most
/// GRACE after the key's last evidence, and the policy accepts the key's workload for answers of now (of the end of its validity, if that
/// is past) or of GRACE ago (of its boot, if that is later). So an outage of evidence, or a deprecation, loses no earned money for GRACE;
/// a policy's revocation and a key's end it at once; a retirement alone does not.
///
/// It must be deployed before the first claim: an address without code counts as a key, whose signature nobody has.
///
/// NOT proven: what the digest says (the enclave decides what it signs); that a voucher was earned. Whoever steals a key that still counts
/// claims up to what payers signed, to the channel's receiver only, or refunds to the payer: the operator's loss. A policy's owner
/// decides who can claim; under one without an owner a new release cannot claim from old channels.
interface IEnclaveAuthorizer {
    /// @notice ERC-1271: 0x1626ba7e if the digest is authorized now, 0xffffffff for everything else. No signature makes it revert, whatever
    /// its bytes: what is not the one encoding of a registered record and a 65-byte signature is refused before it is read. (It reverts
    /// if there is no registry at `registry`.) Its work does not grow with its input.
    /// @param signature abi.encode(Record, bytes): the record of the key, 10 words, and its signature over the ChannelAuthorization.
    function isValidSignature(bytes32 digest, bytes calldata signature) external view returns (bytes4);

    /// @notice The digest that a key signs so that this contract says yes to `digest`.
    function authorizationDigest(bytes32 digest) external view returns (bytes32);

    /// @notice The CandorRegistry that is asked, and whose policies are.
    function registry() external view returns (address);

    /// @notice Whose enclaves.
    function operator() external view returns (address);

    /// @notice Which enclaves.
    function policyId() external view returns (PolicyId);

    /// @notice How long, in seconds, a key may still claim after its validity.
    function GRACE() external view returns (uint64);
}
