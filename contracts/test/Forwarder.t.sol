// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {TestUSD} from "../src/dev/TestUSD.sol";
import {IForwarderFactory} from "../src/interfaces/IForwarderFactory.sol";
import {IPayeeForwarder} from "../src/interfaces/IPayeeForwarder.sol";
import {Clone} from "../src/lib/Clone.sol";
import {ForwarderFactory} from "../src/money/ForwarderFactory.sol";
import {Base} from "./support/Base.sol";

/// A token whose `transfer` does what a test tells it to.
contract OddToken {
    enum Manner {
        Silent,
        True,
        False,
        Two,
        Short,
        Long,
        Reverting,
        Taxed,
        Reentrant
    }

    mapping(address account => uint256) public balanceOf;
    Manner public manner;
    uint256 public entered;

    function become(Manner manner_) external {
        manner = manner_;
    }

    function mint(address to, uint256 value) external {
        balanceOf[to] += value;
    }

    function transfer(address to, uint256 value) external {
        require(manner != Manner.Reverting, "blocked");
        if (manner == Manner.Reentrant && entered++ == 0) IPayeeForwarder(msg.sender).sweep(address(this));
        // The token that reenters says a balance that is gone: what it counts is its own affair.
        if (value > balanceOf[msg.sender]) value = balanceOf[msg.sender];
        balanceOf[msg.sender] -= value;
        balanceOf[to] += manner == Manner.Taxed ? value - value / 10 : value;
        if (manner == Manner.Silent) return;
        (uint256 word, uint256 length) = (1, 32);
        if (manner == Manner.False) word = 0;
        if (manner == Manner.Two) word = 2;
        if (manner == Manner.Short) length = 31;
        if (manner == Manner.Long) length = 64;
        assembly ("memory-safe") {
            mstore(0x00, word)
            mstore(0x20, 0)
            return(0x00, length)
        }
    }
}

contract ForwarderTest is Base {
    address private constant PAYEE = address(0x9a1ee);
    address private constant STRANGER = address(0x57a46e4);

    ForwarderFactory private factory;
    IPayeeForwarder private forwarder;
    TestUSD private token;
    OddToken private odd;

    function setUp() public {
        factory = new ForwarderFactory{salt: 0}();
        forwarder = factory.deploy(PAYEE);
        token = new TestUSD();
        odd = new OddToken();
        odd.mint(address(forwarder), 1000);
    }

    function test_sweep_sendsEverythingToThePayee() public {
        token.mint(address(forwarder), 77);
        vm.expectEmit(true, true, true, true, address(forwarder));
        emit IPayeeForwarder.Swept(address(token), 77);
        vm.prank(STRANGER);
        assertEq(forwarder.sweep(address(token)), 77);
        assertEq(token.balanceOf(PAYEE), 77);
        assertEq(token.balanceOf(address(forwarder)), 0);
    }

    function test_sweep_ofNothingDoesNothing() public {
        vm.recordLogs();
        assertEq(forwarder.sweep(address(token)), 0);
        assertEq(vm.getRecordedLogs().length, 0);
    }

    /// Money may be there before the forwarder is.
    function test_sweep_makesTheForwarderAtItsFirstUse() public {
        address other = address(0x07e4);
        address expected = factory.forwarderOf(other);
        token.mint(expected, 5);
        assertEq(expected.code.length, 0);
        vm.prank(STRANGER);
        assertEq(factory.sweep(other, address(token)), 5);
        assertEq(token.balanceOf(other), 5);
        assertEq(IPayeeForwarder(expected).payee(), other);
    }

    // Tokens that are not quite ERC-20.

    function test_sweep_takesATokenThatReturnsNothing() public {
        sweeps(OddToken.Manner.Silent, 1000);
    }

    function test_sweep_takesATokenThatReturnsTrue() public {
        sweeps(OddToken.Manner.True, 1000);
    }

    function test_sweep_takesATokenThatReturnsMoreThanAWord() public {
        sweeps(OddToken.Manner.Long, 1000);
    }

    function test_sweep_takesATokenWithFees() public {
        sweeps(OddToken.Manner.Taxed, 900);
    }

    function test_sweep_revertsIfTheTokenReturnsFalse() public {
        refuses(OddToken.Manner.False, abi.encode(uint256(0)));
    }

    function test_sweep_revertsIfTheTokenReturnsNeither() public {
        refuses(OddToken.Manner.Two, abi.encode(uint256(2)));
        refuses(OddToken.Manner.Short, new bytes(31));
    }

    function test_sweep_revertsIfTheTokenReverts() public {
        odd.become(OddToken.Manner.Reverting);
        bytes memory reason = abi.encodeWithSignature("Error(string)", "blocked");
        vm.expectRevert(abi.encodeWithSelector(IPayeeForwarder.TransferFailed.selector, address(odd), reason));
        forwarder.sweep(address(odd));
    }

    function test_sweep_revertsIfThereIsNoToken() public {
        vm.expectRevert(abi.encodeWithSelector(IPayeeForwarder.NotAToken.selector, address(0x70)));
        forwarder.sweep(address(0x70));
        vm.expectRevert(abi.encodeWithSelector(IPayeeForwarder.NotAToken.selector, address(0)));
        forwarder.sweep(address(0));
    }

    function test_sweep_isNotFooledByATokenThatReenters() public {
        token.mint(address(forwarder), 77);
        sweeps(OddToken.Manner.Reentrant, 1000);
        assertEq(odd.entered(), 2);
        assertEq(token.balanceOf(address(forwarder)), 77);
    }

    // What it cannot do.

    function test_forwarder_takesNoEther() public {
        vm.deal(address(this), 2 ether);
        (bool ok,) = address(forwarder).call{value: 1 ether}("");
        assertTrue(!ok, "plain");
        (ok,) = address(forwarder).call{value: 1}(abi.encodeCall(IPayeeForwarder.sweep, (address(token))));
        assertTrue(!ok, "with a call");
    }

    /// A limit: ether that is forced in has no way out.
    function test_forwarder_keepsForcedEther() public {
        vm.deal(address(forwarder), 1 ether);
        assertEq(address(forwarder).balance, 1 ether);
        token.mint(address(forwarder), 1);
        forwarder.sweep(address(token));
        assertEq(address(forwarder).balance, 1 ether);
    }

    /// There is no third function, whatever its name.
    function testFuzz_forwarder_doesNothingElse(bytes4 selector, bytes calldata data) public {
        vm.assume(selector != IPayeeForwarder.sweep.selector && selector != IPayeeForwarder.payee.selector);
        (bool ok,) = address(forwarder).call(abi.encodePacked(selector, data));
        assertTrue(!ok, "no such function");
    }

    function test_forwarder_theImplementationSweepsNothing() public {
        address implementation = factory.implementation();
        token.mint(implementation, 1);
        vm.expectRevert(abi.encodeWithSelector(Clone.NotAClone.selector, 65, implementation.code.length));
        IPayeeForwarder(implementation).sweep(address(token));
    }

    // Addresses.

    function testFuzz_forwarderOf_followsFromTheFactoryAndThePayee(address payee) public {
        vm.assume(payee != address(0));
        bytes20 implementation = bytes20(uint160(uint256(keccak256(abi.encodePacked(hex"d694", address(factory), hex"01")))));
        assertEq(factory.implementation(), address(implementation));
        bytes memory init = abi.encodePacked(
            hex"3d604180600a3d3981f3363d3d373d3d3d363d73", implementation, hex"5af43d82803e903d91602b57fd5bf3", payee
        );
        bytes32 hash = keccak256(abi.encodePacked(hex"ff", address(factory), bytes32(0), keccak256(init)));
        address expected = address(uint160(uint256(hash)));
        assertEq(factory.forwarderOf(payee), expected);
        assertEq(address(factory.deploy(payee)), expected);
        assertEq(address(factory.deploy(payee)), expected);
        assertEq(IPayeeForwarder(expected).payee(), payee);
    }

    function test_deploy_revertsIfThereIsNoPayee() public {
        vm.expectRevert(IForwarderFactory.ZeroPayee.selector);
        factory.deploy(address(0));
        vm.expectRevert(IForwarderFactory.ZeroPayee.selector);
        factory.sweep(address(0), address(token));
    }

    function sweeps(OddToken.Manner manner, uint256 received) private {
        odd.become(manner);
        assertEq(forwarder.sweep(address(odd)), 1000);
        assertEq(odd.balanceOf(PAYEE), received);
        assertEq(odd.balanceOf(address(forwarder)), 0);
    }

    function refuses(OddToken.Manner manner, bytes memory answer) private {
        odd.become(manner);
        vm.expectRevert(abi.encodeWithSelector(IPayeeForwarder.TransferRefused.selector, address(odd), answer));
        forwarder.sweep(address(odd));
        assertEq(odd.balanceOf(address(forwarder)), 1000);
    }
}
