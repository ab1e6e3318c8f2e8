"""det/1 a second time, from spec/det-1.md and not from the Rust code: model file, text and parameters in, tokens and text out.

    pip install numpy
    python det1.py MODEL.cnd1 "What is a receipt?" [--max-tokens 24] [--temperature-e6 0] [--top-p-e6 1000000] [--top-k 0] [--seed 42]

Prints one JSON line: digest, prompt tokens, answer tokens, text, FNV-1a hash of the logits' bits after the prompt. Slow on purpose: every loop
whose order matters is a loop. Not here: requests, frames, stop strings; hostile files (it asserts, it does not explain).
"""
import argparse
import hashlib
import json
import re
import struct

import numpy as np

F = np.float32
PIECE = re.compile(rb' ?(?:[A-Za-z\x80-\xff]{1,32}|[0-9]|[^A-Za-z0-9\x80-\xff \t\n\r]{1,32})|[ \t\n\r]')


class Model:
    """§1: the container."""

    def __init__(self, data):
        self.digest = merkle([hashlib.sha256(b"\0" + data[i:i + 2**20]).digest() for i in range(0, len(data), 2**20)])
        assert data[:8] == b"CND1\r\n\x1a\n"
        (version, header, self.vocab, self.dim, self.layers, self.heads, self.kv_heads, self.head_dim, self.ffn,
         self.context) = struct.unpack_from("<10I", data, 8)
        self.eps, = np.frombuffer(data, "<f4", 1, 48)
        flags, template, reserved, merges, specials = struct.unpack_from("<5I", data, 52)
        assert (version, template, reserved) == (1, 1, 0) and flags in (0, 1) and self.vocab == 256 + merges + specials
        at = 72
        self.bytes, self.ranks = [bytes([b]) for b in range(256)], {}
        for rank in range(merges):
            pair = struct.unpack_from("<2I", data, at)
            at += 8
            self.bytes.append(self.bytes[pair[0]] + self.bytes[pair[1]])
            self.ranks[pair] = rank
        self.special = {}
        for i in range(specials):
            n, = struct.unpack_from("<I", data, at)
            self.special[data[at + 4:at + 4 + n].decode()] = 256 + merges + i
            at += 4 + n
        assert at == header

        self.tensors = {}
        q, kv, d, f = self.heads * self.head_dim, self.kv_heads * self.head_dim, self.dim, self.ffn
        shapes = {"embed": (self.vocab, d), "final_norm": (d,), "rope_freq": (self.head_dim // 2,)}
        if not flags:
            shapes["lm_head"] = (self.vocab, d)
        for n in range(self.layers):
            for name, shape in dict(attn_k=(kv, d), attn_v=(kv, d), attn_norm=(d,), ffn_norm=(d,), attn_o=(d, q), attn_q=(q, d),
                                    ffn_down=(d, f), ffn_gate=(f, d), ffn_up=(f, d)).items():
                shapes[f"layers.{n:03}.{name}"] = shape
        parts = {}
        for name, shape in shapes.items():
            if len(shape) == 1:
                parts[name] = (shape, "<f4")
            else:
                parts[name + ".q"], parts[name + ".s"] = (shape, "i1"), (shape[:1], "<f4")
        for name in sorted(parts, key=str.encode):
            shape, kind = parts[name]
            start = (at + 63) // 64 * 64
            assert not any(data[at:start])
            count = int(np.prod(shape))
            self.tensors[name] = np.frombuffer(data, kind, count, start).reshape(shape)
            at = start + count * np.dtype(kind).itemsize
        assert at == len(data)
        self.head = "embed" if flags else "lm_head"
        p = np.arange(self.context, dtype=np.float64)[:, None] * self.tensors["rope_freq"].astype(np.float64)
        self.sin, self.cos = (t.astype(F) for t in sin_cos(p))


def merkle(leaves):
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << ((len(leaves) - 1).bit_length() - 1)
    return hashlib.sha256(b"\1" + merkle(leaves[:split]) + merkle(leaves[split:])).digest()


def encode(model, text):
    """§2."""
    out = []
    for piece in PIECE.findall(text.encode()):
        tokens = list(piece)
        while True:
            ranked = [(model.ranks[pair], i) for i, pair in enumerate(zip(tokens, tokens[1:])) if pair in model.ranks]
            if not ranked:
                break
            rank, i = min(ranked)
            tokens[i:i + 2] = [256 + rank]
        out += tokens
    return out


def prompt(model, text):
    """§3, one user message."""
    s = model.special
    return [s["<|begin|>"], s["<|user|>"], *encode(model, text), s["<|end|>"], s["<|assistant|>"]]


def sum16(x):
    lane = np.zeros(16, F)
    for i in range(0, len(x), 16):
        part = x[i:i + 16]
        lane[:len(part)] += part
    for width in (8, 4, 2, 1):
        lane[:width] = lane[:width] + lane[width:2 * width]
    return lane[0]


def exp(x):
    x = np.asarray(x, F)
    b = np.where(x < 88, x, F(88))
    t = b * F(1.44269504) + F(12582912)
    k = t - F(12582912)
    r = (b - k * F(0.693359375)) - k * F(-2.12194440e-4)
    p = np.full_like(r, 1.9875691500e-4)
    for c in (1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1):
        p = p * r + F(c)
    y = ((p * r) * r + r) + F(1)
    return np.where(x >= -87, y * np.ldexp(F(1), np.clip(k, -126, 127).astype(np.int32)), F(0)).astype(F)


def sin_cos(a):
    k = np.floor(a * 0.63661977236758134308 + 0.5)
    r = ((a - k * 1.57079632673412561417) - k * 6.07710050630396597660e-11) - k * 2.02226624879595063154e-21
    z = r * r
    s1, s2, s3, s4, s5, s6 = (-1.66666666666666324348e-01, 8.33333333332248946124e-03, -1.98412698298579493134e-04,
                              2.75573137070700676789e-06, -2.50507602534068634195e-08, 1.58969099521155010221e-10)
    c1, c2, c3, c4, c5, c6 = (4.16666666666666019037e-02, -1.38888888888741095749e-03, 2.48015872894767294178e-05,
                              -2.75573143513906633035e-07, 2.08757232129817482790e-09, -1.13596475577881948265e-11)
    s = r + (r * z) * (s1 + z * (s2 + z * (s3 + z * (s4 + z * (s5 + z * s6)))))
    c = (1 - 0.5 * z) + (z * z) * (c1 + z * (c2 + z * (c3 + z * (c4 + z * (c5 + z * c6)))))
    m = k.astype(np.int64) % 4
    return np.choose(m, [s, c, -s, -c]), np.choose(m, [c, -s, -c, s])


def quantise(x):
    a = np.abs(x).max()
    if a < F(2) ** F(-100):
        return np.zeros(len(x), np.int64), F(0)
    return np.rint(x * (F(127) / a)).astype(np.int64), a / F(127)


def linear(model, name, quantised):
    values, scale = quantised
    acc = model.tensors[name + ".q"].astype(np.int64) @ values
    return acc.astype(F) * (model.tensors[name + ".s"] * scale)


def norm(model, name, x):
    return (x * (F(1) / np.sqrt(sum16(x * x) / F(len(x)) + model.eps))) * model.tensors[name]


def rotate(model, row, position):
    x = row.reshape(-1, 2, model.head_dim // 2)
    c, s = model.cos[position], model.sin[position]
    return np.stack([x[:, 0] * c - x[:, 1] * s, x[:, 1] * c + x[:, 0] * s], 1).reshape(-1, model.head_dim)


def forward(model, cache, token):
    """§5: the logits after `token`; `cache` holds (keys, values) of each layer and grows by one."""
    t = model.tensors
    x = t["embed.q"][token].astype(F) * t["embed.s"][token]
    for n in range(model.layers):
        name = f"layers.{n:03}."
        keys, values = cache.setdefault(n, ([], []))
        h = quantise(norm(model, name + "attn_norm", x))
        q = rotate(model, linear(model, name + "attn_q", h), len(keys))
        keys.append(rotate(model, linear(model, name + "attn_k", h), len(keys)))
        values.append(linear(model, name + "attn_v", h).reshape(-1, model.head_dim))
        out = []
        for g in range(model.heads):
            kv = g // (model.heads // model.kv_heads)
            d = np.zeros(len(keys), F)
            for i in range(model.head_dim):
                d = d + q[g, i] * np.array([key[kv, i] for key in keys])
            e = d * (F(1) / np.sqrt(F(model.head_dim)))
            w = exp(e - e.max())
            z = F(1) / sum16(w)
            o = np.zeros(model.head_dim, F)
            for weight, value in zip(w, values):
                o = o + weight * value[kv]
            out.append(o * z)
        x = x + linear(model, name + "attn_o", quantise(np.concatenate(out)))
        h = quantise(norm(model, name + "ffn_norm", x))
        gate, up = linear(model, name + "ffn_gate", h), linear(model, name + "ffn_up", h)
        x = x + linear(model, name + "ffn_down", quantise((gate / (F(1) + exp(-gate))) * up))
    return linear(model, model.head, quantise(norm(model, "final_norm", x)))


def sample(model, logits, args, n):
    """§6."""
    ids = sorted([*range(len(model.bytes)), model.special["<|end|>"]], key=lambda i: (-logits[i], i))
    if args.temperature_e6 == 0:
        return ids[0]
    ids = ids[:args.top_k or None]
    weights = exp((logits[ids] - logits[ids[0]]) / (F(args.temperature_e6) / F(1000000)))
    cum, total = [], 0.0
    for weight in weights:
        total += float(weight)
        cum.append(total)
    if args.top_p_e6 < 1000000:
        enough = total * (args.top_p_e6 / 1000000)
        cum = cum[:next(i for i, c in enumerate(cum) if c >= enough) + 1]
    seed = args.seed.to_bytes(32, "big", signed=True)
    u = int.from_bytes(hashlib.sha256(b"candor/sample/1" + seed + n.to_bytes(8, "big")).digest()[:8], "big") >> 11
    target = u * 2.0**-53 * cum[-1]
    return ids[next((i for i, c in enumerate(cum) if c > target), len(cum) - 1)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("text")
    parser.add_argument("--max-tokens", type=int, default=24)
    for name, default in (("--temperature-e6", 1000000), ("--top-p-e6", 1000000), ("--top-k", 0), ("--seed", 0)):
        parser.add_argument(name, type=int, default=default)
    args = parser.parse_args()
    model = Model(open(args.model, "rb").read())
    tokens, cache, answer = prompt(model, args.text), {}, []
    for token in tokens:
        logits = forward(model, cache, token)
    fnv = 0xcbf29ce484222325
    for bits in logits.view(np.uint32):
        fnv = (fnv ^ int(bits)) * 0x100000001b3 % 2**64
    while len(answer) < args.max_tokens:
        token = sample(model, logits, args, len(answer))
        if token == model.special["<|end|>"]:
            break
        answer.append(token)
        logits = forward(model, cache, token)
    text = b"".join(model.bytes[token] for token in answer).decode(errors="replace")
    print(json.dumps(dict(digest=model.digest.hex(), prompt=tokens, tokens=answer, text=text, logits=f"{fnv:016x}")))


if __name__ == "__main__":
    main()
