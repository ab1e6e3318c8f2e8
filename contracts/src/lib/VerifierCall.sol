// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {WorkloadId} from "../Types.sol";
import {IAttestationVerifier} from "../interfaces/IAttestationVerifier.sol";

/// @title Asks a verifier that nobody vouches for.
/// @notice A verifier can lie about evidence, which is why a policy lists verifiers. It must not be able to do anything else: it is called
/// without the right to write, and no more of its answer is read than its three words.
/// @dev NOT proven: that the answer is true.
library VerifierCall {
    /// @notice There is no contract at this address.
    error NoVerifier(address verifier);
    /// @notice An account that lends its code from elsewhere (EIP-7702) can lend other code tomorrow.
    error DelegatedVerifier(address verifier);
    /// @notice The answer has not three words.
    error VerifierAnswer(uint256 expected, uint256 got);
    /// @notice A word of the answer does not fit its type.
    error VerifierTime(uint256 got);

    uint256 private constant ANSWER = 96;
    /// A refusal is handed on up to so many bytes: a verifier that returns megabytes costs its own caller, and no more than this.
    uint256 private constant REFUSAL_MAX = 1024;

    /// @notice Hash of the code that answers for this address.
    function codehash(address verifier) internal view returns (bytes32) {
        if (verifier.code.length == 0) revert NoVerifier(verifier);
        bytes32 start;
        assembly ("memory-safe") {
            mstore(0x00, 0)
            extcodecopy(verifier, 0x00, 0, 3)
            start := mload(0x00)
        }
        if (bytes3(start) == 0xef0100) revert DelegatedVerifier(verifier);
        return verifier.codehash;
    }

    /// @notice What it says of this evidence; its own refusal if it refuses.
    function verify(address verifier, bytes calldata evidence, bytes calldata verifierData)
        internal
        view
        returns (IAttestationVerifier.Attested memory attested)
    {
        bytes memory input = abi.encodeCall(IAttestationVerifier.verify, (evidence, verifierData));
        bool ok;
        uint256 length;
        uint256[3] memory answer;
        assembly ("memory-safe") {
            ok := staticcall(gas(), verifier, add(input, 0x20), mload(input), answer, 0x60)
            length := returndatasize()
        }
        if (!ok) _refuse(length);
        if (length != ANSWER) revert VerifierAnswer(ANSWER, length);
        if (answer[2] > type(uint40).max) revert VerifierTime(answer[2]);
        attested.workloadId = WorkloadId.wrap(bytes32(answer[0]));
        attested.attestedHash = bytes32(answer[1]);
        attested.documentTime = uint64(answer[2]);
    }

    function _refuse(uint256 length) private pure {
        if (length > REFUSAL_MAX) length = REFUSAL_MAX;
        assembly ("memory-safe") {
            let free := mload(0x40)
            returndatacopy(free, 0, length)
            revert(free, length)
        }
    }
}
