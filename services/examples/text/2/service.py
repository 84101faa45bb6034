"""Version 2 of a text classifier: knows a third label, neutral, and that "not" turns a judgement round."""

from __future__ import annotations

import re
from typing import Annotated, Final

import bentoml
import pydantic
import train
from annotated_types import MaxLen, MinLen

VERSION: Final = "2"
LINK: Final = re.compile(r"https?://\S+|www\.\S+")
SPACE: Final = re.compile(r"\s+")

Texts = Annotated[list[str], MinLen(1), MaxLen(1000)]

# `bentoml build` imports this module before it copies the folder: the model is trained here, once, and kept
# in the bento. A served bento finds the file and trains nothing.
if not train.MODEL.exists():
    train.train()


class Verdict(pydantic.BaseModel):
    """One text's label, the model's probability of it (0…1) and of every label."""

    label: str
    confidence: float
    scores: dict[str, float]


class Answer(pydantic.BaseModel):
    """Verdicts in the order of the texts."""

    version: str
    verdicts: list[Verdict]


class Scores(pydantic.BaseModel):
    """The same by column: one entry a text in each list."""

    label: list[str]
    confidence: list[float]


@bentoml.service(name="text", workers=1, traffic={"timeout": 30})
class Text:
    """Sentiment of short English reviews."""

    def __init__(self) -> None:
        self._model = train.load()
        self._vectorizer = train.vectorizer()

    @bentoml.api
    def classify(self, texts: Texts) -> Answer:
        """A verdict a text."""
        return Answer(version=VERSION, verdicts=self._judge(texts))

    @bentoml.api
    def scores(self, texts: Texts) -> Scores:
        """The verdicts as columns; each row depends on its own text alone."""
        judged = self._judge(texts)
        return Scores(label=[each.label for each in judged], confidence=[each.confidence for each in judged])

    def _judge(self, texts: list[str]) -> list[Verdict]:
        shares = self._model.predict_proba(self._vectorizer.transform([clean(text) for text in texts]))
        labels = [str(label) for label in self._model.classes_]
        return [verdict(dict(zip(labels, row.round(6).tolist(), strict=True))) for row in shares]


def verdict(scores: dict[str, float]) -> Verdict:
    """The likeliest label and all scores."""
    label = max(scores, key=scores.__getitem__)
    return Verdict(label=label, confidence=scores[label], scores=scores)


def clean(text: str) -> str:
    """Lower case, without links, with single spaces."""
    return SPACE.sub(" ", LINK.sub(" ", text.lower())).strip()
