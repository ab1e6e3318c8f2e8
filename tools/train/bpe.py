"""Byte-level BPE exactly as spec/det-1.md section 2: trainer, encoder, decoder, chat template. No dependency."""

import collections
import functools
import re

PIECE = re.compile(rb" ?(?:[A-Za-z\x80-\xff]{1,32}|[0-9]|[^A-Za-z0-9\x80-\xff \t\n\r]{1,32})|[ \t\n\r]")
SPECIALS = ["<|begin|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]


def merge(ids, pair, new):
    out, i = [], 0
    while i < len(ids):
        if i + 1 < len(ids) and (ids[i], ids[i + 1]) == pair:
            out.append(new)
            i += 2
        else:
            out.append(ids[i])
            i += 1
    return out


def train(texts, merges):
    """The merge table of `merges` pairs: most frequent first, ties to the smaller pair."""
    counts = collections.Counter(p for text in texts for p in PIECE.findall(text.encode()))
    words = [[list(piece), n] for piece, n in sorted(counts.items())]
    table = []
    for rank in range(merges):
        pairs = collections.Counter()
        for ids, n in words:
            for pair in zip(ids, ids[1:]):
                pairs[pair] += n
        if not pairs:
            break
        best = min(pairs, key=lambda p: (-pairs[p], p))
        table.append(best)
        for word in words:
            if len(word[0]) > 1:
                word[0] = merge(word[0], best, 256 + rank)
    return table


class Tokenizer:
    def __init__(self, table):
        self.table = [tuple(p) for p in table]
        self.rank = {p: r for r, p in enumerate(self.table)}
        self.bytes = [bytes([b]) for b in range(256)]
        for left, right in self.table:
            self.bytes.append(self.bytes[left] + self.bytes[right])
        self.special = {name: len(self.bytes) + i for i, name in enumerate(SPECIALS)}
        self.vocab = len(self.bytes) + len(SPECIALS)
        self.begin, self.end = self.special["<|begin|>"], self.special["<|end|>"]
        self.piece = functools.lru_cache(maxsize=1 << 16)(self._piece)

    def _piece(self, piece):
        ids = list(piece)
        while len(ids) > 1:
            best = min(zip(ids, ids[1:]), key=lambda p: self.rank.get(p, 1 << 30))
            if best not in self.rank:
                break
            # One replacement at a time, leftmost first, as the spec says.
            i = next(i for i in range(len(ids) - 1) if (ids[i], ids[i + 1]) == best)
            ids[i : i + 2] = [256 + self.rank[best]]
        return tuple(ids)

    def encode(self, text):
        return [t for p in PIECE.findall(text.encode()) for t in self.piece(p)]

    def decode(self, ids):
        return b"".join(self.bytes[i] for i in ids if i < len(self.bytes)).decode(errors="replace")

    def chat(self, turns):
        """Tokens and loss mask of a conversation; without a final answer it ends in <|assistant|>."""
        ids, mask = [self.begin], [0]
        for role, text in turns:
            body = self.encode(text) + [self.end]
            answer = role == "assistant"
            ids += [self.special[f"<|{role}|>"]] + body
            mask += [0] + [int(answer)] * len(body)
        return ids, mask

    def prompt(self, turns):
        return self.chat(turns)[0] + [self.special["<|assistant|>"]]
