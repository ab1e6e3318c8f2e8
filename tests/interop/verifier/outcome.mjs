// What a check that does not refuse says. policy.md §3: "not checked" needs a chain, a list or a live connection, says which, and never
// counts as passed; "not asked" is what the policy or the kind of work does not want.
export const passed = (note) => ({ outcome: "passed", note });
export const notChecked = (note) => ({ outcome: "not checked", note });
export const notAsked = (note) => ({ outcome: "not asked", note });
/** Steps 9 and 14: a chain that does not have the block may have gone back, and proves nothing against the answer. bundle.md §4 (BNDL-9) */
export function blockOutcome(known, found) {
  if (known === null) return notChecked("no chain was asked");
  if (known) return passed();
  found.undecided = true;
  return notChecked("the chain that was asked does not have this block");
}
export const notReached = () => ({ outcome: "not reached" });
