// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Half} from "../../src/Types.sol";
import {Digests} from "../../src/lib/Digests.sol";
import {Signatures} from "../../src/lib/Signatures.sol";
import {Harness} from "./Harness.sol";

/// The libraries as the contracts about money use them.
contract MoneyHarness is Harness {
    function half(Half calldata words) external pure returns (bytes32) {
        return Digests.half(words);
    }

    function permit2Id(uint256 chainId, address permit2, address owner, uint256 nonce) external pure returns (bytes32) {
        return Digests.permit2Id(chainId, permit2, owner, nonce);
    }

    function channelAuthorization(uint256 chainId, address authorizer, bytes32 digest) external pure returns (bytes32) {
        return Digests.channelAuthorization(chainId, authorizer, digest);
    }

    function isSignedBy(address signer, bytes32 digest, bytes calldata signature) external pure returns (bool) {
        return Signatures.isSignedBy(signer, digest, signature);
    }
}
