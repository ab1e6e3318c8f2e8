// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IToken} from "../../src/interfaces/IToken.sol";

/// What the tests call of x402's batch settlement.
interface IBatch {
    struct Channel {
        address payer;
        address payerAuthorizer;
        address receiver;
        address receiverAuthorizer;
        address token;
        uint40 withdrawDelay;
        bytes32 salt;
    }

    struct Voucher {
        Channel channel;
        uint128 maxClaimableAmount;
    }

    struct Claim {
        Voucher voucher;
        bytes signature;
        uint128 totalClaimed;
    }

    error InvalidSignature();
    error NotAuthorizedToClaim();
    error NotAuthorizedToRefund();
    error NotReceiverAuthorizer();
    error InvalidRefundNonce();
    error ClaimExceedsCeiling();
    error ClaimExceedsBalance();

    function deposit(Channel calldata channel, uint128 amount, address collector, bytes calldata data) external;
    function claim(Claim[] calldata claims) external;
    function claimWithSignature(Claim[] calldata claims, bytes calldata signature) external;
    function settle(address receiver, address token) external;
    function refund(Channel calldata channel, uint128 amount) external;
    function refundWithSignature(Channel calldata channel, uint128 amount, uint256 nonce, bytes calldata signature) external;
    function channels(bytes32 id) external view returns (uint128 balance, uint128 totalClaimed);
    function refundNonce(bytes32 id) external view returns (uint256);
    function getChannelId(Channel calldata channel) external view returns (bytes32);
    function getVoucherDigest(bytes32 id, uint128 maximum) external view returns (bytes32);
    function getRefundDigest(bytes32 id, uint256 nonce, uint128 amount) external view returns (bytes32);
    function getClaimBatchDigest(Claim[] calldata claims) external view returns (bytes32);
}

interface ICollector {
    function collect(address payer, address token, uint256 amount, bytes32 id, bytes calldata data) external;
}

interface IERC1271 {
    function isValidSignature(bytes32 digest, bytes calldata signature) external view returns (bytes4);
}

/// x402's batch settlement as far as a receiver's side goes: who may claim and refund, by which digests, and what moves. Stands at the
/// canonical address where the deployed code is not at hand (support/X402.sol). No withdrawals, no checks of a deposit.
contract BatchStandIn is IBatch {
    bytes32 private constant CHANNEL_TYPEHASH = keccak256(
        "ChannelConfig(address payer,address payerAuthorizer,address receiver,address receiverAuthorizer,address token,uint40 withdrawDelay,bytes32 salt)"
    );
    bytes32 private constant VOUCHER_TYPEHASH = keccak256("Voucher(bytes32 channelId,uint128 maxClaimableAmount)");
    bytes32 private constant REFUND_TYPEHASH = keccak256("Refund(bytes32 channelId,uint256 nonce,uint128 amount)");
    bytes32 private constant ENTRY_TYPEHASH =
        keccak256("ClaimEntry(bytes32 channelId,uint128 maxClaimableAmount,uint128 totalClaimed)");
    bytes32 private constant BATCH_TYPEHASH =
        keccak256("ClaimBatch(ClaimEntry[] claims)ClaimEntry(bytes32 channelId,uint128 maxClaimableAmount,uint128 totalClaimed)");
    uint256 private constant HALF_ORDER = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0;

    struct State {
        uint128 balance;
        uint128 totalClaimed;
    }

    mapping(bytes32 id => State) public channels;
    mapping(bytes32 id => uint256) public refundNonce;
    mapping(address receiver => mapping(address token => uint256)) private _owed;

    function deposit(Channel calldata channel, uint128 amount, address collector, bytes calldata data) external {
        bytes32 id = getChannelId(channel);
        channels[id].balance += amount;
        ICollector(collector).collect(channel.payer, channel.token, amount, id, data);
    }

    function claim(Claim[] calldata claims) external {
        for (uint256 i = 0; i < claims.length; ++i) {
            Channel calldata c = claims[i].voucher.channel;
            if (msg.sender != c.receiver && msg.sender != c.receiverAuthorizer) revert NotAuthorizedToClaim();
            _claim(claims[i]);
        }
    }

    function claimWithSignature(Claim[] calldata claims, bytes calldata signature) external {
        address authorizer = claims[0].voucher.channel.receiverAuthorizer;
        if (!_isSigned(authorizer, getClaimBatchDigest(claims), signature)) revert InvalidSignature();
        for (uint256 i = 0; i < claims.length; ++i) {
            if (claims[i].voucher.channel.receiverAuthorizer != authorizer) revert NotReceiverAuthorizer();
            _claim(claims[i]);
        }
    }

    function settle(address receiver, address token) external {
        uint256 amount = _owed[receiver][token];
        if (amount == 0) return;
        _owed[receiver][token] = 0;
        require(IToken(token).transfer(receiver, amount));
    }

    function refund(Channel calldata channel, uint128 amount) external {
        if (msg.sender != channel.receiver && msg.sender != channel.receiverAuthorizer) revert NotAuthorizedToRefund();
        _refund(channel, amount);
    }

    function refundWithSignature(Channel calldata channel, uint128 amount, uint256 nonce, bytes calldata signature) external {
        bytes32 id = getChannelId(channel);
        if (nonce != refundNonce[id]) revert InvalidRefundNonce();
        if (!_isSigned(channel.receiverAuthorizer, getRefundDigest(id, nonce, amount), signature)) revert InvalidSignature();
        _refund(channel, amount);
    }

    function getChannelId(Channel calldata channel) public view returns (bytes32) {
        return _typed(keccak256(abi.encode(CHANNEL_TYPEHASH, channel)));
    }

    function getVoucherDigest(bytes32 id, uint128 maximum) public view returns (bytes32) {
        return _typed(keccak256(abi.encode(VOUCHER_TYPEHASH, id, maximum)));
    }

    function getRefundDigest(bytes32 id, uint256 nonce, uint128 amount) public view returns (bytes32) {
        return _typed(keccak256(abi.encode(REFUND_TYPEHASH, id, nonce, amount)));
    }

    function getClaimBatchDigest(Claim[] calldata claims) public view returns (bytes32) {
        bytes memory entries;
        for (uint256 i = 0; i < claims.length; ++i) {
            Claim calldata c = claims[i];
            bytes32 id = getChannelId(c.voucher.channel);
            bytes32 entry = keccak256(abi.encode(ENTRY_TYPEHASH, id, c.voucher.maxClaimableAmount, c.totalClaimed));
            entries = abi.encodePacked(entries, entry);
        }
        return _typed(keccak256(abi.encode(BATCH_TYPEHASH, keccak256(entries))));
    }

    function _claim(Claim calldata c) private {
        bytes32 id = getChannelId(c.voucher.channel);
        State storage state = channels[id];
        if (c.totalClaimed <= state.totalClaimed) return;
        if (c.totalClaimed > c.voucher.maxClaimableAmount) revert ClaimExceedsCeiling();
        if (c.totalClaimed > state.balance) revert ClaimExceedsBalance();
        address signer = c.voucher.channel.payerAuthorizer;
        if (signer == address(0)) signer = c.voucher.channel.payer;
        if (!_isSigned(signer, getVoucherDigest(id, c.voucher.maxClaimableAmount), c.signature)) revert InvalidSignature();
        _owed[c.voucher.channel.receiver][c.voucher.channel.token] += c.totalClaimed - state.totalClaimed;
        state.totalClaimed = c.totalClaimed;
    }

    function _refund(Channel calldata channel, uint128 amount) private {
        bytes32 id = getChannelId(channel);
        ++refundNonce[id];
        uint128 available = channels[id].balance - channels[id].totalClaimed;
        if (amount > available) amount = available;
        channels[id].balance -= amount;
        require(IToken(channel.token).transfer(channel.payer, amount));
    }

    /// As OpenZeppelin's SignatureChecker: an address without code is a key, one with code is asked.
    function _isSigned(address signer, bytes32 digest, bytes calldata signature) private view returns (bool) {
        if (signer.code.length != 0) {
            (bool ok, bytes memory answer) = signer.staticcall(abi.encodeCall(IERC1271.isValidSignature, (digest, signature)));
            return ok && answer.length >= 32 && abi.decode(answer, (bytes32)) == bytes32(IERC1271.isValidSignature.selector);
        }
        if (signature.length != 65) return false;
        (bytes32 r, bytes32 s) = (bytes32(signature[0:32]), bytes32(signature[32:64]));
        if (uint256(s) > HALF_ORDER) return false;
        address got = ecrecover(digest, uint8(signature[64]), r, s);
        return got != address(0) && got == signer;
    }

    function _typed(bytes32 structHash) private view returns (bytes32) {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("x402 Batch Settlement"),
                keccak256("1"),
                block.chainid,
                address(this)
            )
        );
        return keccak256(abi.encodePacked(hex"1901", domain, structHash));
    }
}
