// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IReceiptSettler} from "./IReceiptSettler.sol";
import {IUptoProxy} from "./IUptoProxy.sol";

/// @title Makes the settler of each enclave key, and settles many receipts of one key at once.
/// @notice A settler's address follows from this contract's and the key (lib/Clone.sol), so an offer can name it before it exists. Nobody
/// owns it.
interface ISettlerFactory {
    /// @notice A row was not settled; the others were tried all the same.
    /// @param row its place in the call.
    /// @param reason what the settler reverted with, its first MAX_REASON bytes. Empty: it reverted without a reason, or used up ROW_GAS.
    event NotSettled(address indexed kSig, bytes32 indexed paymentId, uint256 row, bytes reason);

    /// @notice Not enough gas is left to give this row its ROW_GAS: nothing is settled. A row that is short of gas would look like one
    /// that is refused, and an estimate of gas would find the amount that settles nothing.
    error TooLittleGas(uint256 row, uint256 needed, uint256 got);

    /// @notice Settles what can be settled, and names what cannot. Makes the settler at its first use. No row can stop the others: each
    /// has at most ROW_GAS. (Rows that are no ABI encoding revert the call.)
    /// @return failed how many rows were not settled; each has an event.
    function settle(address kSig, IReceiptSettler.Settlement[] calldata rows) external returns (uint256 failed);

    /// @notice Settles one row after an EIP-2612 permit of its payer, or reverts as the settler does. Makes the settler at its first use.
    function settleWithPermit(
        address kSig,
        IUptoProxy.TokenPermit calldata tokenPermit,
        IReceiptSettler.Settlement calldata settlement
    ) external;

    /// @notice Makes the settler of this key, unless it is there.
    function deploy(address kSig) external returns (IReceiptSettler);

    /// @notice The settler of this key, whether it is there yet or not.
    function settlerOf(address kSig) external view returns (address);

    /// @notice What the settlers are clones of.
    function implementation() external view returns (address);

    /// @notice Gas of one row. A settlement of a plain token takes about a fifth.
    function ROW_GAS() external view returns (uint256);

    /// @notice Bytes of a reason that are kept.
    function MAX_REASON() external view returns (uint256);
}
