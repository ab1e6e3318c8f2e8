// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// Everything about a key that changes, in one slot (ADR 0012). Widths in bits, from the lowest: validUntil 36, invalidFrom 36, revokedAt 36,
/// forked 1, lastSize 42, registeredBlock 35, renewedBlock 35, anchoredBlock 35. All zero: not registered.
type KeyState is uint256;

using KeyStates for KeyState global;

/// What a key's slot says, unpacked. Times in Unix seconds; zero for what has not happened.
struct KeyStatus {
    uint64 validUntil;
    uint64 invalidFrom;
    uint64 revokedAt;
    bool forked;
    uint64 lastSize;
    uint64 registeredBlock;
    uint64 renewedBlock;
    uint64 anchoredBlock;
}

/// @title One slot with eight fields.
/// @dev A value that does not fit its field reverts: nothing is ever truncated.
library KeyStates {
    /// @notice The number is larger than its field: a chain or a log of a size that this contract was not made for.
    error FieldOverflow(uint256 maximum, uint256 got);

    uint256 private constant TIME = 36;
    uint256 private constant SIZE = 42;
    uint256 private constant BLOCK = 35;

    uint256 private constant INVALID_FROM_AT = TIME;
    uint256 private constant REVOKED_AT_AT = 2 * TIME;
    uint256 private constant FORKED_AT = 3 * TIME;
    uint256 private constant LAST_SIZE_AT = FORKED_AT + 1;
    uint256 private constant REGISTERED_AT = LAST_SIZE_AT + SIZE;
    uint256 private constant RENEWED_AT = REGISTERED_AT + BLOCK;
    uint256 private constant ANCHORED_AT = RENEWED_AT + BLOCK;

    /// @notice A key that was registered in this block.
    function registered(uint256 validUntil_) internal view returns (KeyState state) {
        state = _with(KeyState.wrap(0), REGISTERED_AT, BLOCK, block.number);
        state = _with(state, RENEWED_AT, BLOCK, block.number);
        return state.withValidUntil(validUntil_);
    }

    function isRegistered(KeyState state) internal pure returns (bool) {
        return KeyState.unwrap(state) != 0;
    }

    function validUntil(KeyState state) internal pure returns (uint64) {
        return _get(state, 0, TIME);
    }

    function invalidFrom(KeyState state) internal pure returns (uint64) {
        return _get(state, INVALID_FROM_AT, TIME);
    }

    function revokedAt(KeyState state) internal pure returns (uint64) {
        return _get(state, REVOKED_AT_AT, TIME);
    }

    function lastSize(KeyState state) internal pure returns (uint64) {
        return _get(state, LAST_SIZE_AT, SIZE);
    }

    function renewedBlock(KeyState state) internal pure returns (uint64) {
        return _get(state, RENEWED_AT, BLOCK);
    }

    function anchoredBlock(KeyState state) internal pure returns (uint64) {
        return _get(state, ANCHORED_AT, BLOCK);
    }

    function withValidUntil(KeyState state, uint256 value) internal pure returns (KeyState) {
        return _with(state, 0, TIME, value);
    }

    function withInvalidFrom(KeyState state, uint256 value) internal pure returns (KeyState) {
        return _with(state, INVALID_FROM_AT, TIME, value);
    }

    function withRevokedAt(KeyState state, uint256 value) internal pure returns (KeyState) {
        return _with(state, REVOKED_AT_AT, TIME, value);
    }

    function withFork(KeyState state) internal pure returns (KeyState) {
        return _with(state, FORKED_AT, 1, 1);
    }

    /// @notice Renewed in this block.
    function withRenewal(KeyState state) internal view returns (KeyState) {
        return _with(state, RENEWED_AT, BLOCK, block.number);
    }

    /// @notice Anchored in this block, at this size.
    function withAnchor(KeyState state, uint256 size) internal view returns (KeyState) {
        return _with(_with(state, LAST_SIZE_AT, SIZE, size), ANCHORED_AT, BLOCK, block.number);
    }

    function unpack(KeyState state) internal pure returns (KeyStatus memory) {
        return KeyStatus({
            validUntil: state.validUntil(),
            invalidFrom: state.invalidFrom(),
            revokedAt: state.revokedAt(),
            forked: _get(state, FORKED_AT, 1) != 0,
            lastSize: state.lastSize(),
            registeredBlock: _get(state, REGISTERED_AT, BLOCK),
            renewedBlock: state.renewedBlock(),
            anchoredBlock: state.anchoredBlock()
        });
    }

    function _get(KeyState state, uint256 shift, uint256 width) private pure returns (uint64) {
        return uint64((KeyState.unwrap(state) >> shift) & ((1 << width) - 1));
    }

    function _with(KeyState state, uint256 shift, uint256 width, uint256 value) private pure returns (KeyState) {
        uint256 maximum = (1 << width) - 1;
        if (value > maximum) revert FieldOverflow(maximum, value);
        return KeyState.wrap((KeyState.unwrap(state) & ~(maximum << shift)) | (value << shift));
    }
}
