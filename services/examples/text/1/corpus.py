"""Generates the corpus: short product reviews with a sentiment, the same on every machine; reads no file."""

from __future__ import annotations

import random
from typing import Final

SEED: Final = 1
PER_LABEL: Final = 400
LABELS: Final = ("negative", "positive")

OPENINGS: Final = ("the", "this", "my new", "their", "our second")
THINGS: Final = ("kettle", "lamp", "phone", "chair", "printer", "bicycle", "backpack", "keyboard", "tent")
VERBS: Final = ("is", "was", "turned out", "feels", "remains")
ADVERBS: Final = ("really", "quite", "simply", "rather", "so")
WORDS: Final = {
    "negative": ("awful", "broken", "useless", "noisy", "flimsy", "disappointing", "terrible", "slow"),
    "positive": ("excellent", "reliable", "lovely", "sturdy", "quiet", "wonderful", "perfect", "fast"),
}
ENDINGS: Final = {
    "negative": ("I want my money back", "avoid it", "it failed after a week", "I regret buying it"),
    "positive": ("I would buy it again", "I recommend it", "worth every penny", "we use it every day"),
}


def reviews() -> tuple[list[str], list[str]]:
    """PER_LABEL texts a label, shuffled, and their labels."""
    chance = random.Random(SEED)
    pairs = [(review(label, chance), label) for label in LABELS for _ in range(PER_LABEL)]
    chance.shuffle(pairs)
    return [text for text, _ in pairs], [label for _, label in pairs]


def review(label: str, chance: random.Random) -> str:
    """One text of this label."""
    start = f"{chance.choice(OPENINGS)} {chance.choice(THINGS)} {chance.choice(VERBS)}"
    said = f"{chance.choice(ADVERBS)} {chance.choice(WORDS[label])}"
    return f"{start} {said}, {chance.choice(ENDINGS[label])}"
