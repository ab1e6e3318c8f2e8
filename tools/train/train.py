"""Trains the model: `python train.py --steps N` reads build/train1.npz, writes build/model.npz and build/train.log.

AdamW, cosine, loss on the answers only. The first part runs in f32, the last part (--quant-from) with int8 fake quantisation of
weights and activations. Every --eval steps it prints the exact match of greedy answers on held-out questions: an answer is
right when every one of its tokens and the end token is the most likely one given the tokens before, which is the same thing.
"""

import argparse
import json
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax

import data
import model


def held_batches(tok, limit, length=128, batch=32):
    held = json.loads((data.OUT / "held.json").read_text())
    if limit and limit < len(held):
        held = [held[i] for i in np.random.default_rng(0).permutation(len(held))[:limit]]
    rows = [(h, *tok.chat([("user", h["question"]), ("assistant", h["answer"])])) for h in held]
    rows = [r for r in rows if len(r[1]) <= length]
    for at in range(0, len(rows), batch):
        part = rows[at : at + batch]
        tokens, mask, segment = (np.zeros((batch, length), np.int32) for _ in range(3))
        for i, (_, ids, m) in enumerate(part):
            tokens[i, : len(ids)], mask[i, : len(ids)], segment[i, : len(ids)] = ids, m, 1
        yield [h for h, _, _ in part], tokens, mask, segment


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--steps", type=int, required=True)
    ap.add_argument("--batch", type=int, default=16)
    ap.add_argument("--lr", type=float, default=2e-3)
    ap.add_argument("--decay", type=float, default=0.1)
    ap.add_argument("--quant-from", type=float, default=0.6, help="share of the steps before fake quantisation starts")
    ap.add_argument("--seed", type=int, default=3)
    ap.add_argument("--eval", type=int, default=500)
    ap.add_argument("--out", default="model")
    ap.add_argument("--data", default="train1.npz")
    ap.add_argument("--init", help="continue from these weights instead of random ones")
    ap.add_argument("--bench", action="store_true")
    args = ap.parse_args()

    c, tok = model.CONFIG, data.load_tokenizer()
    train = np.load(data.OUT / args.data)
    tokens, mask, segment = train["tokens"], train["mask"], train["segment"]
    params = model.init(jax.random.PRNGKey(args.seed), c, tok.vocab)
    if args.init:
        params = {k: jnp.asarray(v) for k, v in np.load(data.OUT / args.init).items()}
    count = sum(v.size for v in params.values())
    rate = optax.warmup_cosine_decay_schedule(0, args.lr, min(200, args.steps // 10), args.steps, args.lr * 0.01)
    adam = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.adamw(rate, b2=0.98, weight_decay=args.decay, mask=lambda p: {k: v.ndim == 2 for k, v in p.items()}),
    )
    state = adam.init(params)

    def loss(p, t, s, pick, target, weight, quant):
        logits = model.forward(p, t[:, :-1], s[:, :-1], c, quant, pick)
        each = optax.softmax_cross_entropy_with_integer_labels(logits, target)
        return (each * weight).sum() / weight.sum()

    def make_step(quant):
        @jax.jit
        def step(p, state, *batch):
            value, grads = jax.value_and_grad(loss)(p, *batch, quant)
            updates, state = adam.update(grads, state, p)
            return optax.apply_updates(p, updates), state, value

        return step

    @jax.jit
    def right(p, t, m, s):
        best = model.forward(p, t[:, :-1], s[:, :-1], c, True).argmax(-1)
        return ((best == t[:, 1:]) | (m[:, 1:] == 0)).all(-1)

    def evaluate(p, limit):
        score = {}
        for held, t, m, s in held_batches(tok, limit):
            for h, ok in zip(held, np.asarray(right(p, t, m, s))):
                n = score.setdefault(h["kind"], [0, 0])
                n[0] += int(ok)
                n[1] += 1
        total = [sum(v[i] for v in score.values()) for i in (0, 1)]
        return f"exact {100 * total[0] / total[1]:.1f} % of {total[1]} (" + ", ".join(f"{k} {100 * a / b:.1f} %" for k, (a, b) in sorted(score.items())) + ")"

    steps = {q: make_step(q) for q in (False, True)}

    def batch_at(rows, rng):
        """A batch; logits are computed only where a token is to be predicted, at most `picks` of them."""
        t, m, s = tokens[rows].astype(np.int32), mask[rows], segment[rows].astype(np.int32)
        picks = 80 * args.batch
        flat = np.flatnonzero(m[:, 1:])
        flat = np.sort(rng.permutation(flat)[:picks])
        pick, weight, target = (np.zeros(picks, d) for d in (np.int32, np.float32, np.int32))
        pick[: len(flat)] = flat
        weight[: len(flat)] = m[:, 1:].ravel()[flat]
        target[: len(flat)] = t[:, 1:].ravel()[flat]
        return t, s, pick, target, weight

    rng = np.random.default_rng(args.seed)
    if args.bench:
        for q in (False, True):
            times = []
            for _ in range(8):
                t0 = time.time()
                params, state, value = steps[q](params, state, *batch_at(rng.integers(0, len(tokens), args.batch), rng))
                value.block_until_ready()
                times.append(time.time() - t0)
            print(f"quant {q}: compile {times[0]:.1f} s, step {min(times) * 1e3:.0f} ms (median {sorted(times)[4] * 1e3:.0f})")
        return

    log = open(data.OUT / f"{args.out}.log", "w")

    def say(text):
        print(text, flush=True)
        print(text, file=log, flush=True)

    say(f"parameters {count}, args {vars(args)}")
    start, order, at, running = time.time(), rng.permutation(len(tokens)), 0, []
    for n in range(args.steps):
        if at + args.batch > len(order):
            order, at = rng.permutation(len(tokens)), 0
        i = order[at : at + args.batch]
        at += args.batch
        quant = n >= args.quant_from * args.steps
        params, state, value = steps[quant](params, state, *batch_at(i, rng))
        running.append(value)
        if (n + 1) % 100 == 0:
            say(f"step {n + 1} loss {float(jnp.stack(running).mean()):.4f} quant {quant} {time.time() - start:.0f} s")
            running = []
        if (n + 1) % args.eval == 0 and n + 1 < args.steps:
            say(f"step {n + 1} {evaluate(params, 320)} {time.time() - start:.0f} s")
            np.savez(data.OUT / f"{args.out}.npz", **{k: np.asarray(v) for k, v in params.items()})
    np.savez(data.OUT / f"{args.out}.npz", **{k: np.asarray(v) for k, v in params.items()})
    say(f"wall {time.time() - start:.0f} s")
    say(f"final {evaluate(params, 0)}")


if __name__ == "__main__":
    main()
