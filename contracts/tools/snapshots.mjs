// What users and explorers rely on, as text: names and selectors, where storage lies, and the hash of init code. build.mjs writes it into
// snapshots/ and compares, so that a change of any of it is a line in a diff. One line each, sorted, so that moving code changes nothing.
import { createRequire } from "node:module";

/// The hash that the compiler's own package brings.
function keccak256(data) {
  const require = createRequire(import.meta.url);
  return createRequire(require.resolve("solc"))("js-sha3").keccak256(data);
}

/// File name -> text. `built` is what build.mjs has compiled: {name, abi, storageLayout, initCode}.
export function snapshots(built) {
  const files = built.map(({ name, abi, storageLayout }) => {
    return [`${name}.txt`, `${[...interfaceOf(abi), "", ...storageOf(storageLayout)].join("\n")}\n`];
  });
  const hashes = built.map(({ name, initCode }) => `${name} ${initCode.length} 0x${keccak256(initCode)}`).sort();
  files.push(["init-code.txt", `# contract, bytes, keccak256 of the init code without constructor arguments\n${hashes.join("\n")}\n`]);
  return Object.fromEntries(files);
}

/// Selectors are of the canonical signature, topics the whole hash of it. Names of parameters are in artifacts/.
function interfaceOf(abi) {
  const order = ["constructor", "function", "event", "error"];
  const lines = abi.map((item) => {
    const at = order.indexOf(item.type);
    if (at < 0) throw new Error(`snapshots.mjs: what is a ${item.type}?`);
    return { at, line: interfaceLine(item) };
  });
  return lines.sort((a, b) => a.at - b.at || (a.line < b.line ? -1 : 1)).map(({ line }) => line);
}

function interfaceLine({ type, name, inputs, outputs, stateMutability, anonymous }) {
  const types = inputs.map(typeOf);
  const hash = keccak256(`${name}(${types})`);
  switch (type) {
    case "constructor":
      return `constructor(${types}) ${stateMutability}`;
    case "function":
      return `function ${name}(${types}) ${stateMutability} returns (${outputs.map(typeOf)}) 0x${hash.slice(0, 8)}`;
    case "event": {
      const marked = inputs.map(({ indexed }, i) => types[i] + (indexed ? " indexed" : ""));
      return `event ${name}(${marked})${anonymous ? " anonymous" : ""} 0x${hash}`;
    }
    case "error":
      return `error ${name}(${types}) 0x${hash.slice(0, 8)}`;
  }
}

function typeOf({ type, components }) {
  return type.startsWith("tuple") ? `(${components.map(typeOf)})${type.slice("tuple".length)}` : type;
}

/// In the order of the slots; then, by name, the members of each struct that is kept there.
function storageOf({ storage, types }) {
  if (storage.length === 0) return ["no storage"];
  const variable = (indent) => (v) => {
    const { label, numberOfBytes } = types[v.type];
    return `${indent}slot ${v.slot} offset ${v.offset} bytes ${numberOfBytes}: ${v.label} ${label}`;
  };
  const structs = Object.values(types).filter(({ members }) => members !== undefined);
  structs.sort((a, b) => (a.label < b.label ? -1 : 1));
  return [...storage.map(variable("")), ...structs.flatMap(({ label, members }) => [label, ...members.map(variable("  "))])];
}
