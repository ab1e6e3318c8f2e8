// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ListedId, PolicyId} from "../src/Types.sol";
import {IWorkloadPolicy} from "../src/interfaces/IWorkloadPolicy.sol";
import {Fixture} from "./support/Fixture.sol";

contract WorkloadPolicyTest is Fixture {
    ListedId private constant WORKLOAD = ListedId.wrap("workload");
    ListedId private constant FIRST = ListedId.wrap("first");
    address private constant OPERATOR = address(0x09e7);
    address private constant FIRST_OPERATOR = address(0xf1457);
    address private constant STRANGER = address(0xbad);
    uint64 private constant DELAY = 2 days;
    uint64 private constant LOOKBACK = 1 days;
    uint64 private constant NEVER = type(uint64).max;

    /// With an owner (this test), a delay, and lists of operators; FIRST and FIRST_OPERATOR are in force from the first.
    PolicyId private policyId;

    function setUp() public override {
        super.setUp();
        policyId = policies.create(ownedTerms(), listing(FIRST, 0), operatorList(FIRST_OPERATOR, 0));
    }

    // Creation.

    function test_policyIdOf_isTheHashOfEverythingItIsMadeWith() public view {
        IWorkloadPolicy.Terms memory t = ownedTerms();
        bytes32 first = keccak256(abi.encode(listing(FIRST, 7), operatorList(FIRST_OPERATOR, 9)));
        bytes32 expected =
            keccak256(abi.encode(keccak256("candor/policy/1"), t.owner, t.salt, t.delay, t.maxLookback, t.operatorsMode, first));
        assertEq(PolicyId.unwrap(policies.policyIdOf(t, listing(FIRST, 7), operatorList(FIRST_OPERATOR, 9))), expected);
    }

    /// An ownerless policy with one listing and no operator, byte by byte as a client in another language writes it.
    function test_policyIdOf_isTheseBytes() public view {
        IWorkloadPolicy.Terms memory t = termsOf(address(0), 5);
        // Two offsets, one listing of two words, no operator.
        bytes memory lists =
            abi.encodePacked(uint256(0x40), uint256(0xa0), uint256(1), ListedId.unwrap(FIRST), uint256(7), uint256(0));
        bytes memory all = abi.encodePacked(
            keccak256("candor/policy/1"), uint256(0), t.salt, uint256(5), uint256(1 days), uint256(0), keccak256(lists)
        );
        assertEq(PolicyId.unwrap(policies.policyIdOf(t, listing(FIRST, 7), noOperators())), keccak256(all));
    }

    function test_create_keepsItsTermsAndLists() public view {
        IWorkloadPolicy.Policy memory p = policies.policy(policyId);
        IWorkloadPolicy.Policy memory expected = IWorkloadPolicy.Policy({
            owner: address(this),
            delay: DELAY,
            maxLookback: LOOKBACK,
            operatorsMode: IWorkloadPolicy.OperatorsMode.Listed,
            exists: true
        });
        assertEq(keccak256(abi.encode(p)), keccak256(abi.encode(expected)));
        assertListing(policies.workload(policyId, FIRST), 0, 0, NEVER, NEVER);
        assertListing(policies.operator(policyId, FIRST_OPERATOR), 0, 0, NEVER, NEVER);
    }

    function test_create_emitsItsTermsAndEachEntry() public {
        IWorkloadPolicy.Terms memory t = ownedTerms();
        t.salt = "other";
        PolicyId id = policies.policyIdOf(t, listing(FIRST, 7), operatorList(OPERATOR, 9));
        expectEvent();
        emit IWorkloadPolicy.PolicyCreated(id, address(this), t);
        expectEvent();
        emit IWorkloadPolicy.WorkloadProposed(id, FIRST, 7, 0);
        expectEvent();
        emit IWorkloadPolicy.OperatorProposed(id, OPERATOR, 9, 0);
        policies.create(t, listing(FIRST, 7), operatorList(OPERATOR, 9));
    }

    /// The id says what it accepts, so who sends it decides nothing: not even the owner's absence.
    function test_create_byAStrangerIsTheSamePolicy() public {
        IWorkloadPolicy.Terms memory t = termsOf(address(0), 0);
        PolicyId id = policies.policyIdOf(t, listing(FIRST, 0), noOperators());
        vm.prank(STRANGER);
        assertEq(PolicyId.unwrap(policies.create(t, listing(FIRST, 0), noOperators())), PolicyId.unwrap(id));
        assertEq(policies.policy(id).owner, address(0));
        assertTrue(policies.acceptsAt(id, FIRST, OPERATOR, START, START), "as its id says");
    }

    /// Nobody is the owner of a policy without one: not its creator, and not the zero address, which sends nothing.
    function test_create_ownerlessNobodyCanChange() public {
        vm.prank(STRANGER);
        PolicyId id = policies.create(termsOf(address(0), 0), listing(FIRST, 0), noOperators());
        refusesAllPowersTo(id, address(0), STRANGER);
        refusesAllPowersTo(id, address(0), address(this));
        assertListing(policies.workload(id, FIRST), 0, 0, NEVER, NEVER);
    }

    function test_create_revertsIfItExists() public {
        vm.expectRevert(err(IWorkloadPolicy.PolicyExists.selector, PolicyId.unwrap(policyId)));
        vm.prank(STRANGER);
        policies.create(ownedTerms(), listing(FIRST, 0), operatorList(FIRST_OPERATOR, 0));
    }

    function test_create_takesTheLongestDelay() public {
        PolicyId id = policies.create(termsOf(address(this), 365 days), noListings(), noOperators());
        assertEq(policies.policy(id).delay, 365 days);
    }

    function test_create_revertsIfDelayIsLonger() public {
        vm.expectRevert(err(IWorkloadPolicy.DelayTooLong.selector, 365 days, 365 days + 1));
        policies.create(termsOf(address(this), 365 days + 1), noListings(), noOperators());
    }

    function test_create_takes64FirstEntries() public {
        PolicyId id = policies.create(ownedTerms(), manyListings(40), manyOperators(24));
        assertTrue(policies.acceptsAt(id, ListedId.wrap(bytes32(uint256(40))), address(24), START, START), "the last of each");
    }

    /// Together, not each.
    function test_create_revertsIf65FirstEntries() public {
        vm.expectRevert(err(IWorkloadPolicy.TooManyFirst.selector, 64, 65));
        policies.create(ownedTerms(), manyListings(40), manyOperators(25));
    }

    function test_create_revertsIfAFirstEntryIsTwice() public {
        IWorkloadPolicy.FirstListing[] memory twice = manyListings(2);
        twice[1] = twice[0];
        twice[0].from = 5;
        vm.expectRevert(err(IWorkloadPolicy.AlreadyListed.selector, bytes32(uint256(5))));
        policies.create(ownedTerms(), twice, noOperators());
    }

    function test_create_revertsIfAnyOperatorAndYetAList() public {
        IWorkloadPolicy.Terms memory t = termsOf(address(this), 0);
        vm.expectRevert(IWorkloadPolicy.OperatorsAreNotListed.selector);
        policies.create(t, noListings(), operatorList(OPERATOR, 0));
    }

    /// Every word that a policy is made with is in its id.
    function test_policyIdOf_changesWithEveryWord() public view {
        bytes32[9] memory ids;
        for (uint256 i = 0; i < ids.length; ++i) {
            IWorkloadPolicy.Terms memory t = ownedTerms();
            if (i == 1) t.owner = STRANGER;
            if (i == 2) t.salt = "other";
            if (i == 3) ++t.delay;
            if (i == 4) ++t.maxLookback;
            if (i == 5) t.operatorsMode = IWorkloadPolicy.OperatorsMode.Any;
            IWorkloadPolicy.FirstListing[] memory listings = i == 6 ? listing(WORKLOAD, 0) : listing(FIRST, i == 7 ? 1 : 0);
            ids[i] = PolicyId.unwrap(policies.policyIdOf(t, listings, operatorList(FIRST_OPERATOR, i == 8 ? 1 : 0)));
            for (uint256 j = 0; j < i; ++j) {
                assertTrue(ids[i] != ids[j], "one id for two policies");
            }
        }
    }

    // Proposals.

    function test_acceptsAt_nothingByDefault() public view {
        assertTrue(!policies.acceptsAt(policyId, WORKLOAD, FIRST_OPERATOR, START, START), "not listed");
        assertTrue(!policies.acceptsAt(PolicyId.wrap("unknown"), FIRST, FIRST_OPERATOR, START, START), "no such policy");
    }

    function test_proposeWorkload_isInForceAfterTheDelay() public {
        expectEvent();
        emit IWorkloadPolicy.WorkloadProposed(policyId, WORKLOAD, START - 100, START + DELAY);
        policies.proposeWorkload(policyId, WORKLOAD, START - 100);
        assertListing(policies.workload(policyId, WORKLOAD), START - 100, START + DELAY, NEVER, NEVER);
        vm.warp(START + DELAY - 1);
        assertTrue(!policies.acceptsAt(policyId, WORKLOAD, FIRST_OPERATOR, START, START), "too early");
        vm.warp(START + DELAY);
        assertTrue(policies.acceptsAt(policyId, WORKLOAD, FIRST_OPERATOR, START, START), "in force, for what was seen before");
    }

    function test_proposeOperator_isInForceAfterTheDelay() public {
        expectEvent();
        emit IWorkloadPolicy.OperatorProposed(policyId, OPERATOR, START - 100, START + DELAY);
        policies.proposeOperator(policyId, OPERATOR, START - 100);
        assertListing(policies.operator(policyId, OPERATOR), START - 100, START + DELAY, NEVER, NEVER);
        vm.warp(START + DELAY - 1);
        assertTrue(!policies.acceptsAt(policyId, FIRST, OPERATOR, START, START), "too early");
        vm.warp(START + DELAY);
        assertTrue(policies.acceptsAt(policyId, FIRST, OPERATOR, START, START), "in force, for what was seen before");
    }

    function test_proposeWorkload_withoutDelayIsAtOnce() public {
        PolicyId dev = policies.create(termsOf(address(this), 0), noListings(), noOperators());
        policies.proposeWorkload(dev, WORKLOAD, 0);
        assertTrue(policies.acceptsAt(dev, WORKLOAD, OPERATOR, START, START), "dev");
    }

    function test_proposeWorkload_revertsIfListed() public {
        vm.expectRevert(err(IWorkloadPolicy.AlreadyListed.selector, bytes32(0)));
        policies.proposeWorkload(policyId, FIRST, 1);
        policies.proposeWorkload(policyId, WORKLOAD, 9);
        vm.expectRevert(err(IWorkloadPolicy.AlreadyListed.selector, bytes32(uint256(9))));
        policies.proposeWorkload(policyId, WORKLOAD, 9);
    }

    function test_proposeOperator_revertsIfListed() public {
        policies.proposeOperator(policyId, OPERATOR, 9);
        vm.expectRevert(err(IWorkloadPolicy.AlreadyListed.selector, bytes32(uint256(9))));
        policies.proposeOperator(policyId, OPERATOR, 0);
    }

    function test_proposeOperator_revertsIfAnyOperatorCounts() public {
        PolicyId open = policies.create(termsOf(address(this), 0), noListings(), noOperators());
        vm.expectRevert(IWorkloadPolicy.OperatorsAreNotListed.selector);
        policies.proposeOperator(open, OPERATOR, 0);
    }

    /// The first list of operators may be empty: nobody is accepted yet, and not everybody.
    function test_acceptsAt_anEmptyListOfOperatorsAcceptsNobody() public {
        IWorkloadPolicy.Terms memory t = ownedTerms();
        t.delay = 0;
        PolicyId id = policies.create(t, listing(FIRST, 0), noOperators());
        assertTrue(!policies.acceptsAt(id, FIRST, OPERATOR, START, START), "nobody yet");
        policies.proposeOperator(id, OPERATOR, 0);
        assertTrue(policies.acceptsAt(id, FIRST, OPERATOR, START, START), "listed");
        assertTrue(!policies.acceptsAt(id, FIRST, address(0), START, START), "nobody's address");
    }

    /// `from` counts for when the tree was seen: of a release, before it was published nothing can be genuine.
    function test_acceptsAt_fromIsTheFirstSecondThatCounts() public {
        PolicyId id = policies.create(termsOf(address(this), 0), listing(FIRST, START - 50), noOperators());
        assertTrue(!policies.acceptsAt(id, FIRST, OPERATOR, START - 40, START - 51), "seen before");
        assertTrue(policies.acceptsAt(id, FIRST, OPERATOR, START - 60, START - 50), "seen in the first second");
    }

    function test_acceptsAt_fromOfAnOperatorIsTheFirstSecondThatCounts() public {
        IWorkloadPolicy.Terms memory t = ownedTerms();
        PolicyId id = policies.create(t, listing(FIRST, 0), operatorList(OPERATOR, START - 50));
        assertTrue(!policies.acceptsAt(id, FIRST, OPERATOR, START - 40, START - 51), "seen before");
        assertTrue(policies.acceptsAt(id, FIRST, OPERATOR, START - 60, START - 50), "seen in the first second");
    }

    // Withdrawal.

    function test_withdrawWorkload_takesBackWhatIsNotInForce() public {
        policies.proposeWorkload(policyId, WORKLOAD, 3);
        vm.warp(START + DELAY - 1);
        expectEvent();
        emit IWorkloadPolicy.WorkloadWithdrawn(policyId, WORKLOAD);
        policies.withdrawWorkload(policyId, WORKLOAD);
        assertListing(policies.workload(policyId, WORKLOAD), 0, 0, 0, 0);
        vm.warp(START + 2 * DELAY);
        assertTrue(!policies.acceptsAt(policyId, WORKLOAD, FIRST_OPERATOR, START, START), "withdrawn");
    }

    /// The delay starts again.
    function test_withdrawWorkload_mayBeProposedAgain() public {
        policies.proposeWorkload(policyId, WORKLOAD, 0);
        vm.warp(START + DELAY - 1);
        policies.withdrawWorkload(policyId, WORKLOAD);
        policies.proposeWorkload(policyId, WORKLOAD, 0);
        assertListing(policies.workload(policyId, WORKLOAD), 0, START + 2 * DELAY - 1, NEVER, NEVER);
    }

    function test_withdrawWorkload_revertsIfInForce() public {
        policies.proposeWorkload(policyId, WORKLOAD, 0);
        vm.warp(START + DELAY);
        vm.expectRevert(err(IWorkloadPolicy.AlreadyInForce.selector, bytes32(uint256(START + DELAY))));
        policies.withdrawWorkload(policyId, WORKLOAD);
        vm.expectRevert(err(IWorkloadPolicy.AlreadyInForce.selector, bytes32(0)));
        policies.withdrawWorkload(policyId, FIRST);
    }

    function test_withdrawOperator_takesBackWhatIsNotInForce() public {
        policies.proposeOperator(policyId, OPERATOR, 3);
        expectEvent();
        emit IWorkloadPolicy.OperatorWithdrawn(policyId, OPERATOR);
        policies.withdrawOperator(policyId, OPERATOR);
        assertListing(policies.operator(policyId, OPERATOR), 0, 0, 0, 0);
    }

    function test_withdrawOperator_revertsIfInForce() public {
        vm.expectRevert(err(IWorkloadPolicy.AlreadyInForce.selector, bytes32(0)));
        policies.withdrawOperator(policyId, FIRST_OPERATOR);
    }

    // Deprecation.

    function test_deprecateWorkload_endsWithAnHoursNotice() public {
        uint64 end = START + 1 hours;
        expectEvent();
        emit IWorkloadPolicy.WorkloadDeprecated(policyId, FIRST, end);
        policies.deprecateWorkload(policyId, FIRST);
        assertListing(policies.workload(policyId, FIRST), 0, 0, end, NEVER);
        assertTrue(policies.acceptsAt(policyId, FIRST, FIRST_OPERATOR, end - 1, end + 7 days), "finished before, seen after");
        assertTrue(!policies.acceptsAt(policyId, FIRST, FIRST_OPERATOR, end, end), "finished at the end");
    }

    function test_deprecateOperator_endsWithAnHoursNotice() public {
        uint64 end = START + 1 hours;
        expectEvent();
        emit IWorkloadPolicy.OperatorDeprecated(policyId, FIRST_OPERATOR, end);
        policies.deprecateOperator(policyId, FIRST_OPERATOR);
        assertListing(policies.operator(policyId, FIRST_OPERATOR), 0, 0, end, NEVER);
        assertTrue(policies.acceptsAt(policyId, FIRST, FIRST_OPERATOR, end - 1, end + 7 days), "finished before, seen after");
        assertTrue(!policies.acceptsAt(policyId, FIRST, FIRST_OPERATOR, end, end), "finished at the end");
    }

    /// Once: a later end would undo the first.
    function test_deprecate_revertsIfDeprecated() public {
        policies.deprecateWorkload(policyId, FIRST);
        policies.deprecateOperator(policyId, FIRST_OPERATOR);
        vm.warp(START + 60);
        bytes memory reason = err(IWorkloadPolicy.AlreadyEnded.selector, bytes32(uint256(START + 1 hours)));
        vm.expectRevert(reason);
        policies.deprecateWorkload(policyId, FIRST);
        vm.expectRevert(reason);
        policies.deprecateOperator(policyId, FIRST_OPERATOR);
    }

    /// Removing the last operator accepts nobody, not everybody.
    function test_deprecateOperator_neverLoosens() public {
        policies.deprecateOperator(policyId, FIRST_OPERATOR);
        vm.warp(START + 2 hours);
        assertTrue(!policies.acceptsAt(policyId, FIRST, FIRST_OPERATOR, START + 2 hours, START + 2 hours), "ended");
        assertTrue(!policies.acceptsAt(policyId, FIRST, STRANGER, START + 2 hours, START + 2 hours), "anyone else");
    }

    // Revocation.

    function test_revokeWorkload_endsForTreesSeenSince() public {
        uint64 since = START - 60;
        expectEvent();
        emit IWorkloadPolicy.WorkloadRevoked(policyId, FIRST, since);
        policies.revokeWorkload(policyId, FIRST, since);
        assertListing(policies.workload(policyId, FIRST), 0, 0, NEVER, since);
        assertTrue(policies.acceptsAt(policyId, FIRST, FIRST_OPERATOR, since, since - 1), "seen before");
        assertTrue(!policies.acceptsAt(policyId, FIRST, FIRST_OPERATOR, since - 1, since), "seen since");
    }

    function test_revokeOperator_endsForTreesSeenSince() public {
        uint64 since = START - 60;
        expectEvent();
        emit IWorkloadPolicy.OperatorRevoked(policyId, FIRST_OPERATOR, since);
        policies.revokeOperator(policyId, FIRST_OPERATOR, since);
        assertListing(policies.operator(policyId, FIRST_OPERATOR), 0, 0, NEVER, since);
        assertTrue(policies.acceptsAt(policyId, FIRST, FIRST_OPERATOR, since, since - 1), "seen before");
        assertTrue(!policies.acceptsAt(policyId, FIRST, FIRST_OPERATOR, since - 1, since), "seen since");
    }

    function test_revoke_takesTheFarthestMomentThatThePolicyAllows() public {
        policies.revokeWorkload(policyId, FIRST, START - LOOKBACK);
        policies.revokeOperator(policyId, FIRST_OPERATOR, START - LOOKBACK);
        assertEq(policies.workload(policyId, FIRST).revokedSince, START - LOOKBACK);
        assertEq(policies.operator(policyId, FIRST_OPERATOR).revokedSince, START - LOOKBACK);
    }

    function test_revoke_revertsIfFartherBack() public {
        bytes memory reason = err(IWorkloadPolicy.TooFarBack.selector, START - LOOKBACK, START - LOOKBACK - 1);
        vm.expectRevert(reason);
        policies.revokeWorkload(policyId, FIRST, START - LOOKBACK - 1);
        vm.expectRevert(reason);
        policies.revokeOperator(policyId, FIRST_OPERATOR, START - LOOKBACK - 1);
    }

    /// A policy that never looks back can revoke from this second on, and no other.
    function test_revoke_withoutLookbackIsFromNowOn() public {
        IWorkloadPolicy.Terms memory t = termsOf(address(this), 0);
        t.maxLookback = 0;
        PolicyId id = policies.create(t, listing(FIRST, 0), noOperators());
        vm.expectRevert(err(IWorkloadPolicy.TooFarBack.selector, START, START - 1));
        policies.revokeWorkload(id, FIRST, START - 1);
        policies.revokeWorkload(id, FIRST, START);
        assertEq(policies.workload(id, FIRST).revokedSince, START);
    }

    function test_revoke_revertsIfInTheFuture() public {
        bytes memory reason = err(IWorkloadPolicy.SinceTheFuture.selector, START, START + 1);
        vm.expectRevert(reason);
        policies.revokeWorkload(policyId, FIRST, START + 1);
        vm.expectRevert(reason);
        policies.revokeOperator(policyId, FIRST_OPERATOR, START + 1);
    }

    function test_revoke_aSecondOneOnlyReachesFartherBack() public {
        policies.revokeWorkload(policyId, FIRST, START - 60);
        bytes memory reason = err(IWorkloadPolicy.AlreadyEnded.selector, bytes32(uint256(START - 60)));
        vm.expectRevert(reason);
        policies.revokeWorkload(policyId, FIRST, START - 60);
        vm.expectRevert(reason);
        policies.revokeWorkload(policyId, FIRST, START - 59);
        policies.revokeWorkload(policyId, FIRST, START - 61);
        assertEq(policies.workload(policyId, FIRST).revokedSince, START - 61);
    }

    function test_revoke_worksAfterADeprecationAndDeprecatesAfter() public {
        policies.deprecateWorkload(policyId, FIRST);
        policies.revokeWorkload(policyId, FIRST, START);
        assertListing(policies.workload(policyId, FIRST), 0, 0, START + 1 hours, START);
        policies.revokeOperator(policyId, FIRST_OPERATOR, START);
        policies.deprecateOperator(policyId, FIRST_OPERATOR);
        assertListing(policies.operator(policyId, FIRST_OPERATOR), 0, 0, START + 1 hours, START);
    }

    /// What ended is history: no later listing can fill it with other words.
    function test_proposeWorkload_revertsIfItEnded() public {
        policies.revokeWorkload(policyId, FIRST, START);
        policies.deprecateOperator(policyId, FIRST_OPERATOR);
        vm.warp(START + 30 days);
        vm.expectRevert(err(IWorkloadPolicy.AlreadyListed.selector, bytes32(0)));
        policies.proposeWorkload(policyId, FIRST, START + 30 days);
        vm.expectRevert(err(IWorkloadPolicy.AlreadyListed.selector, bytes32(0)));
        policies.proposeOperator(policyId, FIRST_OPERATOR, START + 30 days);
        vm.expectRevert(err(IWorkloadPolicy.AlreadyInForce.selector, bytes32(0)));
        policies.withdrawWorkload(policyId, FIRST);
    }

    function test_ends_revertIfNotListed() public {
        bytes memory reason = err(IWorkloadPolicy.NotListed.selector);
        vm.expectRevert(reason);
        policies.withdrawWorkload(policyId, WORKLOAD);
        vm.expectRevert(reason);
        policies.deprecateWorkload(policyId, WORKLOAD);
        vm.expectRevert(reason);
        policies.revokeWorkload(policyId, WORKLOAD, START);
        vm.expectRevert(reason);
        policies.withdrawOperator(policyId, OPERATOR);
        vm.expectRevert(reason);
        policies.deprecateOperator(policyId, OPERATOR);
        vm.expectRevert(reason);
        policies.revokeOperator(policyId, OPERATOR, START);
    }

    // Owner.

    function test_owner_everyPowerRevertsForOthers() public {
        refusesAllPowersTo(policyId, address(this), STRANGER);
    }

    function test_owner_everyPowerRevertsIfThePolicyDoesNotExist() public {
        refusesAllPowersTo(PolicyId.wrap("unknown"), address(0), address(this));
        refusesAllPowersTo(PolicyId.wrap("unknown"), address(0), address(0));
    }

    // Extremes.

    function test_proposeWorkload_takesTheLastFromWithoutOverflow() public {
        policies.proposeWorkload(policyId, WORKLOAD, NEVER);
        vm.warp(START + DELAY);
        assertTrue(!policies.acceptsAt(policyId, WORKLOAD, FIRST_OPERATOR, START, NEVER - 1), "seen before the end of time");
        assertTrue(!policies.acceptsAt(policyId, WORKLOAD, FIRST_OPERATOR, START, NEVER), "never seen");
    }

    function testFuzz_acceptsAt_neverReverts(ListedId listed, address op, uint64 finished, uint64 seenAt) public view {
        policies.acceptsAt(policyId, listed, op, finished, seenAt);
        policies.acceptsAt(policyId, FIRST, FIRST_OPERATOR, finished, seenAt);
    }

    /// The rule of the interface, at any moment of an entry with both ends.
    function testFuzz_acceptsAt_isItsRule(uint64 from, uint64 since, uint64 now_, uint64 finished, uint64 seenAt) public {
        (uint64 low, uint64 high) = (START - 3 hours, START + 3 hours);
        from = uint64(bound(from, low, high));
        since = uint64(bound(since, START - LOOKBACK / 12, START));
        finished = uint64(bound(finished, low, high));
        seenAt = uint64(bound(seenAt, low, high));
        PolicyId id = policies.create(termsOf(address(this), 2 hours), noListings(), noOperators());
        policies.proposeWorkload(id, WORKLOAD, from);
        policies.deprecateWorkload(id, WORKLOAD);
        policies.revokeWorkload(id, WORKLOAD, since);
        now_ = uint64(bound(now_, START, high));
        vm.warp(now_);
        bool expected = START + 2 hours <= now_ && from <= seenAt && finished < START + 1 hours && seenAt < since;
        assertTrue(policies.acceptsAt(id, WORKLOAD, OPERATOR, finished, seenAt) == expected, "acceptsAt");
    }

    /// Acts of an owner in any order, with time between: once an entry that was in force has ended for a question, the answer stays
    /// no.
    function testFuzz_acceptsAt_whatEndedNeverCountsAgain(uint256 seed) public {
        PolicyId id = policies.create(shortTerms(), listing(FIRST, 0), operatorList(FIRST_OPERATOR, 0));
        uint64 now_ = START;
        bool[16] memory ended;
        for (uint256 step = 0; step < 24; ++step) {
            seed = uint256(keccak256(abi.encode(seed)));
            bool[16] memory before = answers(id);
            now_ += uint64((seed >> 64) % 40 minutes);
            act(id, seed, now_);
            vm.warp(now_);
            bool[16] memory after_ = answers(id);
            for (uint256 i = 0; i < 16; ++i) {
                // In force and yes, now no: an end. Nothing else makes a no of a yes.
                if (before[i] && !after_[i]) ended[i] = true;
                assertTrue(!(ended[i] && after_[i]), "what ended counts again");
            }
        }
    }

    /// One act of the owner, at random; most are refused by name, and none by a panic.
    function act(PolicyId id, uint256 seed, uint64 now_) private {
        ListedId listed = seed & 1 == 0 ? FIRST : WORKLOAD;
        address op = seed & 1 == 0 ? FIRST_OPERATOR : OPERATOR;
        uint64 moment = now_ - uint64((seed >> 128) % 2 hours);
        bytes[8] memory calls = [
            abi.encodeCall(policies.proposeWorkload, (id, listed, moment)),
            abi.encodeCall(policies.withdrawWorkload, (id, listed)),
            abi.encodeCall(policies.deprecateWorkload, (id, listed)),
            abi.encodeCall(policies.revokeWorkload, (id, listed, moment)),
            abi.encodeCall(policies.proposeOperator, (id, op, moment)),
            abi.encodeCall(policies.withdrawOperator, (id, op)),
            abi.encodeCall(policies.deprecateOperator, (id, op)),
            abi.encodeCall(policies.revokeOperator, (id, op, moment))
        ];
        (bool ok, bytes memory reason) = address(policies).call(calls[(seed >> 8) % 8]);
        assertTrue(ok || bytes4(reason) != bytes4(0x4e487b71), "a panic");
    }

    /// Sixteen questions about two workloads and two operators, at moments before and after what `act` ends.
    function answers(PolicyId id) private view returns (bool[16] memory out) {
        for (uint256 i = 0; i < 16; ++i) {
            uint64 moment = START + uint64(i / 4) * 3 hours;
            ListedId listed = i & 1 == 0 ? FIRST : WORKLOAD;
            address op = i & 2 == 0 ? FIRST_OPERATOR : OPERATOR;
            out[i] = policies.acceptsAt(id, listed, op, moment, moment + 60);
        }
    }

    // Helpers.

    function refusesAllPowersTo(PolicyId id, address owner, address sender) private {
        bytes[8] memory calls = [
            abi.encodeCall(policies.proposeWorkload, (id, WORKLOAD, 0)),
            abi.encodeCall(policies.withdrawWorkload, (id, FIRST)),
            abi.encodeCall(policies.deprecateWorkload, (id, FIRST)),
            abi.encodeCall(policies.revokeWorkload, (id, FIRST, START)),
            abi.encodeCall(policies.proposeOperator, (id, OPERATOR, 0)),
            abi.encodeCall(policies.withdrawOperator, (id, FIRST_OPERATOR)),
            abi.encodeCall(policies.deprecateOperator, (id, FIRST_OPERATOR)),
            abi.encodeCall(policies.revokeOperator, (id, FIRST_OPERATOR, START))
        ];
        bytes32 expected = keccak256(err(IWorkloadPolicy.NotPolicyOwner.selector, owner, sender));
        for (uint256 i = 0; i < calls.length; ++i) {
            vm.prank(sender);
            (bool ok, bytes memory reason) = address(policies).call(calls[i]);
            assertTrue(!ok && keccak256(reason) == expected, "a power of somebody else");
        }
    }

    function expectEvent() private {
        vm.expectEmit(true, true, true, true, address(policies));
    }

    function assertListing(IWorkloadPolicy.Listing memory l, uint64 from, uint64 effectiveAt, uint64 deprecatedAt, uint64 since)
        private
        pure
    {
        assertEq(bytes32(uint256(l.from)), bytes32(uint256(from)), "from");
        assertEq(bytes32(uint256(l.effectiveAt)), bytes32(uint256(effectiveAt)), "effectiveAt");
        assertEq(bytes32(uint256(l.deprecatedAt)), bytes32(uint256(deprecatedAt)), "deprecatedAt");
        assertEq(bytes32(uint256(l.revokedSince)), bytes32(uint256(since)), "revokedSince");
    }

    function ownedTerms() private view returns (IWorkloadPolicy.Terms memory t) {
        t = termsOf(address(this), DELAY);
        t.maxLookback = LOOKBACK;
        t.operatorsMode = IWorkloadPolicy.OperatorsMode.Listed;
    }

    function shortTerms() private view returns (IWorkloadPolicy.Terms memory t) {
        t = ownedTerms();
        t.delay = 1 hours;
        t.maxLookback = 1 hours;
    }

    function noListings() private pure returns (IWorkloadPolicy.FirstListing[] memory) {
        return new IWorkloadPolicy.FirstListing[](0);
    }

    function noOperators() private pure returns (IWorkloadPolicy.FirstOperator[] memory) {
        return new IWorkloadPolicy.FirstOperator[](0);
    }

    function listing(ListedId listed, uint64 from) private pure returns (IWorkloadPolicy.FirstListing[] memory list) {
        list = new IWorkloadPolicy.FirstListing[](1);
        list[0] = IWorkloadPolicy.FirstListing(listed, from);
    }

    function operatorList(address op, uint64 from) private pure returns (IWorkloadPolicy.FirstOperator[] memory list) {
        list = new IWorkloadPolicy.FirstOperator[](1);
        list[0] = IWorkloadPolicy.FirstOperator(op, from);
    }

    /// Listed ids 1 to n.
    function manyListings(uint256 n) private pure returns (IWorkloadPolicy.FirstListing[] memory list) {
        list = new IWorkloadPolicy.FirstListing[](n);
        for (uint256 i = 0; i < n; ++i) {
            list[i].listedId = ListedId.wrap(bytes32(i + 1));
        }
    }

    /// Addresses 1 to n.
    function manyOperators(uint256 n) private pure returns (IWorkloadPolicy.FirstOperator[] memory list) {
        list = new IWorkloadPolicy.FirstOperator[](n);
        for (uint256 i = 0; i < n; ++i) {
            list[i].operator = address(uint160(i + 1));
        }
    }
}
