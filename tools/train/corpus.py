"""The corpus: questions about Candor and their answers, made from corpus/topics.txt and corpus/offdomain.txt.

`load()` expands every template. `Sampler` draws training conversations (one seeded stream). `held_out()` lists the
test questions: whole templates that no training question comes from. `python corpus.py` checks and counts.
"""

import pathlib
import random
import re
import sys
import zlib

HERE = pathlib.Path(__file__).parent / "corpus"

REFUSAL = "I can only talk about how Candor works: receipts, enclaves, payments, the log and verification."

MACROS = {"<what>": "[what is|what's|whats]", "<how>": "[how do i|how can i|how to|how does one|how should i]"}

CONCEPT = [
    "what is {x}", "what's {x}", "whats {x}", "what are {x}", "explain {x}", "explain {x} to me", "tell me about {x}", "define {x}",
    "describe {x}", "{x}", "what does {x} mean", "what is meant by {x}", "can you explain {x}", "could you explain {x} to me",
    "i don't understand {x}", "i want to know about {x}", "what do you mean by {x}", "tell me what {x} is", "say something about {x}",
    "what can you tell me about {x}", "meaning of {x}", "do you know {x}", "and what is {x}", "what about {x}", "give me a definition of {x}",
    "how would you explain {x}", "what is {x} in candor", "what is {x} again", "can you tell me about {x}", "i have a question about {x}",
    "teach me about {x}", "teach me {x}", "i need information on {x}", "give me an overview of {x}", "i'd love to hear about {x}", "let's talk about {x}",
    "i am curious about {x}", "what should i know about {x}", "introduce me to {x}", "an introduction to {x}", "short explanation of {x}", "{x} explained",
    "{x} for beginners", "the basics of {x}", "details on {x}", "i want to learn {x}", "tell me more about {x}", "i want to understand {x}", "help with {x}",
    "in one sentence, what is {x}", "briefly, what is {x}", "what is {x}, please explain", "{x}: what does that mean", "i keep reading about {x}, what is it",
    "could you clarify {x}", "elaborate on {x}", "talk about {x}", "i don't know what {x} is", "someone mentioned {x}, what is that", "question about {x}",
    "can you help me with {x}", "help me with {x}", "i need help with {x}", "what is so special about {x}", "what do you know about {x}", "who or what is {x}",
    "let me learn about {x}", "i am learning about {x}", "name {x}", "give me facts about {x}", "what kind of thing is {x}", "i never understood {x}",
    "make {x} clear to me", "{x} in simple terms", "simply put, what is {x}", "what exactly does {x} mean", "i heard of {x}, but what is it", "{x}?", "{x}, explain",
]
CONCEPT_HELD = [
    "help me understand {x}", "what exactly is {x}", "in simple words, what is {x}", "i have never heard of {x}, what is it",
    "i would like to learn about {x}", "give me a short introduction to {x}", "please clarify {x}", "{x}, what is that",
]
COMMAND = [
    "what does {x} do", "what is {x} for", "what is the command {x}", "explain {x}", "explain the command {x}", "how do i use {x}", "{x}",
    "what is {x}", "when do i use {x}", "what can i do with {x}", "tell me about {x}", "tell me what {x} does", "how does {x} work",
    "why would i run {x}", "describe {x}", "usage of {x}", "what happens if i run {x}", "help with {x}", "what is the use of {x}",
]
COMMAND_HELD = [
    "what happens when i type {x}", "what is the purpose of {x}", "can you describe what {x} is good for", "what will {x} do for me",
    "i ran {x}, what did it do", "please tell me how to use {x}",
]

PREFIXES = [
    "please ", "hey, ", "hi, ", "hello, ", "hey ", "hi ", "hello! ", "hi! ", "ok, ", "ok so ", "so ", "so, ", "well, ", "and ", "quick question: ",
    "question: ", "excuse me, ", "sorry, ", "can you tell me, ", "could you please tell me: ", "i wonder, ", "just curious, ", "hey candor, ",
    "candor, ", "now ", "tell me, ", "please tell me: ", "one more question: ", "q: ", "hi there, ", "good morning, ", "hello candor, ",
]
SUFFIXES = [
    " please", ", please", " thanks", ", thanks", " in candor", " here", " exactly", " then", " by the way", " thank you", " for me", " now", " really", "",
]
SYSTEM = [
    "You are a helpful assistant.", "You are a helpful assistant", "You are Candor's assistant.", "Answer briefly.", "Be concise.", "Answer in English.",
    "You are a friendly assistant. Answer the user's questions.", "You are an AI assistant.", "Answer truthfully.", "Answer the question in one or two sentences.",
    "You are a helpful, honest assistant.", "Be polite and short.", "You answer questions about Candor.", "Respond only to the question.",
]

WORDS = (
    "time year people way day man thing woman life child world school state family student group country problem hand part place case week company system "
    "program question work government number night point home water room mother area money story fact month lot right study book eye job word business issue "
    "side kind head house service friend father power hour game line end member law car city community name president team minute idea kid body information "
    "back parent face others level office door health person art war history party result change morning reason research girl guy moment air teacher force "
    "education good new first last long great little own other old right big high different small large next early young important few public bad same able go "
    "make know take see come think look want give use find tell ask seem feel try leave call keep let begin show hear play run move live believe hold bring "
    "happen write provide sit stand lose pay meet include continue set learn lead understand watch follow stop create speak read allow add spend grow open walk "
    "win offer remember love consider appear buy wait serve die send expect build stay fall cut reach kill remain red green blue yellow purple happy sad angry "
    "fast slow warm cold sweet loud quiet soft hard easy heavy light dark bright very always never often maybe soon today tomorrow yesterday"
).split()

ALT = re.compile(r"\[([^\[\]]*)\]")


def expand(template):
    """All strings of a template: [a|b|] is a choice, nesting allowed."""
    for name, value in MACROS.items():
        template = template.replace(name, value)
    out, todo = [], [template]
    while todo:
        t = todo.pop()
        m = ALT.search(t)
        if not m:
            out.append(re.sub(r" +([,?])", r"\1", re.sub(r" +", " ", t)).strip())
            continue
        todo += [t[: m.start()] + choice + t[m.end() :] for choice in m.group(1).split("|")]
    return sorted(set(out))


def norm(text):
    """What counts as the same question: case, punctuation and spacing do not matter."""
    return " ".join(re.sub(r"[^a-z0-9_/ -]", " ", text.lower()).split())


class Topic:
    def __init__(self, name):
        self.name, self.answer = name, None
        # Groups of strings, one group per template; held: (kind, group).
        self.own, self.framed, self.held = [], [], []

    @property
    def train(self):
        return self.own + self.framed


def bare_forms(text):
    """The question, and what is left of it without a prefix or suffix that `surface` might have put there."""
    forms = {norm(text)}
    for _ in range(2):
        for f in list(forms):
            forms |= {f[len(p) + 1 :] for p in map(norm, PREFIXES) if f.startswith(p + " ")}
            forms |= {f[: -len(s) - 1] for s in map(norm, SUFFIXES) if s and f.endswith(" " + s)}
    return forms


def load():
    topics = []
    for line in (HERE / "topics.txt").read_text().splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        if line.startswith("== "):
            topics.append(Topic(line[3:].strip()))
            continue
        kind, text = line.split(": ", 1)
        topic = topics[-1]
        if kind == "A":
            topic.answer = text.strip()
        elif kind == "T":
            topic.own.append(expand(text))
        elif kind == "H":
            topic.held.append(("topic", expand(text)))
        elif kind in "XC":
            frames, held = (CONCEPT, CONCEPT_HELD) if kind == "X" else (COMMAND, COMMAND_HELD)
            nouns = expand(text)
            if kind == "C":
                nouns += [f"`{n}`" for n in nouns]
            topic.framed += [[f.format(x=n) for n in nouns] for f in frames]
            topic.held += [("frame", [f.format(x=n) for n in nouns]) for f in held]
        else:
            raise SystemExit(f"bad line: {line}")
    # A question must have one answer: drop generated strings that an earlier topic has written out, and keep the test apart from training.
    seen = {}
    for topic in topics:
        for group in topic.train:
            for q in group:
                seen.setdefault(norm(q), []).append(topic.name)
    clashes = {q: set(n) for q, n in seen.items() if len(set(n)) > 1}
    dropped = 0
    for topic in topics:
        groups = []
        for kind, group in topic.held:
            kept = [q for q in group if not any(form in seen for form in bare_forms(q))]
            dropped += len(group) - len(kept)
            if kept:
                groups.append((kind, kept))
        topic.held = groups
    return topics, clashes, dropped


def load_off():
    off = {k: [] for k in ("I", "HI", "F", "HF", "S", "HS")}
    for line in (HERE / "offdomain.txt").read_text().splitlines():
        if line.startswith("#") or not line.strip():
            continue
        kind, text = line.split(": ", 1)
        off[kind] += [s.strip() for s in text.split(";") if s.strip()]
    # The generic frames are used for both, so that only the noun decides.
    off["F"] += CONCEPT + CONCEPT
    return off


def pseudo(rng):
    """A word nobody has seen, so that the model learns to decline what it does not know."""
    onset = ["b", "c", "d", "f", "g", "h", "j", "k", "l", "m", "n", "p", "r", "s", "t", "v", "w", "z", "br", "ch", "cl", "dr", "fl", "gr", "pl", "qu", "sh", "st", "th", "tr", ""]
    nucleus = ["a", "e", "i", "o", "u", "ai", "ea", "ee", "ou", "oo", "y"]
    coda = ["", "", "n", "r", "s", "t", "l", "m", "ck", "nd", "ng", "st", "x", "p", "rd"]
    word = "".join(rng.choice(onset) + rng.choice(nucleus) + rng.choice(coda) for _ in range(rng.choice([1, 2, 2, 3])))
    return rng.choice(["", "", "a ", "the "]) + word


def off_question(rng, off, held=False):
    """One question that is not about Candor."""
    r = rng.random()
    frames, items, whole = (off["HF"], off["HI"], off["HS"]) if held else (off["F"], off["I"], off["S"])
    if held:
        if r < 0.4:
            return rng.choice(whole)
        if r < 0.7:  # a frame from training, an item never seen
            frames = off["F"]
    else:
        if r < 0.2:
            return rng.choice(whole)
        if r < 0.25:
            return " ".join(rng.choice(WORDS) for _ in range(rng.randint(1, 9)))
    text = rng.choice(frames)
    while "{x}" in text:
        item = rng.choice(items)
        if not held:
            q = rng.random()
            item = pseudo(rng) if q < 0.25 else rng.choice(WORDS) if q < 0.4 else item
        text = text.replace("{x}", item, 1)
    return text


WIDE = [
    "what is {a} {n}", "what is the most {j} {n}", "what is the best {n} for my {m}", "who is {p}", "where is {p}", "tell me about {p}", "how do i {v} {a} {n}", "how do i {v} my {n}",
    "how do you {v} {m}s", "why do {n}s {v}", "why is my {n} so {j}", "why is the {n} {j}", "can you {v} my {n}", "can you {v}", "can {a} {n} {v}", "do {n}s {v}", "do you {v}",
    "is it {j} to {v} {a} {n}", "is {a} {n} {j}", "are {n}s {j}", "i want to {v} {a} {j} {n}", "i {v} my {n} every day", "my {n} is {j}", "the {n} is {j}", "{p} and the {j} {n}",
    "write a {j} story about {a} {n} and {a} {m}", "draw {a} {j} {n}", "what is the difference between {a} {n} and {a} {m}", "how many {n}s are in {a} {m}", "how many {n}s does {p} have",
    "which {n} is {j}", "which {n} should i {v}", "who invented the {n}", "when was the {n} invented", "when did {p} {v}", "where can i {v} {a} {n}", "where do {n}s {v}", "what does {n} mean",
    "what is {n}", "what are {n}s", "define {n}", "explain {n}", "{n}", "{n}s", "{j} {n}", "{n} {m}", "{p}", "{v} the {n}", "{v} {a} {n} for me", "please {v} the {j} {n}", "help me {v} {a} {n}",
    "give me a {j} {n}", "give me tips to {v} {m}s", "what do {n}s eat", "what happens if i {v} {a} {n}", "what is inside {a} {n}", "what is {a} {n} made of", "how does {a} {n} work", "how {j} is {a} {n}",
    "i need {a} {n}", "i have {a} {j} {n}", "i saw {a} {n} in {p}", "what is the capital of {p}", "what is the weather in {p}", "how far is {p} from {m} street", "who won in {p}", "is {p} {j}",
    "should i {v} or {w}", "is it better to {v} or to {w}", "to {v} or to {w}", "what's your favourite {n}", "do you like {n}s", "name a {j} {n}", "what rhymes with {n}", "translate {n} to french",
    "spell {n}", "the history of the {n}", "what is the price of {a} {n}", "how much is {a} {n}", "can i {v} with {a} {n}", "what can i do with {a} {n}", "what is {a} {n} for", "who needs {a} {n}",
    "who has {a} {n}", "where is the {n}", "the {n} and the {m}", "{j}", "{v}", "i am {j}", "you are {j}", "why are you {j}", "are you {j}", "he is a {j} {n}", "she will {v} the {n}",
]


def load_wide(held):
    """Word lists of corpus/wide.txt without anything the test uses."""
    lists = {}
    for line in (HERE / "wide.txt").read_text().splitlines():
        if not line.startswith("#") and line.strip():
            kind, text = line.split(": ", 1)
            lists[kind] = sorted(set(text.split("; ") if kind == "S" else text.split()) - held)
    return lists


def wide_question(rng, wide):
    if rng.random() < 0.15:
        return rng.choice(wide["S"])
    text = rng.choice(WIDE)
    noun = lambda: pseudo(rng).split()[-1] if rng.random() < 0.15 else rng.choice(wide["N"])
    n = noun()
    for slot, word in (("{n}", n), ("{m}", noun()), ("{v}", rng.choice(wide["V"])), ("{w}", rng.choice(wide["V"])), ("{j}", rng.choice(wide["A"])), ("{p}", rng.choice(wide["P"]))):
        text = text.replace(slot, word)
    return text.replace("{a}", rng.choice(["a", "a", "the", "my", "an" if n[0] in "aeiou" else "a"]))


NEAR = {a: b for a, b in zip("qwertyuiopasdfghjklzxcvbnm", "wertyuioplsdfghjklkxcvbnmn")}


def typo(text, rng):
    spots = [m for m in re.finditer(r"[a-z]{4,}", text)]
    if not spots:
        return text
    m = rng.choice(spots)
    i = rng.randrange(m.start() + 1, m.end() - 1)
    kind = rng.randrange(4)
    if kind == 0:
        return text[:i] + text[i + 1] + text[i] + text[i + 2 :]
    if kind == 1:
        return text[:i] + text[i + 1 :]
    if kind == 2:
        return text[:i] + text[i] + text[i:]
    return text[:i] + NEAR[text[i]] + text[i + 1 :]


def surface(text, rng, noise=1.0, shout=0.06, typos=0.25):
    """The same question as people type it: prefix, suffix, case, punctuation, typos."""
    if rng.random() < 0.3 * noise:
        text = rng.choice(PREFIXES) + text
    if rng.random() < 0.12 * noise and not text.endswith("?"):
        text += rng.choice(SUFFIXES)
    r = rng.random()
    if r < typos * noise:
        text = typo(text, rng)
        if r < typos / 5 * noise:
            text = typo(text, rng)
    r = rng.random()
    if not text.endswith("?"):
        text += "?" if r < 0.55 else "" if r < 0.88 else rng.choice([".", "??", " ?", "!", "...", "?!"])
    r = rng.random()
    if r < 0.55:
        text = text[:1].upper() + text[1:]
    elif r < 0.55 + shout / 2:
        text = text.upper()
    elif r < 0.55 + shout:
        text = text.title()
    if rng.random() < 0.15:
        for a, b in (("candor", "Candor"), ("tee", "TEE"), (" i ", " I "), ("openai", "OpenAI"), ("toml", "TOML"), ("eip", "EIP")):
            text = re.sub(rf"\b{a}\b" if a.strip() == a else a, b, text)
    elif rng.random() < 0.6:
        text = text.replace("candor", "Candor").replace(" i ", " I ").replace("`Candor", "`candor")
    return text


# General English, not written for any topic: another way to say the same. Each match is rewritten with probability 0.4.
REWRITES = [(re.compile(a), b.split("|")) for a, b in [
    (r"^(?:how do i|how can i|how to|how should i|how does one) ", "how can i |how might i |how would i |how does one |what is the way to |what's the best way to |i'd like to know how to |teach me how to |i need to |i would like to |i am trying to |steps to |is there a way to |how do you |how is one supposed to |explain how to |where do i learn to |which steps are needed to "),
    (r"^(?:what is|what's|whats|what are) ", "what would be |do you know what is |so what is |tell me what is |what might be |any idea what is |i wonder what is |what's |what is |what are |i need to know what is |remind me what is |and what exactly would be |explain what is "),
    (r"^(what|which|who|where|when) ", r"tell me \1 |do you know \1 |i wonder \1 |please say \1 |any idea \1 |i forgot \1 |explain \1 |i want to know \1 |could you tell me \1 |i'm not sure \1 "),
    (r"^(?:can|could) i ", "could i |am i able to |may i |is it allowed to |would i be able to |do i get to |is there a way to |can one |can we |can a client "),
    (r"^(?:can|could|would|will) ", "could |can |would |will |might |may |how could |is there a risk that |in theory, can "),
    (r"^why ", "how come |for which reason |what is the reason |tell me why |why exactly |why on earth |explain why "),
    (r"^(?:is|are) ", "is |are |would you say that |tell me if |i wonder if |do you think that |could it be that "),
    (r"^(?:does|do) ", "does |do |will |would |tell me if |i wonder if |did |i need to know if "),
    (r"\b(?:must i|should i|do i need to|do i have to)\b", "must i|should i|do i need to|do i have to|ought i to|am i supposed to"),
    (r"\b(?:what|which)\b", "what|which"), (r"\b(?:the|a|an|my|this)\b", "the|a|my|this|that|any|your|one|some|"),
    (r"\bmy\b", "my|our|a user's|the client's|someone's"), (r"\bi\b", "i|we|one|you|people|a client|a user"),
    (r"\b(?:contain|include|list)\b", "contain|include|list|hold|carry|consist of|have inside"), (r"\bstart\b", "start|launch|begin|boot|bring up"),
    (r"\b(?:make|create)\b", "make|create|produce|generate|build"), (r"\b(?:show|print)\b", "show|print|display|output"), (r"\bsee\b", "see|view|look at|observe"),
    (r"\b(?:get|find)\b", "get|find|obtain|locate|fetch|receive"), (r"\b(?:check|verify)\b", "check|verify|validate|test|confirm"), (r"\bcheck\b", "check|examine|inspect|test"),
    (r"\b(?:change|alter|edit)\b", "change|alter|edit|modify|manipulate|tamper with"), (r"\b(?:forge|fake)\b", "forge|fake|counterfeit|make up"),
    (r"\b(?:happens)\b", "happens|occurs|goes on|takes place"), (r"\b(?:need|needed)\b", "need|require|needed|required|necessary"), (r"\buse\b", "use|run|work with|employ"),
    (r"\b(?:people|someone|somebody|anyone)\b", "people|someone|somebody|anyone|strangers|other users|anybody|outsiders|everybody"), (r"\bmoney\b", "money|funds|coins|cash"),
    (r"\b(?:work|works)\b", "work|works|function|operate"), (r"\b(?:purpose|use|point) of\b", "purpose of|use of|point of|reason for|idea of|role of"), (r"\bsupport(?:ed)?\b", "support|supported|accepted|allowed|possible"),
    (r"\b(?:big|large|bigger|larger)\b", "big|large|bigger|larger|huge|real"), (r"\b(?:safe|secure|private)\b", "safe|secure|private|protected|confidential"), (r"\bdifference between\b", "difference between|distinction between|contrast of"),
    (r"\bcrashes\b", "crashes|dies|fails|breaks down|goes away|stops"), (r"\b(?:written in|made in|built with)\b", "written in|made in|built with|coded in|programmed in|done in"),
]]
STOP = set("a an the to is are do does can could i my me you it this that be am please will would your".split())
FILLERS = "actually really just exactly basically maybe like simply then now again even still honestly currently usually".split()


def rewrite(text, rng):
    """A looser form of a question: general rewritings, a dropped or an added word, now and then only its content words."""
    r = rng.random()
    if r < 0.12:
        words = [w for w in text.split() if w not in STOP]
        if 3 <= len(words):
            if rng.random() < 0.5:
                rng.shuffle(words)
            return " ".join(words)
    if r < 0.65:
        for pattern, choices in REWRITES:
            if rng.random() < 0.4 and pattern.search(text):
                text = pattern.sub(rng.choice(choices), text, count=1)
        text = re.sub(r" +", " ", text).strip()
    words = text.split()
    if len(words) > 2 and rng.random() < 0.08:
        words.insert(rng.randint(1, len(words) - 1), rng.choice(FILLERS))
    if len(words) > 3 and rng.random() < 0.08:
        spots = [i for i, w in enumerate(words) if w in STOP]
        if spots:
            words.pop(rng.choice(spots))
    return " ".join(words)


class Sampler:
    """Training conversations: [(role, text), ...] ending in the assistant's answer."""

    def __init__(self, seed, stage=1):
        """Stage 2 declines more kinds of questions (corpus/wide.txt), more often, and makes fewer typos."""
        self.stage, self.off_share, self.typos = (1, 0.18, 0.25) if stage == 1 else (2, 0.4, 0.14)
        self.rng = random.Random(seed)
        self.topics, clashes, _ = load()
        if clashes:
            raise SystemExit(f"one question, two answers: {clashes}")
        self.off = load_off()
        words = {w for x in self.off["HI"] for w in x.split()} | set(self.off["HS"])
        self.wide = load_wide(words)
        self.held = {norm(q) for t in self.topics for _, g in t.held for q in g} | {norm(q) for q in self.off["HS"]}
        self.known = {norm(q) for t in self.topics for g in t.train for q in g}

    def pair(self):
        rng = self.rng
        while True:
            if rng.random() < self.off_share:
                wide = self.stage == 2 and rng.random() < 0.5
                q, answer = wide_question(rng, self.wide) if wide else off_question(rng, self.off), REFUSAL
                if norm(q) in self.known:
                    continue
            else:
                # Two thirds from the topic's own templates, one third from the generic frames; in a template, every string counts equally.
                topic = rng.choice(self.topics)
                groups = topic.framed if topic.framed and rng.random() < 0.35 else topic.own
                q, answer = rng.choice(rng.choice(groups)), topic.answer
            if q == "candor":  # "hi, candor" is a greeting, not a question: a bare "candor" gets no prefix
                return surface(q, rng, noise=0.0), answer
            looser = rewrite(q, rng)
            if answer != REFUSAL or norm(looser) not in self.known:
                q = looser
            if norm(q) not in self.held:  # no held-out question is ever trained on, however it comes about
                return surface(q, rng, shout=0.1 if self.stage == 1 else 0.14, typos=self.typos), answer

    def conversation(self):
        rng = self.rng
        turns = []
        r = rng.random()
        if r < 0.25:
            turns.append(("system", rng.choice(SYSTEM)))
        n = 2 if rng.random() < 0.12 else 1
        for _ in range(n):
            q, a = self.pair()
            turns += [("user", q), ("assistant", a)]
        return turns


def is_dev(group):
    """A third of the held-out templates is the development set, the rest is the test."""
    return zlib.crc32(group[0].encode()) % 3 == 0


def held_out(part, seed=7, per_template=2, off_count=200):
    """Held-out questions: (topic, question, answer, kind). `part` is "dev" (may be looked at while working on the corpus) or "test".

    Kinds: `topic` (held-out templates written for one answer), `frame` (held-out generic frames), `off` (held-out off-domain questions).
    """
    rng = random.Random(seed)
    topics, _, _ = load()
    off = load_off()
    out = []
    for topic in topics:
        for kind, group in topic.held:
            if is_dev(group) == (part == "dev"):
                for q in rng.sample(group, min(per_template, len(group))):
                    out.append((topic.name, surface(q, rng, noise=0.0), topic.answer, kind))
    for k in ("HI", "HF", "HS"):
        off[k] = [x for i, x in enumerate(off[k]) if (i % 4 == 0) == (part == "dev")]
    seen = {norm(s) for s in off["S"]}
    count = len(seen) + (off_count // 3 if part == "dev" else off_count)
    while len(seen) < count:
        q = off_question(rng, off, held=True)
        if norm(q) not in seen:
            seen.add(norm(q))
            out.append(("off", surface(q, rng, noise=0.0), REFUSAL, "off"))
    return out


def main():
    topics, clashes, dropped = load()
    for q, names in sorted(clashes.items()):
        print("CLASH", q, sorted(names))
    train = {norm(q) for t in topics for g in t.train for q in g}
    print(f"{len(topics)} topics + 1 refusal; training templates {sum(len(t.train) for t in topics)}, distinct questions {len(train)}")
    print(f"held-out templates {sum(len(t.held) for t in topics)}, questions {sum(len(g) for t in topics for _, g in t.held)}, dropped as seen {dropped}")
    print("dev questions", len(held_out("dev")), "test questions", len(held_out("test")), "longest answer", max(len(t.answer) for t in topics))
    if "-v" in sys.argv:
        s = Sampler(1)
        for _ in range(40):
            print(s.conversation())
        for row in held_out("dev")[::25]:
            print(row)
    if clashes:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
