// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IReceiptSettler} from "../interfaces/IReceiptSettler.sol";
import {ISettlerFactory} from "../interfaces/ISettlerFactory.sol";
import {IUptoProxy} from "../interfaces/IUptoProxy.sol";
import {Clone} from "../lib/Clone.sol";
import {ReturnData} from "../lib/ReturnData.sol";
import {ReceiptSettler} from "./ReceiptSettler.sol";

contract SettlerFactory is ISettlerFactory {
    /// @inheritdoc ISettlerFactory
    uint256 public constant ROW_GAS = 500_000;
    /// @inheritdoc ISettlerFactory
    uint256 public constant MAX_REASON = 256;

    /// A call gets at most 63/64 of what is left (EIP-150): 507,937 for ROW_GAS, and the rest encodes the row and tells of its failure.
    uint256 private constant NEEDED_GAS = 550_000;

    /// @inheritdoc ISettlerFactory
    address public immutable implementation;

    constructor(IUptoProxy proxy) {
        implementation = address(new ReceiptSettler(proxy));
    }

    /// @inheritdoc ISettlerFactory
    function settle(address kSig, IReceiptSettler.Settlement[] calldata rows) external returns (uint256 failed) {
        IReceiptSettler settler = deploy(kSig);
        for (uint256 i = 0; i < rows.length; ++i) {
            if (gasleft() < NEEDED_GAS) revert TooLittleGas(i, NEEDED_GAS, gasleft());
            // slither-disable-next-line calls-loop: one call for each row, with its own gas, is what this is for
            try settler.settle{gas: ROW_GAS}(rows[i]) {}
            catch {
                bytes memory reason = ReturnData.read(MAX_REASON);
                // slither-disable-next-line reentrancy-events: nothing is kept between the rows
                emit NotSettled(kSig, rows[i].receipt.money.paymentId, i, reason);
                ++failed;
            }
        }
    }

    /// @inheritdoc ISettlerFactory
    function settleWithPermit(
        address kSig,
        IUptoProxy.TokenPermit calldata tokenPermit,
        IReceiptSettler.Settlement calldata settlement
    ) external {
        deploy(kSig).settleWithPermit(tokenPermit, settlement);
    }

    /// @inheritdoc ISettlerFactory
    function deploy(address kSig) public returns (IReceiptSettler) {
        return IReceiptSettler(Clone.deploy(implementation, abi.encodePacked(kSig)));
    }

    /// @inheritdoc ISettlerFactory
    function settlerOf(address kSig) external view returns (address) {
        return Clone.addressOf(implementation, abi.encodePacked(kSig));
    }
}
