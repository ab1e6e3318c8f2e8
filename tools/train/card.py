"""Writes the model's sidecar: `python card.py CONTAINER EVAL.txt LOG1 LOG2` prints the JSON that lies beside the container."""

import hashlib
import json
import pathlib
import re
import sys

import bpe
import corpus
import data
import export
import model


def main():
    path, report, *logs = map(pathlib.Path, sys.argv[1:])
    file, text = path.read_bytes(), report.read_text()
    digest = export.digest(file)
    assert f"digest {digest}" in text, "the evaluation is of another file"
    exact = {}
    for kind, temperature, right, all_ in re.findall(r"^(\S+) +temperature (\d) (\d+)/(\d+)", text, re.M):
        exact.setdefault(kind, {})[f"temperature_{temperature}"] = dict(right=int(right), of=int(all_), percent=round(100 * int(right) / int(all_), 1))

    def pooled(kinds):
        out = {}
        for t in ("temperature_0", "temperature_1"):
            right, all_ = (sum(exact[k][t][f] for k in kinds) for f in ("right", "of"))
            out[t] = dict(right=right, of=all_, percent=round(100 * right / all_, 1))
        return out

    topics, _, _ = corpus.load()
    log = [p.read_text() for p in logs]
    wall = [int(re.search(r"wall (\d+) s", t).group(1)) for t in log]
    loss = [float(re.findall(r"loss (\S+)", t)[-1]) for t in log]
    params = sum(v["size"] for v in sizes(file).values())
    print(json.dumps({
        "name": "candor-mini-1", "file": "candor-mini-1.cnd1", "bytes": len(file), "digest": digest, "sha256": hashlib.sha256(file).hexdigest(),
        "engine": "det/1", "spec": "spec/det-1.md", "template": "candor-chat/1", "parameters": params,
        "config": model.CONFIG | {"vocab": 256 + 763 + len(bpe.SPECIALS), "merges": 763, "tied_embeddings": True},
        "context_note": "config says 512 tokens; trained on rows of 160 tokens, so prompts and histories beyond about 160 tokens are untested territory",
        "license": "MIT OR Apache-2.0", "training_data": "synthetic, written for this repository: tools/train/corpus", "recipe": "tools/train/README.md",
        "corpus": {
            "answers": len(topics) + 1, "training_templates": sum(len(t.train) for t in topics),
            "distinct_training_questions_before_variation": len({corpus.norm(q) for t in topics for g in t.train for q in g}),
            "held_out_templates": {p: sum(1 for t in topics for _, g in t.held if corpus.is_dev(g) == (p == "dev")) for p in ("dev", "test")},
        },
        "training": {
            "versions": {l.split("==")[0]: l.strip().split("==")[1] for l in open(pathlib.Path(__file__).parent / "requirements.txt") if "==" in l},
            "stages": [
                dict(seed_data=2, seed_weights=3, conversations=320000, steps=3200, batch_rows=16, row_tokens=data.LENGTH, lr=2e-3, fake_quantisation_from=0.7, wall_seconds=wall[0], last_loss=loss[0]),
                dict(seed_data=4, seed_weights=5, conversations=150000, steps=1400, batch_rows=16, row_tokens=data.LENGTH, lr=7e-4, fake_quantisation_from=0.0, wall_seconds=wall[1], last_loss=loss[1]),
            ],
            "logits_sharpened_by": 2,
        },
        "exact_match": {
            "measured_with": "tools/train/eval, the Rust engine, max_tokens 64, whole answer and its end equal to the expected text",
            "held_out_paraphrases": pooled(("topic", "frame")), "by_kind": exact,
            "kinds": {
                "topic": "held-out templates written for one answer", "frame": "held-out generic frames (help me understand X)", "off": "held-out questions about everything else, must get the one refusal",
                "noisy": "held-out questions with typos, prefixes, odd case", "system": "held-out questions with a system message",
                "free": "questions written freely before any model was tested (templates were added later)", "fresh": "questions written freely after the last templates were frozen",
                "free-seen": "those of free whose words occur in training", "fresh-seen": "those of fresh whose words occur in training",
            },
        },
        "limits": [
            "It recites one of 112 trained answers; it does not reason, remember or follow instructions.",
            "It can pick the wrong answer, or answer an off-topic question about Candor instead of declining; its words are not evidence of anything.",
            "English only.",
        ],
    }, indent=2))


def sizes(file):
    """Elements of the float and int8 tensors, by the container's own layout (scales not counted)."""
    c = model.CONFIG
    vocab = int.from_bytes(file[16:20], "little")
    q, kv, d, f = c["heads"] * c["head_dim"], c["kv_heads"] * c["head_dim"], c["dim"], c["ffn"]
    layer = 2 * d * q + 2 * d * kv + 3 * d * f + 2 * d
    return {"embed": {"size": vocab * d}, "norm": {"size": d}, "layers": {"size": layer * c["layers"]}}


if __name__ == "__main__":
    main()
