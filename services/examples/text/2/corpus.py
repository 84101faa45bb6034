"""Generates the corpus: reviews with three sentiments and negations, the same on every machine; reads no file."""

from __future__ import annotations

import random
from typing import Final

SEED: Final = 2
PER_LABEL: Final = 600
LABELS: Final = ("negative", "neutral", "positive")

OPENINGS: Final = ("the", "this", "my new", "their", "our second")
THINGS: Final = ("kettle", "lamp", "phone", "chair", "printer", "bicycle", "backpack", "keyboard", "tent")
VERBS: Final = ("is", "was", "turned out", "feels", "remains")
ADVERBS: Final = ("really", "quite", "simply", "rather", "so")
BAD: Final = ("awful", "broken", "useless", "noisy", "flimsy", "disappointing", "terrible", "slow")
GOOD: Final = ("excellent", "reliable", "lovely", "sturdy", "quiet", "wonderful", "perfect", "fast")
PLAIN: Final = ("average", "ordinary", "acceptable", "standard", "plain", "typical")
ENDINGS: Final = {
    "negative": ("I want my money back", "avoid it", "it failed after a week", "I regret buying it"),
    "neutral": ("nothing more to say", "it does its job", "as described", "time will tell"),
    "positive": ("I would buy it again", "I recommend it", "worth every penny", "we use it every day"),
}
NEGATED: Final = 0.3  # share of reviews that say it by denying the opposite


def reviews() -> tuple[list[str], list[str]]:
    """PER_LABEL texts a label, shuffled, and their labels."""
    chance = random.Random(SEED)
    pairs = [(review(label, chance), label) for label in LABELS for _ in range(PER_LABEL)]
    chance.shuffle(pairs)
    return [text for text, _ in pairs], [label for _, label in pairs]


def review(label: str, chance: random.Random) -> str:
    """One text of this label; some end with nothing but the judgement."""
    start = f"{chance.choice(OPENINGS)} {chance.choice(THINGS)} {chance.choice(VERBS)}"
    text = f"{start} {judgement(label, chance)}"
    return text if chance.random() < 0.5 else f"{text}, {chance.choice(ENDINGS[label])}"


def judgement(label: str, chance: random.Random) -> str:
    """What it says about the thing: straight, or as "not" and the opposite."""
    if label == "neutral":
        return f"{chance.choice(ADVERBS)} {chance.choice(PLAIN)}"
    same, opposite = (GOOD, BAD) if label == "positive" else (BAD, GOOD)
    if chance.random() < NEGATED:
        return f"not {chance.choice(opposite)}"
    return f"{chance.choice(ADVERBS)} {chance.choice(same)}"
