// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {QuorumVerifier} from "../src/QuorumVerifier.sol";
import {Checkpoint, Decoding, Freshness, ListedId, LogId, Manifest, ReceiptWords, Terms, WorkloadId} from "../src/Types.sol";
import {Questions} from "../src/answer/Questions.sol";
import {IAttestationVerifier} from "../src/interfaces/IAttestationVerifier.sol";
import {IQuorumVerifier} from "../src/interfaces/IQuorumVerifier.sol";
import {Digests} from "../src/lib/Digests.sol";
import {Base} from "./support/Base.sol";
import {Harness} from "./support/Harness.sol";

/// Rust writes vectors/*.json, and this reads them: the two must agree on every byte. Shapes: README.md. A missing file, an empty
/// list or a missing key is a failure, never a skip.
contract VectorsTest is Base {
    /// No contract reads an offer yet, so its type is here: a client's nonce commits to this digest.
    struct Offer {
        uint8 version;
        bytes32 manifestHash;
        bytes32 requestCommitment;
        bytes32 modelId;
        uint8 scheme;
        address payee;
        address asset;
        uint256 chainId;
        address settler;
        uint256 amount;
        uint64 promptTokens;
        uint64 maxTokens;
        bytes32 seedCommitment;
        uint64 validUntil;
        bytes32 priceListHash;
        uint64 priceListNumber;
    }

    Harness private harness = new Harness();

    /// A file of vectors and the case that is being read.
    struct Cases {
        string name;
        string list;
        string json;
        uint256 count;
        string current;
    }

    function test_vectors_receipt() public view {
        Cases memory c = open("receipt");
        while (next(c)) {
            bytes memory encoded = readBytes(c, "encoded");
            same(c, encoded.length, 1088, "length");
            ReceiptWords memory receipt = abi.decode(encoded, (ReceiptWords));
            same(c, keccak256(abi.encode(receipt)), keccak256(encoded), "one encoding");
            same(c, keccak256(abi.encode(Digests.MONEY_TYPEHASH, receipt.money)), read32(c, "moneyHash"), "moneyHash");
            same(c, keccak256(abi.encode(Digests.WORK_TYPEHASH, receipt.work)), read32(c, "workHash"), "workHash");
            same(c, harness.receipt(receipt), read32(c, "digest"), "digest");
            same(c, harness.recover(read32(c, "digest"), readBytes(c, "signature")), readAddress(c, "signer"), "signer");
        }
    }

    /// Of the rejects, those that are words with a wrong signature. What is no receipt at all, a contract's calldata cannot say, or
    /// `prove` refuses by version and scheme (Proofs.t.sol, Money.t.sol).
    function test_vectors_receipt_rejects() public view {
        Cases memory c = openRejects("receipt");
        while (next(c)) {
            if (keccak256(bytes(readString(c, "refusedBy"))) != keccak256("receipt.signature")) continue;
            notSignedBy(c, harness.receipt(abi.decode(readBytes(c, "encoded"), (ReceiptWords))), "signer");
        }
    }

    function test_vectors_offer() public view {
        bytes32 typeHash = keccak256(
            "Offer(uint8 version,bytes32 manifestHash,bytes32 requestCommitment,bytes32 modelId,uint8 scheme,address payee,address asset,uint256 chainId,address settler,uint256 amount,uint64 promptTokens,uint64 maxTokens,bytes32 seedCommitment,uint64 validUntil,bytes32 priceListHash,uint64 priceListNumber)"
        );
        Cases memory c = open("offer");
        while (next(c)) {
            bytes memory encoded = readBytes(c, "encoded");
            same(c, encoded.length, 512, "length");
            Offer memory offer = abi.decode(encoded, (Offer));
            same(c, Digests.typed(keccak256(abi.encode(typeHash, offer))), read32(c, "digest"), "digest");
        }
    }

    function test_vectors_checkpoint() public view {
        Cases memory c = open("checkpoint");
        while (next(c)) {
            same(c, readCheckpoint(c), read32(c, "digest"), "digest");
            same(c, harness.recover(read32(c, "digest"), readBytes(c, "signature")), readAddress(c, "signer"), "signer");
        }
    }

    function test_vectors_checkpoint_rejects() public view {
        Cases memory c = openRejects("checkpoint");
        while (next(c)) {
            notSignedBy(c, readCheckpoint(c), "signer");
        }
    }

    function test_vectors_terms() public view {
        Cases memory c = open("terms");
        while (next(c)) {
            bytes memory words = readBytes(c, "words");
            same(c, words.length, 640, "length");
            same(c, harness.terms(abi.decode(words, (Terms))), read32(c, "digest"), "digest");
            same(c, harness.recover(read32(c, "digest"), readBytes(c, "signature")), readAddress(c, "operator"), "operator");
        }
    }

    function test_vectors_registration() public view {
        Cases memory c = open("registration");
        while (next(c)) {
            bytes32 digest = readRegistration(c);
            same(c, digest, read32(c, "digest"), "digest");
            same(c, harness.recover(digest, readBytes(c, "signature")), readAddress(c, "registrar"), "registrar");
        }
    }

    /// Nothing of a registration can be exchanged after the registrar signed.
    function test_vectors_registration_rejects() public view {
        Cases memory c = openRejects("registration");
        while (next(c)) {
            notSignedBy(c, readRegistration(c), "registrar");
        }
    }

    function test_vectors_boot() public view {
        Cases memory c = open("boot");
        while (next(c)) {
            bytes32 digest = harness.boot(read32(c, "manifestHash"));
            same(c, digest, read32(c, "digest"), "digest");
            same(c, harness.recover(digest, readBytes(c, "signature")), readAddress(c, "kSig"), "kSig");
        }
    }

    function test_vectors_boot_rejects() public view {
        Cases memory c = openRejects("boot");
        while (next(c)) {
            notSignedBy(c, harness.boot(read32(c, "manifestHash")), "kSig");
        }
    }

    function test_vectors_manifest() public view {
        Cases memory c = open("manifest");
        while (next(c)) {
            bytes memory encoded = readBytes(c, "encoded");
            same(c, encoded.length, 608, "length");
            Manifest memory manifest = abi.decode(encoded, (Manifest));
            same(c, harness.manifest(manifest), read32(c, "hash"), "hash");
            same(c, LogId.unwrap(harness.logId(manifest.kSig, manifest.kLog)), read32(c, "logId"), "logId");
        }
    }

    function test_vectors_freshness() public view {
        Cases memory c = open("freshness");
        while (next(c)) {
            bytes12 tag = harness.freshnessTag(
                Freshness({
                    chainId: readUint(c, "chainId"),
                    blockNumber: readUint(c, "blockNumber"),
                    blockHash: read32(c, "blockHash"),
                    nonce: read32(c, "nonce")
                })
            );
            same(c, keccak256(abi.encodePacked(tag)), keccak256(readBytes(c, "tag")), "tag");
            bytes memory attested = readBytes(c, "attested");
            same(c, attested.length, 64, "length");
            same(c, harness.attested(readAddress(c, "kSig"), read32(c, "manifestHash"), tag), keccak256(attested), "attested");
        }
    }

    function test_vectors_workload() public view {
        Cases memory c = open("workload");
        while (next(c)) {
            same(c, WorkloadId.unwrap(readWorkload(c)), read32(c, "workloadId"), "workloadId");
            same(c, ListedId.unwrap(readListed(c)), read32(c, "listedId"), "listedId");
        }
    }

    /// The outputs of a right case beside another input.
    function test_vectors_workload_rejects() public view {
        Cases memory c = openRejects("workload");
        while (next(c)) {
            differs(c, WorkloadId.unwrap(readWorkload(c)), read32(c, "workloadId"));
            differs(c, ListedId.unwrap(readListed(c)), read32(c, "listedId"));
        }
    }

    /// What an operator signs to end a key, with notice or at once.
    function test_vectors_keyEnd() public view {
        Cases memory c = open("key-end");
        while (next(c)) {
            same(c, readKeyEnd(c), read32(c, "digest"), "digest");
            same(c, harness.recover(read32(c, "digest"), readBytes(c, "signature")), readAddress(c, "operator"), "operator");
        }
    }

    /// A signature for one act, or for one chain, is none for another.
    function test_vectors_keyEnd_rejects() public view {
        Cases memory c = openRejects("key-end");
        while (next(c)) {
            notSignedBy(c, readKeyEnd(c), "operator");
        }
    }

    /// Payment ids of work that nobody paid for, and of payments of which nothing is charged.
    function test_vectors_paymentId() public view {
        Cases memory c = open("payment-id");
        while (next(c)) {
            same(c, readPaymentId(c), read32(c, "paymentId"), "paymentId");
        }
    }

    function test_vectors_paymentId_rejects() public view {
        Cases memory c = openRejects("payment-id");
        while (next(c)) {
            differs(c, readPaymentId(c), read32(c, "paymentId"));
        }
    }

    function test_vectors_decoding() public view {
        Cases memory c = open("decoding");
        while (next(c)) {
            same(c, Digests.decoding(readDecoding(c)), read32(c, "decodingHash"), "decodingHash");
        }
    }

    /// The hash of a right record beside another. (One of them has the right hash of a record whose stop sequences were joined: no
    /// contract reads those.)
    function test_vectors_decoding_rejects() public view {
        Cases memory c = openRejects("decoding");
        while (next(c)) {
            if (read32(c, "stopHash") == 0) differs(c, Digests.decoding(readDecoding(c)), read32(c, "decodingHash"));
        }
    }

    /// What a contract that reads an answer compares: the question and the text.
    function test_vectors_question() public view {
        Cases memory c = open("question");
        while (next(c)) {
            same(c, readQuestion(c), read32(c, "questionHash"), "questionHash");
            same(c, keccak256(bytes(readString(c, "answer"))), read32(c, "answerHash"), "answerHash");
            if (is_(c, "path", "/v1/chat/completions")) {
                same(c, Questions.ofChat(readBytes(c, "body")), read32(c, "questionHash"), "questionHash of a chat");
            }
        }
    }

    function test_vectors_question_rejects() public view {
        Cases memory c = openRejects("question");
        while (next(c)) {
            if (is_(c, "refusedBy", "question")) differs(c, readQuestion(c), read32(c, "questionHash"));
            else differs(c, keccak256(bytes(readString(c, "answer"))), read32(c, "answerHash"));
        }
    }

    /// The verdict of an attestor, at the address and on the chain that the vector names.
    function test_vectors_verdict() public {
        Cases memory c = open("verdict");
        while (next(c)) {
            vm.chainId(readUint(c, "chainId"));
            QuorumVerifier verifier = QuorumVerifier(readAddress(c, "verifier"));
            deployTo(address(verifier), readUint(c, "threshold"), vm.parseJsonAddressArray(c.json, key(c, "members")));
            IQuorumVerifier.Verdict memory verdict = IQuorumVerifier.Verdict({
                evidenceHash: keccak256(readBytes(c, "evidence")),
                innerKind: readUint(c, "innerKind"),
                innerRoot: read32(c, "innerRoot"),
                innerMeasurements: read32(c, "innerMeasurements"),
                attestedHash: read32(c, "attestedHash"),
                documentTime: read64(c, "documentTime")
            });
            same(c, verifier.verdictDigest(verdict), read32(c, "digest"), "digest");
            same(c, verifier.quorumRoot(), read32(c, "quorumRoot"), "quorumRoot");
            IAttestationVerifier.Attested memory attested = verifier.verify(readBytes(c, "evidence"), readBytes(c, "verifierData"));
            same(c, WorkloadId.unwrap(attested.workloadId), read32(c, "workloadId"), "workloadId");
            same(c, attested.attestedHash, read32(c, "attestedHash"), "attestedHash");
            same(c, attested.documentTime, read64(c, "documentTime"), "documentTime");
        }
    }

    function test_vectors_leaf() public view {
        Cases memory c = open("leaf");
        while (next(c)) {
            bytes32 data = harness.leafData(read32(c, "logSalt"), read32(c, "receiptDigest"), readBytes(c, "signature"));
            same(c, data, read32(c, "leafData"), "leafData");
            same(c, harness.leaf(data), read32(c, "leafHash"), "leafHash");
        }
    }

    function test_vectors_inclusion() public view {
        Cases memory c = open("inclusion");
        while (next(c)) {
            bool accepted;
            try harness.inclusion(read32(c, "leafHash"), read64(c, "index"), read64(c, "size"), readProof(c)) returns (
                bytes32 root
            ) {
                accepted = root == read32(c, "root");
            } catch {}
            assertTrue(accepted == readBool(c, "valid"), readString(c, "name"));
        }
    }

    function test_vectors_consistency() public view {
        Cases memory c = open("consistency");
        while (next(c)) {
            (bytes32 firstRoot, bytes32 secondRoot) = (read32(c, "firstRoot"), read32(c, "secondRoot"));
            bool accepted;
            try harness.consistency(read64(c, "first"), firstRoot, read64(c, "second"), readProof(c)) returns (
                bytes32 oldRoot, bytes32 newRoot
            ) {
                accepted = oldRoot == firstRoot && newRoot == secondRoot;
            } catch {}
            assertTrue(accepted == readBool(c, "valid"), readString(c, "name"));
        }
    }

    function open(string memory name) private view returns (Cases memory c) {
        c.name = name;
        c.list = "cases";
        c.json = vm.readFile(string.concat("../vectors/", name, ".json"));
    }

    /// The cases of a file that must be refused.
    function openRejects(string memory name) private view returns (Cases memory c) {
        c = open(name);
        c.list = "rejects";
    }

    /// Goes to the next case, if there is one; the first one must be there.
    function next(Cases memory c) private view returns (bool more) {
        c.current = string.concat(".", c.list, "[", vm.toString(c.count), "]");
        more = vm.keyExistsJson(c.json, c.current);
        assertTrue(more || c.count != 0, string.concat(c.name, ".json has no ", c.list));
        ++c.count;
    }

    /// Immutables are in the code, so the code of a twin with the same arguments is the contract; its list goes to storage.
    function deployTo(address target, uint256 threshold, address[] memory members) private {
        bytes memory creation = abi.encodePacked(type(QuorumVerifier).creationCode, abi.encode(threshold, members));
        vm.etch(target, creation);
        (bool ok, bytes memory runtime) = target.call("");
        assertTrue(ok, "constructor");
        vm.etch(target, runtime);
    }

    function key(Cases memory c, string memory name) private pure returns (string memory) {
        return string.concat(c.current, ".", name);
    }

    function same(Cases memory c, bytes32 got, bytes32 expected, string memory what) private pure {
        assertEq(got, expected, string.concat(c.name, key(c, what)));
    }

    function same(Cases memory c, uint256 got, uint256 expected, string memory what) private pure {
        same(c, bytes32(got), bytes32(expected), what);
    }

    function same(Cases memory c, address got, address expected, string memory what) private pure {
        same(c, uint160(got), uint160(expected), what);
    }

    function differs(Cases memory c, bytes32 got, bytes32 other) private pure {
        assertTrue(got != other, string.concat(c.name, c.current, " is as the reject says"));
    }

    /// The signature is by nobody, in no form that is taken, or by another than this field says.
    function notSignedBy(Cases memory c, bytes32 digest, string memory field) private view {
        try harness.recover(digest, readBytes(c, "signature")) returns (address signer) {
            assertTrue(signer != readAddress(c, field), string.concat(c.name, c.current, " is signed"));
        } catch {}
    }

    function readCheckpoint(Cases memory c) private view returns (bytes32 digest) {
        Checkpoint memory words = Checkpoint({
            logId: LogId.wrap(read32(c, "logId")),
            size: read64(c, "size"),
            root: read32(c, "root"),
            timestamp: read64(c, "timestamp")
        });
        return harness.checkpoint(words);
    }

    function readDecoding(Cases memory c) private pure returns (Decoding memory words) {
        words.engine = readString(c, "engine");
        words.seed = read32(c, "seed");
        // forge-lint: disable-next-line(unsafe-typecast)
        words.seedSource = uint8(read64(c, "seedSource"));
        words.temperatureE6 = read32Bits(c, "temperatureE6");
        words.topPE6 = read32Bits(c, "topPE6");
        words.topK = read32Bits(c, "topK");
        words.maxTokens = read32Bits(c, "maxTokens");
        words.stopHash = read32(c, "stopHash");
    }

    function readQuestion(Cases memory c) private pure returns (bytes32) {
        return Questions.hashOf(bytes(readString(c, "method")), bytes(readString(c, "path")), readBytes(c, "body"));
    }

    function readRegistration(Cases memory c) private view returns (bytes32 digest) {
        return harness.registration(
            readAddress(c, "kSig"),
            read32(c, "manifestHash"),
            readAddress(c, "verifier"),
            WorkloadId.wrap(read32(c, "workloadId")),
            read32(c, "termsDataHash"),
            readAddress(c, "registry"),
            readUint(c, "chainId"),
            read64(c, "deadline")
        );
    }

    function readWorkload(Cases memory c) private view returns (WorkloadId) {
        return harness.workloadId(readUint(c, "kind"), read32(c, "rootFingerprint"), keccak256(readBytes(c, "measurements")));
    }

    function readListed(Cases memory c) private view returns (ListedId) {
        return harness.listedId(readAddress(c, "verifier"), read32(c, "verifierCodehash"), readWorkload(c));
    }

    function readKeyEnd(Cases memory c) private view returns (bytes32 digest) {
        (address kSig, address registry) = (readAddress(c, "kSig"), readAddress(c, "registry"));
        if (is_(c, "act", "retire")) return harness.retire(kSig, registry, readUint(c, "chainId"));
        assertTrue(is_(c, "act", "revoke"), "an act");
        return harness.revoke(kSig, registry, readUint(c, "chainId"));
    }

    function readPaymentId(Cases memory c) private view returns (bytes32) {
        (LogId log, uint64 sequence) = (LogId.wrap(read32(c, "logId")), read64(c, "sequence"));
        if (is_(c, "kind", "none")) return harness.unpaidId(readUint(c, "anchorChainId"), log, sequence);
        assertTrue(is_(c, "kind", "unsettled"), "a kind");
        return harness.unsettledId(readUint(c, "anchorChainId"), log, sequence);
    }

    /// Whether a field holds this text.
    function is_(Cases memory c, string memory name, string memory text) private pure returns (bool) {
        return keccak256(bytes(readString(c, name))) == keccak256(bytes(text));
    }

    function read32(Cases memory c, string memory name) private pure returns (bytes32) {
        return vm.parseJsonBytes32(c.json, key(c, name));
    }

    function read64(Cases memory c, string memory name) private pure returns (uint64) {
        uint256 value = readUint(c, name);
        assertTrue(value <= type(uint64).max, name);
        // forge-lint: disable-next-line(unsafe-typecast)
        return uint64(value);
    }

    function read32Bits(Cases memory c, string memory name) private pure returns (uint32) {
        uint256 value = readUint(c, name);
        assertTrue(value <= type(uint32).max, name);
        // forge-lint: disable-next-line(unsafe-typecast)
        return uint32(value);
    }

    function readUint(Cases memory c, string memory name) private pure returns (uint256) {
        return vm.parseJsonUint(c.json, key(c, name));
    }

    function readBool(Cases memory c, string memory name) private pure returns (bool) {
        return vm.parseJsonBool(c.json, key(c, name));
    }

    function readString(Cases memory c, string memory name) private pure returns (string memory) {
        return vm.parseJsonString(c.json, key(c, name));
    }

    function readAddress(Cases memory c, string memory name) private pure returns (address) {
        return vm.parseJsonAddress(c.json, key(c, name));
    }

    function readBytes(Cases memory c, string memory name) private pure returns (bytes memory) {
        return vm.parseJsonBytes(c.json, key(c, name));
    }

    function readProof(Cases memory c) private pure returns (bytes32[] memory) {
        return vm.parseJsonBytes32Array(c.json, key(c, "proof"));
    }
}
