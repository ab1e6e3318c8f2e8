"""Writes the container: `python export.py build/model.npz candor-mini-1.cnd1` (spec/det-1.md section 1).

`--sharpen F` multiplies final_norm, and so every logit, by F: greedy answers stay the same, sampled ones (the API's default temperature
is 1) stray less.
"""

import argparse
import hashlib
import struct

import numpy as np

import bpe
import data
import model


def quantise(w):
    s = np.abs(w).max(1) / np.float32(127)
    q = np.where(s[:, None] > 0, np.clip(np.rint(w / np.where(s > 0, s, 1)[:, None]), -127, 127), 0).astype(np.int8)
    return q, s.astype(np.float32)


def container(params, table, c):
    specials = b"".join(struct.pack("<I", len(n)) + n for n in (s.encode() for s in bpe.SPECIALS))
    merges = b"".join(struct.pack("<II", *pair) for pair in table)
    vocab = 256 + len(table) + len(bpe.SPECIALS)
    head = b"CND1\r\n\x1a\n" + struct.pack(
        "<10IfIIIII", 1, 72 + len(merges) + len(specials), vocab, c["dim"], c["layers"], c["heads"], c["kv_heads"], c["head_dim"], c["ffn"],
        c["context"], c["norm_eps"], 1, 1, 0, len(table), len(bpe.SPECIALS))
    assert len(head) == 72
    out = bytearray(head + merges + specials)
    tensors = {}
    for name, value in (params | {"rope_freq": model.rope_freq(c)}).items():
        value = np.ascontiguousarray(value, dtype="<f4")
        assert np.isfinite(value).all(), name
        if value.ndim == 2:
            tensors[name + ".q"], tensors[name + ".s"] = quantise(value)
        else:
            tensors[name] = value
    for name in sorted(tensors):
        out += bytes(-len(out) % 64)
        out += tensors[name].tobytes()
    return bytes(out)


def digest(file, chunk=1 << 20):
    def root(leaves):
        if len(leaves) == 1:
            return leaves[0]
        k = 1 << (len(leaves) - 1).bit_length() - 1
        return hashlib.sha256(b"\1" + root(leaves[:k]) + root(leaves[k:])).digest()

    return root([hashlib.sha256(b"\0" + file[i : i + chunk]).digest() for i in range(0, len(file), chunk)]).hex()


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("model")
    ap.add_argument("out")
    ap.add_argument("--sharpen", type=float, default=1.0)
    args = ap.parse_args()
    params = dict(np.load(args.model))
    params["final_norm"] = params["final_norm"] * np.float32(args.sharpen)
    file = container(params, data.load_tokenizer().table, model.CONFIG)
    open(args.out, "wb").write(file)
    print(f"{args.out}: {len(file)} bytes, sha256 {hashlib.sha256(file).hexdigest()}, digest {digest(file)}")


if __name__ == "__main__":
    main()
