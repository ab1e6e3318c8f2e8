// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {CandorRegistry} from "../src/CandorRegistry.sol";
import {KeyStatus} from "../src/KeyState.sol";
import {LogId, Manifest, Record} from "../src/Types.sol";
import {Symbolic} from "./Symbolic.sol";

/// What anybody can do to a registered key: for every state of the registry, every record, whoever sends it, at any time. Not here is what hashes
/// with sha256 (register, renew, prove) or goes through lists (anchor): halmos 0.3.3 takes no sha256, of known bytes neither.
contract KeysSymbolic is Symbolic {
    CandorRegistry private registry;
    uint64 private notice;

    function setUp() public {
        registry = CandorRegistry(deploy("CandorRegistry", abi.encode(address(0))));
        notice = registry.RETIRE_NOTICE();
        svm.enableSymbolicStorage(address(registry));
    }

    function check_onlyTheOperatorOfTheRegisteredRecordRetires(Record memory record, address sender, uint40 time) public {
        setTime(time);
        vm.prank(sender);
        registry.retire(record);
        assert(sender == record.operator && registry.recordHash(record.kSig) == keccak256(abi.encode(record)));
    }

    function check_onlyTheOperatorOfTheRegisteredRecordRevokes(Record memory record, address sender, uint40 time) public {
        setTime(time);
        vm.prank(sender);
        registry.revoke(record);
        assert(sender == record.operator && registry.recordHash(record.kSig) == keccak256(abi.encode(record)));
    }

    function check_aRetirementGivesItsNoticeOnce(Record memory record, uint40 time) public {
        setTime(time);
        KeyStatus memory expected = registry.stateOf(record.kSig);
        vm.prank(record.operator);
        registry.retire(record);
        assert(expected.invalidFrom == 0);
        expected.invalidFrom = time + notice;
        assert(same(registry.stateOf(record.kSig), expected));
    }

    function check_aRevocationIsOfNowAndOnce(Record memory record, uint40 time) public {
        setTime(time);
        KeyStatus memory expected = registry.stateOf(record.kSig);
        vm.prank(record.operator);
        registry.revoke(record);
        assert(expected.revokedAt == 0);
        expected.revokedAt = time;
        assert(same(registry.stateOf(record.kSig), expected));
    }

    function check_theEndOfAKeyIsOfNoOther(Record memory record, address other, bool isRevoked, uint40 time) public {
        setTime(time);
        vm.assume(other != record.kSig);
        KeyStatus memory before = registry.stateOf(other);
        vm.prank(record.operator);
        if (isRevoked) registry.revoke(record);
        else registry.retire(record);
        assert(same(registry.stateOf(other), before));
    }

    /// An edge made later is one that was not there, between logs of one operator, as the successor's manifest says; and changes no key.
    /// Where nothing continues the successor yet; test/KeysSuccession.t.sol walks further.
    function check_aLinkMakesTheEdgeOfItsManifestAndNoMore(
        Record memory record,
        Manifest memory manifest,
        Record memory predecessor,
        uint64 anchoredAt,
        address other,
        LogId otherLog,
        address sender
    ) public {
        KeyStatus memory before = registry.stateOf(other);
        LogId edge = registry.successorOf(manifest.predecessorLog);
        LogId otherEdge = registry.successorOf(otherLog);
        vm.assume(LogId.unwrap(registry.successorOf(record.logId)) == 0);
        vm.assume(LogId.unwrap(otherLog) != LogId.unwrap(manifest.predecessorLog));
        vm.prank(sender);
        registry.link(record, manifest, predecessor, anchoredAt);
        assert(same(registry.stateOf(other), before));
        assert(LogId.unwrap(registry.successorOf(otherLog)) == LogId.unwrap(otherEdge));
        assert(LogId.unwrap(registry.successorOf(manifest.predecessorLog)) == LogId.unwrap(record.logId));
        assert(registry.recordHash(record.kSig) == keccak256(abi.encode(record)));
        assert(LogId.unwrap(manifest.predecessorLog) != LogId.unwrap(record.logId));
        if (LogId.unwrap(edge) == LogId.unwrap(record.logId)) return;
        assert(LogId.unwrap(edge) == 0 && predecessor.operator == manifest.operator);
        assert(registry.recordHash(predecessor.kSig) == keccak256(abi.encode(predecessor)));
        assert(registry.keyOf(manifest.predecessorLog) == predecessor.kSig);
        assert(
            manifest.predecessorSize == 0
                || registry.anchored(predecessor.kSig, manifest.predecessorSize, manifest.predecessorRoot, anchoredAt)
        );
    }

    function same(KeyStatus memory a, KeyStatus memory b) private pure returns (bool) {
        return keccak256(abi.encode(a)) == keccak256(abi.encode(b));
    }
}
