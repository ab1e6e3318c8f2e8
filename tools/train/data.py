"""Draws the training conversations and packs them: `python data.py` writes build/train1.npz (--stage 2: train2.npz) and build/held.json."""

import argparse
import json
import pathlib
import random

import numpy as np

import bpe
import corpus

OUT = pathlib.Path(__file__).parent / "build"
LENGTH = 160  # tokens per packed row
FULL = 0.25  # share of conversations whose last answer is whole
CUT = 6  # tokens of the last answer in the others


def load_tokenizer():
    return bpe.Tokenizer(json.loads((OUT / "merges.json").read_text()))


def weigh(mask, first=5, weight=2):
    """The first tokens of an answer decide which answer it is: they count twice in the loss."""
    out, run = [], 0
    for m in mask:
        run = run + 1 if m else 0
        out.append(weight if 0 < run <= first else m)
    return out


def pack(examples, length, rng):
    """Rows of whole conversations: tokens, loss weight (0 where the token is not to be predicted), segment (0 = padding)."""
    order = rng.permutation(len(examples))
    rows, open_rows = [], []  # open_rows: (free, row), best fit among the last 64
    for i in order:
        n = len(examples[i][0])
        fit = [r for r in open_rows if r[0] >= n]
        if fit:
            row = min(fit, key=lambda r: r[0])
        else:
            row = [length, []]
            rows.append(row)
            open_rows.append(row)
            if len(open_rows) > 64:
                open_rows.remove(min(open_rows, key=lambda r: r[0]))
        row[0] -= n
        row[1].append(i)
    tokens = np.zeros((len(rows), length), np.int16)
    mask = np.zeros((len(rows), length), np.int8)
    segment = np.zeros((len(rows), length), np.int8)
    for r, (_, ids) in enumerate(rows):
        at = 0
        for s, i in enumerate(ids):
            t, m = examples[i]
            tokens[r, at : at + len(t)] = t
            mask[r, at : at + len(t)] = m
            segment[r, at : at + len(t)] = s + 1
            at += len(t)
    return tokens, mask, segment


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--count", type=int, default=320000)
    args.add_argument("--seed", type=int, default=2)
    args.add_argument("--stage", type=int, default=1)
    args = args.parse_args()
    tok = load_tokenizer()
    sampler = corpus.Sampler(args.seed, args.stage)
    examples, lost, rng = [], 0, random.Random(args.seed)
    while len(examples) < args.count:
        ids, mask = tok.chat(sampler.conversation())
        if rng.random() > FULL:
            # Three in four conversations end after the first tokens of the last answer: reciting the rest is learned from the others.
            last = len(mask) - mask[::-1].index(0)
            ids, mask = ids[: last + CUT], mask[: last + CUT]
        if len(ids) <= LENGTH:
            examples.append((ids, weigh(mask)))
        else:
            lost += 1
    total = sum(len(t) for t, _ in examples)
    tokens, mask, segment = pack(examples, LENGTH, np.random.default_rng(args.seed))
    np.savez(OUT / f"train{args.stage}.npz", tokens=tokens, mask=mask, segment=segment)
    held = [dict(topic=t, question=q, answer=a, kind=k) for t, q, a, k in corpus.held_out("dev")]
    (OUT / "held.json").write_text(json.dumps(held, indent=0))
    print(f"{len(examples)} conversations ({lost} too long), {total} tokens, mean {total / len(examples):.1f}; "
          f"{len(tokens)} rows of {LENGTH}, {100 * total / tokens.size:.1f} % full; {len(held)} test questions")


if __name__ == "__main__":
    main()
