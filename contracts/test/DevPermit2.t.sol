// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {DevPermit2} from "../src/dev/DevPermit2.sol";
import {ISignatureTransfer} from "../src/dev/ISignatureTransfer.sol";
import {TestUSD} from "../src/dev/TestUSD.sol";
import {IToken} from "../src/interfaces/IToken.sol";
import {IUptoProxy} from "../src/interfaces/IUptoProxy.sol";
import {KeyWallet, Permits, Says} from "./support/Permits.sol";

/// Our stand-in and the real Permit2 on the same calls, each at the canonical address in the same state: success, answer or reason, events,
/// balances and nonces are the same. What is asserted of one alone is what both are known to do.
contract DevPermit2Test is Permits {
    uint256 private constant PAYER_KEY = 0x9a7e4;
    uint256 private constant STRANGER_KEY = 0x57a46e4;
    uint256 private constant NOW = 1_800_000_000;
    uint256 private constant FUNDS = 1_000_000;
    address private constant TO = address(0x9a1ee);
    address private constant SPENDER = address(0x5be4de4);
    bytes32 private constant YES = bytes32(bytes4(0x1626ba7e));

    /// One call, and what is there before it.
    struct Call {
        bool isWitnessed;
        IUptoProxy.Permit permit;
        ISignatureTransfer.TransferDetails details;
        address owner;
        bytes32 witness;
        string witnessType;
        bytes signature;
        address spender;
        /// Nonces of this word are burned first.
        uint256 burnedWord;
        uint256 burned;
    }

    /// What came of it.
    struct Outcome {
        bool ok;
        bytes answer;
        uint256 payers;
        uint256 payees;
        uint256 word;
        bytes32 events;
    }

    TestUSD private usd;
    /// Nobody has any of it.
    TestUSD private empty;
    address private payer;
    bytes private real;
    bytes private ours;
    uint256 private entropy;

    function setUp() public {
        vm.warp(NOW);
        (real, ours) = (realPermit2(), address(new DevPermit2()).code);
        (usd, empty) = (new TestUSD(), new TestUSD());
        payer = vm.addr(PAYER_KEY);
        fund(payer);
    }

    // What both do.

    function test_everyGoodFormOfASignatureMovesTheMoney() public {
        Call memory c = good();
        for (uint256 i = 0; i < 6; ++i) {
            c.isWitnessed = i % 2 == 0;
            bytes32 digest = signed(c);
            c.signature = i < 2 ? sign(PAYER_KEY, digest) : i < 4 ? short(PAYER_KEY, digest) : highTwin(PAYER_KEY, digest);
            Outcome memory got = both(c);
            assertTrue(got.ok, "a good form");
            assertEq(got.payers, FUNDS - 600);
            assertEq(got.payees, 600);
            assertEq(got.word, 1 << 7);
        }
    }

    /// Each deviation has its error, and of two the one that is checked first.
    function test_theChecksAndTheirOrder() public {
        for (uint256 i = 0; i < 7; ++i) {
            refused(deviating(i, i), reasonOf(i));
            for (uint256 j = i + 1; j < 7; ++j) {
                // A signature cannot deviate in two ways at once.
                if (i < 3 || j == 6) refused(deviating(i, j), reasonOf(i));
            }
        }
    }

    function test_anOwnerWithCodeIsAskedAndNothingElseCounts() public {
        Call memory c = good();
        address wallet = address(new KeyWallet(vm.addr(STRANGER_KEY)));
        fund(wallet);
        c.owner = wallet;
        c.signature = sign(STRANGER_KEY, signed(c));
        assertTrue(both(c).ok, "its key signed");
        c.signature = sign(PAYER_KEY, signed(c));
        refused(c, abi.encodeWithSelector(ISignatureTransfer.InvalidContractSignature.selector));

        // A key that delegates (EIP-7702): the wallet takes 65 bytes with a low s, and not what Permit2 takes of a key.
        c.owner = payer;
        delegate(payer, address(new KeyWallet(address(0))));
        c.signature = sign(PAYER_KEY, signed(c));
        assertTrue(both(c).ok, "its own key signed");
        c.signature = sign(STRANGER_KEY, signed(c));
        refused(c, abi.encodeWithSelector(ISignatureTransfer.InvalidContractSignature.selector));
        delegate(payer, address(new Says()));
        Says(payer).say("no words of mine", true);
        c.signature = sign(PAYER_KEY, signed(c));
        refused(c, "no words of mine");
    }

    function test_whatAWalletMayAnswer() public {
        bytes[8] memory answers = [
            abi.encode(YES),
            abi.encode(YES, 7),
            abi.encode(bytes32(bytes4(0xffffffff))),
            abi.encode(bytes32(bytes4(0x1626ba7f))),
            new bytes(32),
            abi.encode(YES | bytes32(uint256(1))),
            abi.encodePacked(bytes4(YES)),
            bytes("")
        ];
        Call memory c = good();
        Says wallet = new Says();
        c.owner = address(wallet);
        fund(c.owner);
        for (uint256 i = 0; i < 8; ++i) {
            wallet.say(answers[i], false);
            if (i < 2) assertTrue(both(c).ok, "taken");
            else if (i < 5) refused(c, abi.encodeWithSelector(ISignatureTransfer.InvalidContractSignature.selector));
            // No bytes4 at all.
            else refused(c, "");
        }
        wallet.say(abi.encode(YES), true);
        refused(c, abi.encode(YES));
    }

    function test_whatATokenMayAnswer() public {
        bytes[9] memory answers = [
            abi.encode(true),
            bytes(""),
            abi.encode(true, 7),
            abi.encode(false),
            abi.encode(2),
            abi.encode(bytes32("true")),
            hex"01",
            new bytes(31),
            new bytes(32)
        ];
        Says token = new Says();
        for (uint256 i = 0; i < 9; ++i) {
            token.say(answers[i], false);
            Call memory c = paidIn(address(token));
            if (i < 3) assertTrue(both(c).ok, "taken");
            else refused(c, abi.encodeWithSignature("Error(string)", "TRANSFER_FROM_FAILED"));
        }
        token.say(abi.encode(true), true);
        refused(paidIn(address(token)), abi.encodeWithSignature("Error(string)", "TRANSFER_FROM_FAILED"));
        assertTrue(both(paidIn(address(0xc0de1e55))).ok, "no code answers nothing");
    }

    function test_aPermitIsForOneSpenderOnOneChainOnce() public {
        vm.chainId(84532);
        Call memory c = good();
        c.spender = address(0xbad);
        refused(c, abi.encodeWithSelector(ISignatureTransfer.InvalidSigner.selector));
        c.spender = SPENDER;
        vm.chainId(84533);
        refused(c, abi.encodeWithSelector(ISignatureTransfer.InvalidSigner.selector));
        vm.chainId(84532);
        assertTrue(both(c).ok, "here");
        vm.etch(PERMIT2, ours);
        vm.prank(SPENDER);
        (bool ok,) = PERMIT2.call(encoded(c));
        assertTrue(ok, "once");
        vm.prank(SPENDER);
        vm.expectRevert(ISignatureTransfer.InvalidNonce.selector);
        ISignatureTransfer(PERMIT2).permitWitnessTransferFrom(c.permit, c.details, c.owner, c.witness, c.witnessType, c.signature);
    }

    /// The token calls back with the very permit that it is paid by.
    function test_aNonceIsUsedBeforeTheTokenIsCalled() public {
        Reenters token = new Reenters();
        Call memory c = paidIn(address(token));
        token.plan(encoded(c));
        assertTrue(both(c).ok, "the outer one");
        vm.etch(PERMIT2, ours);
        vm.prank(SPENDER);
        (bool ok,) = PERMIT2.call(encoded(c));
        assertTrue(ok, "the outer one");
        assertEq(bytes32(bytes4(token.answer())), bytes32(ISignatureTransfer.InvalidNonce.selector));
    }

    function test_views_areTheSame() public {
        bytes32[2] memory domains;
        for (uint256 i = 0; i < 2; ++i) {
            vm.etch(PERMIT2, i == 0 ? real : ours);
            domains[i] = ISignatureTransfer(PERMIT2).DOMAIN_SEPARATOR();
        }
        assertEq(domains[0], domains[1]);
        vm.chainId(84532);
        // Of Permit2 on Base Sepolia.
        bytes32 there = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,uint256 chainId,address verifyingContract)"),
                keccak256("Permit2"),
                uint256(84532),
                PERMIT2
            )
        );
        assertEq(ISignatureTransfer(PERMIT2).DOMAIN_SEPARATOR(), there);
    }

    // The same on whatever is called.

    /// What an owner burns is burned in both, and says so.
    function testFuzz_invalidateUnorderedNonces_isTheSame(address owner, uint256 word, uint256 mask, uint256 more) public {
        bytes32[2] memory outcomes;
        for (uint256 i = 0; i < 2; ++i) {
            uint256 id = vm.snapshotState();
            vm.etch(PERMIT2, i == 0 ? real : ours);
            vm.recordLogs();
            vm.prank(owner);
            ISignatureTransfer(PERMIT2).invalidateUnorderedNonces(word, mask);
            vm.prank(owner);
            ISignatureTransfer(PERMIT2).invalidateUnorderedNonces(word, more);
            uint256 bitmap = ISignatureTransfer(PERMIT2).nonceBitmap(owner, word);
            assertEq(bitmap, mask | more);
            outcomes[i] = keccak256(abi.encode(bitmap, vm.getRecordedLogs()));
            vm.revertToState(id);
        }
        assertEq(outcomes[1], outcomes[0]);
    }

    /// Every part of a call good or not, in all combinations: mostly good, so that each check is reached.
    function testFuzz_permit_isTheSame(uint256 seed) public {
        entropy = seed;
        both(anyCall());
    }

    /// A byte of a good call flipped, wherever: offsets, lengths, padding and words that the compiler checks.
    function testFuzz_permit_isTheSameWithAFlippedByte(uint256 place, uint8 flip, bool isWitnessed) public {
        Call memory c = good();
        c.isWitnessed = isWitnessed;
        c.signature = sign(PAYER_KEY, signed(c));
        bytes memory data = encoded(c);
        data[bound(place, 4, data.length - 1)] ^= bytes1(flip);
        both(c, data);
    }

    /// The call ends before it should.
    function testFuzz_permit_isTheSameCutShort(uint256 length, bool isWitnessed) public {
        Call memory c = good();
        c.isWitnessed = isWitnessed;
        c.signature = sign(PAYER_KEY, signed(c));
        bytes memory data = encoded(c);
        length = bound(length, 4, data.length);
        assembly ("memory-safe") {
            mstore(data, length)
        }
        both(c, data);
    }

    // Running both.

    function both(Call memory c) private returns (Outcome memory) {
        return both(c, encoded(c));
    }

    function both(Call memory c, bytes memory data) private returns (Outcome memory got) {
        Outcome memory expected = outcome(real, c, data);
        got = outcome(ours, c, data);
        assertEq(bytes32(bytes1(got.ok ? 1 : 0)), bytes32(bytes1(expected.ok ? 1 : 0)), "success");
        assertEq(keccak256(got.answer), keccak256(expected.answer), "answer");
        assertEq(bytes32(got.payers), bytes32(expected.payers), "payer's balance");
        assertEq(bytes32(got.payees), bytes32(expected.payees), "payee's balance");
        assertEq(bytes32(got.word), bytes32(expected.word), "nonces");
        assertEq(got.events, expected.events, "events");
    }

    function outcome(bytes memory code, Call memory c, bytes memory data) private returns (Outcome memory got) {
        uint256 id = vm.snapshotState();
        vm.etch(PERMIT2, code);
        vm.prank(c.owner);
        ISignatureTransfer(PERMIT2).invalidateUnorderedNonces(c.burnedWord, c.burned);
        vm.recordLogs();
        vm.prank(c.spender);
        (got.ok, got.answer) = PERMIT2.call(data);
        got.events = keccak256(abi.encode(vm.getRecordedLogs()));
        got.payers = usd.balanceOf(c.owner);
        got.payees = usd.balanceOf(c.details.to);
        got.word = ISignatureTransfer(PERMIT2).nonceBitmap(c.owner, c.permit.nonce >> 8);
        vm.revertToState(id);
    }

    function refused(Call memory c, bytes memory reason) private {
        Outcome memory got = both(c);
        assertTrue(!got.ok, "refused");
        assertEq(keccak256(got.answer), keccak256(reason), "reason");
    }

    function encoded(Call memory c) private pure returns (bytes memory) {
        if (!c.isWitnessed) {
            return abi.encodeCall(ISignatureTransfer.permitTransferFrom, (c.permit, c.details, c.owner, c.signature));
        }
        return abi.encodeCall(
            ISignatureTransfer.permitWitnessTransferFrom, (c.permit, c.details, c.owner, c.witness, c.witnessType, c.signature)
        );
    }

    function signed(Call memory c) private view returns (bytes32) {
        return c.isWitnessed ? digestOf(c.permit, c.spender, c.witness, c.witnessType) : digestOf(c.permit, c.spender);
    }

    // Calls.

    function good() private view returns (Call memory c) {
        return paidIn(address(usd));
    }

    function paidIn(address token) private view returns (Call memory c) {
        c.isWitnessed = true;
        c.permit = IUptoProxy.Permit(IUptoProxy.TokenPermissions(token, 1000), 7, NOW + 300);
        c.details = ISignatureTransfer.TransferDetails(TO, 600);
        c.owner = payer;
        c.witness = keccak256("witness");
        c.witnessType = UPTO_WITNESS;
        c.spender = SPENDER;
        c.signature = sign(PAYER_KEY, signed(c));
    }

    /// One or two of: over, too much, used, three bad signatures, no money.
    function deviating(uint256 one, uint256 two) private view returns (Call memory c) {
        c = paidIn(one == 6 || two == 6 ? address(empty) : address(usd));
        if (one == 0) c.permit.deadline = NOW - 1;
        if (one == 1 || two == 1) c.details.requestedAmount = 1001;
        if (one == 2 || two == 2) c.burned = 1 << 7;
        c.signature = sign(PAYER_KEY, signed(c));
        if (one == 3 || two == 3) c.signature = abi.encodePacked(c.signature, uint8(0));
        if (one == 4 || two == 4) c.signature[64] = bytes1(uint8(29));
        if (one == 5 || two == 5) c.signature = sign(STRANGER_KEY, signed(c));
    }

    function reasonOf(uint256 deviation) private pure returns (bytes memory) {
        if (deviation == 0) return abi.encodeWithSelector(ISignatureTransfer.SignatureExpired.selector, NOW - 1);
        if (deviation == 1) return abi.encodeWithSelector(ISignatureTransfer.InvalidAmount.selector, 1000);
        if (deviation == 2) return abi.encodeWithSelector(ISignatureTransfer.InvalidNonce.selector);
        if (deviation == 3) return abi.encodeWithSelector(ISignatureTransfer.InvalidSignatureLength.selector);
        if (deviation == 4) return abi.encodeWithSelector(ISignatureTransfer.InvalidSignature.selector);
        if (deviation == 5) return abi.encodeWithSelector(ISignatureTransfer.InvalidSigner.selector);
        return abi.encodeWithSignature("Error(string)", "TRANSFER_FROM_FAILED");
    }

    // Any call: each part by the next bits of the seed.

    function anyCall() private returns (Call memory c) {
        c = good();
        c.isWitnessed = pick(3) != 0;
        if (pick(8) == 0) c.permit.permitted.token = anyToken();
        if (pick(4) == 0) c.permit.permitted.amount = anyAmount();
        if (pick(4) == 0) c.details.requestedAmount = c.permit.permitted.amount;
        else if (pick(4) == 0) c.details.requestedAmount = anyAmount();
        if (pick(4) == 0) c.permit.nonce = anyNonce();
        if (pick(6) == 0) c.permit.deadline = [NOW - 1, NOW, NOW + 1, 0, type(uint256).max][pick(5)];
        if (pick(6) == 0) (c.burnedWord, c.burned) = (c.permit.nonce >> 8, anyMask(c.permit.nonce));
        if (pick(4) == 0) c.witnessType = anyWitnessType();
        if (pick(8) == 0) c.details.to = [address(0), payer, SPENDER, address(usd), PERMIT2][pick(5)];
        if (pick(8) == 0) c.spender = [payer, TO, address(this), address(0xffff)][pick(4)];
        if (pick(3) == 0) c.owner = anyOwner();
        c.signature = anySignature(signed(c));
        // Signed for another call.
        if (pick(10) == 0) c.witness = bytes32(next());
        if (pick(20) == 0) c.permit.deadline += 1;
        if (pick(20) == 0) c.spender = address(0xf00);
    }

    function anyToken() private returns (address) {
        Says token = new Says();
        bytes[7] memory answers =
            [abi.encode(true), bytes(""), abi.encode(false), abi.encode(next()), abi.encode(1, next()), new bytes(31), hex"01"];
        token.say(answers[pick(7)], pick(3) == 0);
        return [address(token), address(token), address(token), address(0xc0de1e55), address(0), address(4)][pick(6)];
    }

    function anyAmount() private returns (uint256) {
        return [0, 1, 600, 999, 1000, 1001, FUNDS, FUNDS + 1, type(uint256).max, next()][pick(10)];
    }

    function anyNonce() private returns (uint256) {
        return [0, 1, 255, 256, 511, type(uint256).max, 1 << 255, next()][pick(8)];
    }

    function anyMask(uint256 nonce) private returns (uint256) {
        uint256 bit = 1 << (nonce & 0xff);
        return [bit, ~bit, type(uint256).max, bit << 1, next()][pick(5)];
    }

    function anyWitnessType() private returns (string memory) {
        return [EXACT_WITNESS, "", ")", string(abi.encodePacked(next(), next()))][pick(4)];
    }

    function anyOwner() private returns (address owner) {
        bytes[8] memory answers = [
            abi.encode(YES),
            abi.encode(bytes32(bytes4(0xffffffff))),
            abi.encode(YES, next()),
            abi.encode(YES | bytes32(uint256(1))),
            abi.encodePacked(bytes4(YES)),
            bytes(""),
            bytes("a reason of its own"),
            abi.encode(next())
        ];
        uint256 which = pick(6);
        if (which == 0) return vm.addr(STRANGER_KEY);
        if (which == 1) return address(0);
        if (which == 2) owner = address(new KeyWallet(payer));
        if (which == 3) delegate(owner = payer, [address(new KeyWallet(address(0))), address(0xdead), address(0)][pick(3)]);
        if (which == 4) delegate(owner = payer, address(new Says()));
        if (which == 5) owner = address(new Says());
        if (4 <= which) Says(owner).say(answers[pick(8)], pick(3) == 0);
        fund(owner);
    }

    function anySignature(bytes32 digest) private returns (bytes memory signature) {
        uint256 form = pick(16);
        signature = sign(PAYER_KEY, digest);
        if (form < 4) return signature;
        if (form < 6) return short(PAYER_KEY, digest);
        if (form == 6) return highTwin(PAYER_KEY, digest);
        if (form == 7) return sign(STRANGER_KEY, digest);
        if (form == 8) signature[64] = bytes1(uint8(next()));
        if (form == 9) signature[64] ^= bytes1(uint8(7));
        if (form == 10) signature[pick(64)] ^= bytes1(uint8(next()));
        if (form == 11) return abi.encodePacked(next(), next(), uint8(27 + pick(2)));
        if (form == 12) return abi.encodePacked(next(), next());
        // The upper bits of a high s mean another v.
        if (form == 13) {
            signature = highTwin(PAYER_KEY, digest);
            assembly ("memory-safe") {
                mstore(signature, 64)
            }
        }
        if (form == 14) return [bytes(""), new bytes(65), new bytes(64), abi.encodePacked(signature, uint8(27))][pick(4)];
        if (form == 15) {
            uint256 length = pick(66);
            assembly ("memory-safe") {
                mstore(signature, length)
            }
        }
    }

    function pick(uint256 choices) private returns (uint256) {
        return next() % choices;
    }

    function next() private returns (uint256) {
        entropy = uint256(keccak256(abi.encode(entropy)));
        return entropy;
    }

    /// EIP-7702: the code of an account that delegates is the address that it delegates to.
    function delegate(address account, address to) private {
        vm.etch(account, to == address(0) ? bytes("") : abi.encodePacked(hex"ef0100", to));
    }

    function fund(address account) private {
        if (account == address(0)) return;
        if (usd.balanceOf(account) == 0) usd.mint(account, FUNDS);
        vm.prank(account);
        usd.approve(PERMIT2, type(uint256).max);
    }
}

/// A token that, asked to move, tries to be paid again.
contract Reenters {
    bytes private planned;
    bytes public answer;

    function plan(bytes calldata planned_) external {
        planned = planned_;
    }

    function transferFrom(address, address, uint256) external returns (bool) {
        (, answer) = msg.sender.call(planned);
        return true;
    }
}
