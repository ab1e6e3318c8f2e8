// EIP-712: hashStruct, encodings of arrays, digests. The types are the strings of the specification, so that a reader can compare them;
// the encoder works from them.
import { ascii, concat, isZero, utf8 } from "./bytes.mjs";
import { keccak256 } from "./hashes.mjs";
import { addressWord, word } from "./words.mjs";

const DEFINITIONS = [
  "EIP712Domain(string name,string version)",
  "ContractDomain(string name,string version,uint256 chainId,address verifyingContract)",
  // attestation.md §4
  "Verdict(bytes32 evidenceHash,uint256 innerKind,bytes32 innerRoot,bytes32 innerMeasurements,bytes32 attestedHash,uint64 documentTime)",
  // terms-and-manifest.md §1
  "OperatorTerms(uint8 version,address operator,address payee,address registrar,address registry,uint256 anchorChainId,uint64 notAfter," +
    "uint32 flags,uint32 storage,Chain[] chains,Asset[] assets,Model[] models,Price[] prices,Upstream[] upstreams,Secret[] secrets," +
    "SealedVersion[] sealed,Egress[] egress,Access access,Guard guard,string[] endpoints)",
  "Access(uint32 ways,bytes32[] keys)",
  "Asset(uint256 chainId,address asset,string name,string version,uint8 decimals)",
  "Chain(uint256 chainId,address registry,address settlerFactory,address forwarderFactory,address authorizerFactory,address batch," +
    "address uptoProxy,bytes32 channelPolicy)",
  "Classes(uint256 input,uint256 cacheRead,uint256 cacheWrite,uint256 output,uint256 reasoning,uint256 image,uint256 request)",
  "Egress(string host,uint16 port,string purpose)",
  "Guard(string model,string upstream,uint32 payerRequestsPerMinute,uint64 payerTokensPerDay)",
  "Model(string id,uint8 source,bytes32 digest,bytes32 sourceDigest,uint32 contextTokens,Route[] routes)",
  "Price(bytes32 model,uint256 chainId,address asset,Classes ceiling,Classes floor)",
  "Route(string upstream,string model)",
  "SealedVersion(uint32 version,uint64 notAfter)",
  "Secret(string name,uint32 minVersion)",
  "Upstream(string name,uint8 kind,string host,uint16 port,string path,uint8 trust,bytes32 trustAnchor,string account,uint8 pricing," +
    "uint32 markup,uint32 flags)",
  "Registration(address kSig,bytes32 manifestHash,address verifier,bytes32 workloadId,bytes32 termsDataHash,address registry," +
    "uint256 chainId,uint64 deadline)",
  "Retire(address kSig,address registry,uint256 chainId)",
  "Revoke(address kSig,address registry,uint256 chainId)",
  // terms-and-manifest.md §2, §4
  "Boot(bytes32 manifestHash)",
  "Key(uint16 purpose,uint16 algorithm,bytes32 digest)",
  "PriceList(bytes32 termsHash,uint64 number,uint64 from,uint64 until,bytes32 pricesHash)",
  "ListedPrice(bytes32 model,uint256 chainId,address asset,Classes classes)",
  // receipt.md §1, §5, §6
  "Receipt(uint8 version,bytes32 manifestHash,bytes32 logId,uint64 sequence,Money money,Work work)",
  "Money(bytes32 paymentId,uint8 scheme,address payer,address payee,address asset,uint256 chainId,address settler,uint256 maxAmount," +
    "uint256 charged,uint256 cumulativeBefore,uint256 cumulativeAfter,bytes32 offerDigest)",
  "Work(uint32 kinds,uint8 channel,uint8 usageSource,uint8 outcome,bytes32 modelId,bytes32 requestCommitment,bytes32 responseCommitment," +
    "bytes32 decodingHash,uint64 promptTokens,uint64 completionTokens,uint64 startedAt,uint64 finishedAt,uint64 blockNumber," +
    "bytes32 blockHash,bytes32 sourceHash,bytes32 taskHash,bytes32 questionHash,bytes32 answerHash)",
  "Decoding(string engine,bytes32 seed,uint8 seedSource,uint32 temperatureE6,uint32 topPE6,uint32 topK,uint32 maxTokens,bytes32 stopHash)",
  "Source(string upstream,string host,uint16 port,bytes32 spkiHash,uint8 account,string modelAsked,string modelServed,string requestId," +
    "Usage usage,string[] tried)",
  "Usage(uint64 input,uint64 cacheRead,uint64 cacheWrite,uint64 output,uint64 reasoning,uint64 images)",
  // payment.md §2, §3, §7
  "TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)",
  "Permit2Domain(string name,uint256 chainId,address verifyingContract)",
  "PermitWitnessTransferFrom(TokenPermissions permitted,address spender,uint256 nonce,uint256 deadline,Witness witness)",
  "TokenPermissions(address token,uint256 amount)",
  "Witness(address to,address facilitator,uint256 validAfter)",
  "Offer(uint8 version,bytes32 manifestHash,bytes32 requestCommitment,bytes32 modelId,uint8 scheme,address payee,address asset," +
    "uint256 chainId,address settler,uint256 amount,uint64 promptTokens,uint64 maxTokens,bytes32 seedCommitment,uint64 validUntil," +
    "bytes32 priceListHash,uint64 priceListNumber)",
  "Refusal(bytes32 requestCommitment,bytes32 manifestHash,uint16 status,bytes32 codeHash,bytes32 signedDigest,uint64 at)",
  "ChannelAuthorization(uint256 chainId,address authorizer,bytes32 digest)",
  // log.md §3
  "Checkpoint(bytes32 logId,uint64 size,bytes32 root,uint64 timestamp)",
];

/** name → {definition, fields: [[type, name] …]} */
const TYPES = new Map(DEFINITIONS.map((definition) => {
  const [, name, members] = /^(\w+)\((.*)\)$/.exec(definition);
  return [name, { definition, fields: members.split(",").map((member) => member.split(" ")) }];
}));

/** The structs that a type is made of, itself left out. */
function parts(name, found = new Set()) {
  for (const [type] of TYPES.get(name).fields) {
    const base = type.replace("[]", "");
    if (TYPES.has(base) && !found.has(base)) parts(base, found.add(base));
  }
  return found;
}

/** EIP-712's encodeType: the type itself, then the others that it refers to, in the order of their names. */
function encodeType(name) {
  // A contract's domain is the same EIP712Domain with other fields; here each needs a name of its own.
  const own = TYPES.get(name).definition.replace(/^\w+Domain/, "EIP712Domain");
  return own + [...parts(name)].sort().map((part) => TYPES.get(part).definition).join("");
}

function encode(type, value) {
  if (value === undefined) throw new TypeError(`no value for a ${type}`);
  if (type.endsWith("[]")) return keccak256(...value.map((member) => encode(type.slice(0, -2), member)));
  if (type === "string") return keccak256(utf8(value));
  if (type === "bytes32" && value.length === 32) return value;
  if (type === "address" && value.length === 20) return addressWord(value);
  if (type.startsWith("uint") && BigInt(value) >> BigInt(type.slice(4)) === 0n) return word(value);
  if (TYPES.has(type)) return hashStruct(type, value);
  throw new TypeError(`${value} is no ${type}`);
}

/** The fields' words, without the type hash: what a contract checks terms from. */
export const encodeFields = (type, value) => concat(...TYPES.get(type).fields.map(([kind, name]) => encode(kind, value[name])));

export const hashStruct = (type, value) => keccak256(keccak256(ascii(encodeType(type))), encodeFields(type, value));

/** The EIP-712 encoding of an array of structs: not the root of a tree. */
export const hashArray = (type, values) => encode(`${type}[]`, values);

export const CANDOR_DOMAIN = hashStruct("EIP712Domain", { name: "Candor", version: "2" });
/** The domain of a contract: of a token, or of one that verifies what attestors sign. */
export const contractDomain = (contract) => hashStruct("ContractDomain", contract);

export const digestOf = (domain, struct) => keccak256(Uint8Array.of(0x19, 0x01), domain, struct);

/** What K_sig, an operator or a registrar signs (README.md, Domain). */
export const candorDigest = (type, value) => digestOf(CANDOR_DOMAIN, hashStruct(type, value));

/** Whether an address is the zero of the EVM, which nobody has. */
export const isNobody = (address) => isZero(address);
