// Strict JSON (RFC 8259) of a request and its frames: bytes in, and no two readings. JSON.parse takes a member twice, keeps the last and
// has no limit of depth; what a contract is told must not depend on which of the two a reader kept. transcript.md §4 (TR-5).
//
// A string is a string and an object is a Map. A number is its text as it was written, in a `Literal`, as are true, false and null:
// nothing here computes with one.
import { Malformed } from "./errors.mjs";

const MAX_DEPTH = 32;
const SPACE = /[ \t\n\r]*/y;
const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const LITERAL = /true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;

/** A number, true, false or null, as it was written. */
export class Literal {
  constructor(text) {
    this.text = text;
  }
}

export const isLiteral = (value, text) => value instanceof Literal && value.text === text;

export function readStrictJson(bytes) {
  let text;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new Malformed("JSON that is not UTF-8");
  }
  const r = new Reader(text);
  const value = r.value(MAX_DEPTH);
  r.end();
  return value;
}

class Reader {
  #text;
  #at = 0;

  constructor(text) {
    this.#text = text;
    this.#match(SPACE);
  }

  end() {
    if (this.#at !== this.#text.length) throw new Malformed("JSON with something after its end");
  }

  /** A value that nests at most `depth` objects and lists. */
  value(depth) {
    if (this.#text[this.#at] === '"') return this.#string();
    const opened = this.#takes("{") ? "{" : this.#takes("[") ? "[" : null;
    if (opened === null) return new Literal(this.#must(LITERAL));
    if (depth === 0) throw new Malformed("JSON that is nested too deep");
    return opened === "{" ? this.#members(depth - 1) : this.#items(depth - 1);
  }

  #members(depth) {
    const members = new Map();
    this.#separated("}", () => {
      const name = this.#string();
      if (members.has(name)) throw new Malformed("JSON with a member twice");
      if (!this.#takes(":")) throw new Malformed("a member without a value");
      members.set(name, this.value(depth));
    });
    return members;
  }

  #items(depth) {
    const items = [];
    this.#separated("]", () => items.push(this.value(depth)));
    return items;
  }

  #separated(close, read) {
    if (this.#takes(close)) return;
    do read();
    while (this.#takes(","));
    if (!this.#takes(close)) throw new Malformed(`no ${close}`);
  }

  /** With its escapes undone. Half of a surrogate pair is no text and has no UTF-8. */
  #string() {
    const text = JSON.parse(this.#must(STRING));
    if (!text.isWellFormed()) throw new Malformed("a string with half of a surrogate pair");
    return text;
  }

  #takes(sign) {
    if (this.#text[this.#at] !== sign) return false;
    this.#at += 1;
    this.#match(SPACE);
    return true;
  }

  #must(pattern) {
    const found = this.#match(pattern);
    if (found === null) throw new Malformed("no JSON");
    this.#match(SPACE);
    return found;
  }

  #match(pattern) {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text);
    if (found === null) return null;
    this.#at = pattern.lastIndex;
    return found[0];
  }
}
