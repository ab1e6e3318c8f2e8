// What a check that does not refuse says. policy.md §3: "not checked" needs a chain, a list or a live connection, says which, and never
// counts as passed; "not asked" is what the policy or the kind of work does not want.
export const passed = (note) => ({ outcome: "passed", note });
export const notChecked = (note) => ({ outcome: "not checked", note });
export const notAsked = (note) => ({ outcome: "not asked", note });
export const notReached = () => ({ outcome: "not reached" });
