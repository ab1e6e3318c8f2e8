"""Trains the tokenizer: `python tokenizer.py` writes build/merges.json (763 merges, 1,024 tokens in all)."""

import json
import pathlib

import bpe
import corpus

MERGES = 763
OUT = pathlib.Path(__file__).parent / "build"


def main():
    sampler = corpus.Sampler(seed=1)
    texts = []
    for _ in range(30000):
        for role, text in sampler.conversation():
            texts.append(text)
    table = bpe.train(texts, MERGES)
    OUT.mkdir(exist_ok=True)
    (OUT / "merges.json").write_text(json.dumps(table))
    tok = bpe.Tokenizer(table)
    lengths = sorted((len(tok.encode(t.answer)) for t in sampler.topics), reverse=True)
    chars = sum(map(len, texts))
    print(f"vocab {tok.vocab}, {chars / sum(len(tok.encode(t)) for t in texts):.2f} characters per token, longest answers {lengths[:8]}")
    for t in sampler.topics:
        assert tok.decode(tok.encode(t.answer)) == t.answer
        if len(tok.encode(t.answer)) > 60:
            print("over 60 tokens:", t.name)


if __name__ == "__main__":
    main()
