// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title Where a channel's money waits for its payee: whatever token comes in goes to the payee, and nowhere else.
/// @notice The receiver of a payment channel may claim and refund by itself, as the sender of a call. So the receiver must be somebody who
/// can call nothing: this contract reads a token's balance and transfers all of it to the one address in its code. Anyone may ask for that.
/// Nobody owns it. Its address follows from the factory's and the payee (lib/Clone.sol); tokens may arrive before it exists.
///
/// It takes no ETH: no channel pays in ETH, and sending it on would hand the payee a call. ETH that is forced in stays for ever.
///
/// NOT proven: that a token does what its name says; what the payee receives of a token with fees; that the payee can receive it.
interface IPayeeForwarder {
    /// @notice The token was told to move this much to the payee, and agreed.
    event Swept(address indexed token, uint256 amount);

    /// @notice There is no contract at this address.
    error NotAToken(address token);
    /// @notice The token reverted, with this reason.
    error TransferFailed(address token, bytes reason);
    /// @notice The token returned something else than true.
    error TransferRefused(address token, bytes answer);

    /// @notice Sends the whole balance of a token to the payee. With a balance of zero it does nothing.
    /// @return amount what was sent, in the token's units.
    function sweep(address token) external returns (uint256 amount);

    /// @notice Who gets everything.
    function payee() external view returns (address);
}
