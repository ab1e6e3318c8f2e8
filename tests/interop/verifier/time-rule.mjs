// The time rule in whole Unix seconds, and which sightings of a bundle's trees count. bundle.md §6.
// What a chain saw is what the caller says; that the trees named here are what the bundle says is for steps 31 to 34 to show.
import { equal } from "./bytes.mjs";

export const SKEW_S = 120n;
const LONGEST_UNSEEN_S = 7n * 86_400n;
const DOCUMENT_LIFE_S = 7_200n;

export const seconds = (milliseconds) => milliseconds / 1000n;

/** Line 1: the receipt is not older than the boot. */
export const afterBoot = (finished, bootedAt) => bootedAt <= finished + SKEW_S;

/** Line 3: a tree is not seen before what it holds was finished. */
export const notSeenBefore = (finished, seenAt) => finished <= seenAt + SKEW_S;

/** Whether line 3 leaves a moment before that one at which what was finished then can have been seen. */
export const couldBeSeenBefore = (finished, moment) => finished < moment + SKEW_S;

/** Line 4: nor so long after that its key had lapsed for good. */
export const seenInTime = (finished, seenAt) => seenAt <= finished + LONGEST_UNSEEN_S;

/** Line 2's end: by the registry, or by the bundle's own document, which anybody may show to the registry yet. */
export function validUntil(registered, documentTime, termsEnd) {
  const own = least(seconds(documentTime) + DOCUMENT_LIFE_S, seconds(termsEnd));
  return registered < own ? own : registered;
}

const least = (one, other) => (one < other ? one : other);

/** The bundle's trees that hold the receipt: its checkpoint, and what extends that. */
export function treesWithReceipt({ delivery, laterTrees }) {
  return [delivery.checkpoint, ...laterTrees];
}

/** All trees that the bundle names. */
export const allTrees = (bundle) => [bundle.delivery.earlierAnchor, ...treesWithReceipt(bundle)].filter((tree) => tree !== null);

export const isOf = (sighting, logId, tree) =>
  equal(sighting.log_id, logId) && sighting.size === tree.size && equal(sighting.root, tree.root);

/** When a chain first saw a tree that holds the receipt, by anchor or observation; null if never. And whether an anchor is among them. */
export function sightings(bundle, logId, facts) {
  const ofOurs = (sighting) => treesWithReceipt(bundle).some((tree) => isOf(sighting, logId, tree));
  const anchors = facts.anchors.filter(ofOurs);
  const times = [...anchors, ...facts.observations.filter(ofOurs)].map(({ at }) => at);
  return { anchored: 0 < anchors.length, seenAt: times.length === 0 ? null : times.reduce(least) };
}
