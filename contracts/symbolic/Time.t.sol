// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {KeyState, KeyStatus} from "../src/KeyState.sol";
import {IProofs} from "../src/interfaces/IProofs.sol";
import {Symbolic} from "./Symbolic.sol";
import {TimeRule} from "./TimeRule.sol";

/// The time rule of proofs (spec/bundle.md section 6): for every state of a key, every boot and all times.
contract TimeSymbolic is Symbolic {
    uint256 private constant SKEW = 120;
    uint256 private constant DELAY = 7 days;

    TimeRule private rule;

    /// What the rule looks at. `word` is a key's slot, whatever is in it.
    struct Case {
        uint64 finished;
        uint64 seenAt;
        uint256 word;
        uint64 validFrom;
    }

    function setUp() public {
        rule = TimeRule(deploy("TimeRule", ""));
    }

    // The five lines.

    function check_aReceiptCountsIfAndOnlyIfTheFiveLinesHold(Case memory c) public view {
        KeyStatus memory key = begin(c);
        (bool ok,) = judged(c);
        assert(ok == (line1(c) && line2(c, key) && line3(c) && line4(c) && retired(c, key) && revoked(c, key)));
    }

    function check_line1_finishedBeforeTheBoot(Case memory c) public view {
        KeyStatus memory key = begin(c);
        vm.assume(line2(c, key) && line3(c) && line4(c) && retired(c, key) && revoked(c, key));
        expect(c, line1(c), IProofs.FinishedBeforeBoot.selector);
    }

    function check_line2_finishedAfterTheEnd(Case memory c) public view {
        KeyStatus memory key = begin(c);
        vm.assume(line1(c) && line3(c) && line4(c) && retired(c, key) && revoked(c, key));
        expect(c, line2(c, key), IProofs.FinishedAfterValidity.selector);
    }

    function check_line3_finishedAfterItWasSeen(Case memory c) public view {
        KeyStatus memory key = begin(c);
        vm.assume(line1(c) && line2(c, key) && line4(c) && retired(c, key) && revoked(c, key));
        expect(c, line3(c), IProofs.FinishedAfterSeen.selector);
    }

    function check_line4_seenTooLate(Case memory c) public view {
        KeyStatus memory key = begin(c);
        vm.assume(line1(c) && line2(c, key) && line3(c) && retired(c, key) && revoked(c, key));
        expect(c, line4(c), IProofs.SeenTooLate.selector);
    }

    function check_line5_finishedAfterTheRetirement(Case memory c) public view {
        KeyStatus memory key = begin(c);
        vm.assume(line1(c) && line2(c, key) && line3(c) && line4(c) && revoked(c, key));
        expect(c, retired(c, key), IProofs.FinishedAfterRetirement.selector);
    }

    function check_line5_seenAfterTheRevocation(Case memory c) public view {
        KeyStatus memory key = begin(c);
        vm.assume(line1(c) && line2(c, key) && line3(c) && line4(c) && retired(c, key));
        expect(c, revoked(c, key), IProofs.SeenAfterRevocation.selector);
    }

    // What follows from them.

    /// Whoever finds the key of a boot that is long over proves nothing new with it.
    function check_aKeyProvesNothingAWeekAfterItsEnd(Case memory c) public view {
        KeyStatus memory key = begin(c);
        (bool ok,) = judged(c);
        assert(!ok || c.seenAt <= uint256(key.validUntil) + DELAY);
    }

    /// Forks, sizes and block numbers change no proof.
    function check_onlyTheTimesOfAKeyMatter(Case memory c, uint256 other) public view {
        KeyStatus memory key = begin(c);
        KeyStatus memory twin = rule.unpack(KeyState.wrap(other));
        vm.assume(key.validUntil == twin.validUntil && key.invalidFrom == twin.invalidFrom && key.revokedAt == twin.revokedAt);
        (bool ok,) = judged(c);
        c.word = other;
        (bool okOfTwin,) = judged(c);
        assert(ok == okOfTwin);
    }

    function check_aRenewalTakesNothingBack(Case memory c, uint256 validUntil) public view {
        KeyStatus memory key = begin(c);
        vm.assume(key.validUntil <= validUntil);
        (bool before,) = judged(c);
        c.word = KeyState.unwrap(rule.withField(KeyState.wrap(c.word), 0, validUntil));
        (bool after_,) = judged(c);
        assert(!before || after_);
    }

    function check_aRetirementTakesBackWhatIsFinishedAfterIt(Case memory c, uint256 invalidFrom) public view {
        KeyStatus memory key = begin(c);
        vm.assume(key.invalidFrom == 0 && invalidFrom != 0);
        (bool before,) = judged(c);
        c.word = KeyState.unwrap(rule.withField(KeyState.wrap(c.word), 1, invalidFrom));
        (bool after_,) = judged(c);
        assert(after_ == (before && c.finished <= invalidFrom));
    }

    function check_aRevocationTakesBackWhatIsSeenFromThenOn(Case memory c, uint256 revokedAt) public view {
        KeyStatus memory key = begin(c);
        vm.assume(key.revokedAt == 0 && revokedAt != 0);
        (bool before,) = judged(c);
        c.word = KeyState.unwrap(rule.withField(KeyState.wrap(c.word), 2, revokedAt));
        (bool after_,) = judged(c);
        assert(after_ == (before && c.seenAt < revokedAt));
    }

    /// Each act on a key's slot writes its own fields, whole or not at all, and no other.
    function check_aFieldIsWrittenWholeAndAlone(uint256 word, uint8 which, uint256 value, uint256 number) public {
        vm.assume(which < 6 && number < 1 << 35);
        vm.roll(number);
        KeyStatus memory expected = rule.unpack(KeyState.wrap(word));
        KeyStatus memory got = rule.unpack(rule.withField(KeyState.wrap(word), which, value));
        if (which == 0) expected.validUntil = uint64(value);
        else if (which == 1) expected.invalidFrom = uint64(value);
        else if (which == 2) expected.revokedAt = uint64(value);
        else if (which == 3) (expected.lastSize, expected.anchoredBlock) = (uint64(value), uint64(number));
        else if (which == 4) expected.forked = true;
        else expected.renewedBlock = uint64(number);
        assert(keccak256(abi.encode(got)) == keccak256(abi.encode(expected)));
        if (which < 4) assert(value < 2 ** (which == 3 ? 42 : 36));
    }

    function line1(Case memory c) private pure returns (bool) {
        return c.validFrom <= c.finished + SKEW;
    }

    function line2(Case memory c, KeyStatus memory key) private pure returns (bool) {
        return c.finished <= key.validUntil;
    }

    function line3(Case memory c) private pure returns (bool) {
        return c.finished <= c.seenAt + SKEW;
    }

    function line4(Case memory c) private pure returns (bool) {
        return c.seenAt <= c.finished + DELAY;
    }

    function retired(Case memory c, KeyStatus memory key) private pure returns (bool) {
        return key.invalidFrom == 0 || c.finished <= key.invalidFrom;
    }

    function revoked(Case memory c, KeyStatus memory key) private pure returns (bool) {
        return key.revokedAt == 0 || c.seenAt < key.revokedAt;
    }

    /// `finished` is a receipt's milliseconds in seconds, and what this chain saw has a block's time: no sum overflows.
    function begin(Case memory c) private view returns (KeyStatus memory key) {
        vm.assume(c.finished <= type(uint64).max / 1000 && c.seenAt < 1 << 35);
        return rule.unpack(KeyState.wrap(c.word));
    }

    function judged(Case memory c) private view returns (bool ok, bytes4 why) {
        bytes memory said;
        (ok, said) =
            address(rule).staticcall(abi.encodeCall(rule.checkTimes, (c.finished, c.seenAt, KeyState.wrap(c.word), c.validFrom)));
        if (!ok) why = bytes4(said);
    }

    function expect(Case memory c, bool holds, bytes4 error_) private view {
        (bool ok, bytes4 why) = judged(c);
        assert(ok == holds);
        assert(ok || why == error_);
    }
}
