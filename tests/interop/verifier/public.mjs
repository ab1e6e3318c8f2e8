// The three words of a receipt by which a contract reads a public answer, from the request and the frames alone. transcript.md §4 (TR-4,
// TR-5); receipt.md §4 (RCPT-13). Whatever does not ask for a public answer in this one form has zeros.
import { fromHex, ZERO_32 } from "./bytes.mjs";
import { Malformed } from "./errors.mjs";
import { isLiteral, readStrictJson } from "./json.mjs";
import { answerHash, questionHash } from "./transcript.mjs";

const METHOD = "POST", PATH = "/v1/chat/completions";
/** Where the text of a choice is, and whether it is the whole one. */
const TEXTS = new Map([["message", true], ["delta", false]]);
/** With these an answer is more than one text, or no text. */
const NOT_BESIDE = ["tools", "tool_choice", "functions", "function_call", "logprobs", "top_logprobs", "response_format"];

export function publicWords({ method, path, body }, frames) {
  const task = taskOf(method, path, body);
  const text = task === null ? null : textOf(frames);
  if (text === null) return { taskHash: ZERO_32, questionHash: ZERO_32, answerHash: ZERO_32 };
  return { taskHash: task, questionHash: questionHash(method, path, body), answerHash: answerHash(text) };
}

/** What a request for a public answer names as its task, or null for every other request. */
function taskOf(method, path, body) {
  if (method !== METHOD || path.split("?")[0] !== PATH) return null;
  const request = objectOf(body);
  const asked = request?.get("candor");
  if (!(asked instanceof Map) || !isLiteral(asked.get("public"), "true")) return null;
  const hasMore = [...asked.keys()].some((name) => name !== "public" && name !== "task");
  if (hasMore || NOT_BESIDE.some((name) => request.has(name))) return null;
  if (request.has("n") && !isLiteral(request.get("n"), "1")) return null;
  return asked.has("task") ? hashOf(asked.get("task")) : ZERO_32;
}

/** The one text of the frames, or null if they have none or more than one. */
function textOf(frames) {
  const texts = frames.map(textOfFrame);
  return texts.includes(null) ? null : texts.join("");
}

/** A frame may have no choice, and a delta no text; a message without one is no answer that a contract could read. */
function textOfFrame(frame) {
  const object = objectOf(frame);
  if (object === undefined) return null;
  const choices = object.get("choices") ?? [];
  if (!Array.isArray(choices) || 1 < choices.length) return null;
  if (choices.length === 0) return "";
  const [choice] = choices;
  if (!(choice instanceof Map)) return null;
  const texts = [...choice].filter(([name]) => TEXTS.has(name)).map(([name, holder]) => contentOf(holder, TEXTS.get(name)));
  return texts.includes(null) ? null : texts.join("");
}

function contentOf(holder, isWhole) {
  if (!(holder instanceof Map)) return null;
  const content = holder.get("content");
  if (typeof content === "string") return content;
  const hasNone = content === undefined || isLiteral(content, "null");
  return hasNone && !isWhole ? "" : null;
}

function objectOf(bytes) {
  try {
    const value = readStrictJson(bytes);
    return value instanceof Map ? value : undefined;
  } catch (error) {
    if (error instanceof Malformed) return undefined;
    throw error;
  }
}

/** Its digits may be in either case. */
function hashOf(value) {
  return typeof value === "string" && /^0x[0-9a-fA-F]{64}$/.test(value) ? fromHex(value.toLowerCase()) : null;
}
