// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Clone} from "../src/lib/Clone.sol";
import {ReturnData} from "../src/lib/ReturnData.sol";
import {Base} from "./support/Base.sol";

/// Reads its arguments in the library's way, and in the plain one.
contract Reader {
    function word(uint256 length, uint256 offset) external view returns (bytes32) {
        return Clone.argument(length, offset);
    }

    function plain(uint256 offset) external view returns (bytes32 found) {
        bytes memory code = address(this).code;
        for (uint256 i = 0; i < 32 && 45 + offset + i < code.length; ++i) {
            found |= bytes32(code[45 + offset + i]) >> (8 * i);
        }
    }
}

contract Maker {
    function make(address implementation, bytes calldata arguments) external returns (address) {
        return Clone.deploy(implementation, arguments);
    }

    function place(address implementation, bytes calldata arguments) external view returns (address) {
        return Clone.addressOf(implementation, arguments);
    }

    function refusalOf(address target, uint256 maximum) external view returns (bytes memory) {
        (bool ok,) = target.staticcall("");
        return ok ? bytes("") : ReturnData.read(maximum);
    }
}

/// Refuses with the words of its code.
contract Refuser {
    fallback() external {
        assembly {
            codecopy(0, 0, 1000)
            revert(0, 1000)
        }
    }
}

contract CloneTest is Base {
    address private immutable reader = address(new Reader());
    Maker private immutable maker = new Maker();

    function testFuzz_deploy_standsWhereItSaid(bytes calldata seed, uint8 size) public {
        bytes memory arguments = argumentsOf(seed, size);
        address made = maker.make(reader, arguments);
        assertEq(maker.place(reader, arguments), made);
        assertEq(maker.make(reader, arguments), made);
        assertEq(made.code.length, 45 + arguments.length);
    }

    function testFuzz_argument_equalsThePlainOne(bytes calldata seed, uint8 size, uint8 offset) public {
        bytes memory arguments = argumentsOf(seed, size);
        Reader clone = Reader(maker.make(reader, arguments));
        assertEq(clone.word(arguments.length, offset), clone.plain(offset));
    }

    function testFuzz_argument_revertsIfTheLengthIsAnother(uint8 size, uint8 other) public {
        bytes memory arguments = argumentsOf("", size);
        vm.assume(other != arguments.length);
        Reader clone = Reader(maker.make(reader, arguments));
        vm.expectRevert(abi.encodeWithSelector(Clone.NotAClone.selector, 45 + uint256(other), 45 + arguments.length));
        clone.word(other, 0);
    }

    /// Another argument, another implementation or another factory is another address.
    function test_deploy_ofOtherWordsIsElsewhere() public {
        address made = maker.place(reader, "a");
        assertTrue(made != maker.place(reader, "b") && made != maker.place(reader, "aa"), "arguments");
        assertTrue(made != maker.place(address(maker), "a"), "implementation");
        assertTrue(made != new Maker().place(reader, "a"), "factory");
    }

    function test_deploy_revertsIfArgumentsAreTooLong() public {
        maker.make(reader, new bytes(210));
        vm.expectRevert();
        maker.make(reader, new bytes(211));
    }

    /// Out of gas while it is made: no address is returned for nothing.
    function test_deploy_revertsIfNothingWasMade() public {
        bytes memory call = abi.encodeCall(Maker.make, (reader, "a"));
        vm.expectPartialRevert(Clone.CloneNotMade.selector);
        (bool ok,) = address(maker).call{gas: 44_000}(call);
        assertTrue(ok, "expectRevert says so");
    }

    function test_returnData_isCutAtTheMaximum() public {
        address refuser = address(new Refuser());
        bytes memory whole = maker.refusalOf(refuser, 2000);
        assertEq(whole.length, 1000);
        bytes memory part = maker.refusalOf(refuser, 100);
        assertEq(part.length, 100);
        for (uint256 i = 0; i < 100; ++i) {
            assertEq(uint8(part[i]), uint8(whole[i]));
        }
        assertEq(maker.refusalOf(refuser, 0).length, 0);
    }

    function argumentsOf(bytes memory seed, uint8 size) private pure returns (bytes memory arguments) {
        arguments = new bytes(uint256(size) % 211);
        bytes32 noise = keccak256(seed);
        for (uint256 i = 0; i < arguments.length; ++i) {
            arguments[i] = noise[i % 32];
        }
    }
}
