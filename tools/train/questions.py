"""Writes the test for the Rust engine: `python questions.py [test|dev]` makes build/test.json from the held-out questions, corpus/free.txt and corpus/fresh.txt.

Each entry carries the prompt's tokens as our encoder makes them; the evaluation stops if the engine's differ. Kinds: topic, frame, off
(see corpus.held_out), free and fresh (corpus/free.txt, fresh.txt; with "-seen" if the words occur in training), noisy (the first two again with prefixes, typos and odd case), system (again, with a
system message), encode (no answer: odd texts on which only the two encoders are compared).
"""

import json
import random
import sys

import corpus
import data


def main():
    tok = data.load_tokenizer()
    answers = {t.name: t.answer for t in corpus.load()[0]} | {"off": corpus.REFUSAL}
    part = sys.argv[1] if len(sys.argv) > 1 else "test"
    rows = [(k, t, None, q, a) for t, q, a, k in corpus.held_out(part)]
    rng = random.Random(11)
    base = [r for r in rows if r[0] in ("topic", "frame")]
    raw = [(t.name, q) for t in corpus.load()[0] for _, g in t.held if corpus.is_dev(g) == (part == "dev") for q in g]
    for name, q in rng.sample(raw, 500):
        rows.append(("noisy", name, None, corpus.surface(q, rng), answers[name]))
    for _, name, _, q, a in rng.sample(base, 300):
        rows.append(("system", name, rng.choice(corpus.SYSTEM), q, a))
    sampler = corpus.Sampler(1)
    for kind in ("free", "fresh") if part == "test" else ():
        for line in (corpus.HERE / f"{kind}.txt").read_text().splitlines():
            if line and not line.startswith("#"):
                name, q = (s.strip() for s in line.split("|", 1))
                # A natural question may well be one of the training strings: those are counted apart.
                known = any(form in sampler.known for form in corpus.bare_forms(q))
                rows.append((kind + "-seen" if known else kind, name, None, q, answers[name]))
    odd = ["  two  spaces", "tab\tand\nnewline\r\n", "été 日本語 🙂 naïve", "<|end|><|begin|>", "x" * 100, "-" * 70, "1234567890", "don't", " ", "", "a  b", "\u00a0x"]
    for _ in range(200):
        odd.append("".join(rng.choice("ab eX9.,-_\n\t é€🙂candor receipt") for _ in range(rng.randint(1, 60))))
    rows += [("encode", "", None, q, None) for q in odd]
    out = []
    for kind, name, system, question, answer in rows:
        turns = ([("system", system)] if system else []) + [("user", question)]
        out.append(dict(kind=kind, topic=name, system=system, question=question, answer=answer, prompt=tok.prompt(turns)))
    (data.OUT / f"{part}.json").write_text(json.dumps(out))
    print(len(out), "questions")


if __name__ == "__main__":
    main()
