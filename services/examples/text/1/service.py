"""Version 1 of a text classifier: cleans texts, says positive or negative and how sure it is."""

from __future__ import annotations

import re
from typing import Annotated, Final

import bentoml
import pydantic
import train
from annotated_types import MaxLen, MinLen

VERSION: Final = "1"
LINK: Final = re.compile(r"https?://\S+|www\.\S+")
SPACE: Final = re.compile(r"\s+")

Texts = Annotated[list[str], MinLen(1), MaxLen(1000)]

# `bentoml build` imports this module before it copies the folder: the model is trained here, once, and kept
# in the bento. A served bento finds the file and trains nothing.
if not train.MODEL.exists():
    train.train()


class Verdict(pydantic.BaseModel):
    """One text's label and the model's probability of it, 0…1."""

    label: str
    confidence: float


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
        verdicts = [Verdict(label=label, confidence=share) for label, share in self._judge(texts)]
        return Answer(version=VERSION, verdicts=verdicts)

    @bentoml.api
    def scores(self, texts: Texts) -> Scores:
        """The verdicts as columns; each row depends on its own text alone."""
        judged = self._judge(texts)
        return Scores(label=[label for label, _ in judged], confidence=[share for _, share in judged])

    def _judge(self, texts: list[str]) -> list[tuple[str, float]]:
        shares = self._model.predict_proba(self._vectorizer.transform([clean(text) for text in texts]))
        best = shares.argmax(axis=1)
        labels = self._model.classes_[best].tolist()
        return list(zip(labels, shares.max(axis=1).round(6).tolist(), strict=True))


def clean(text: str) -> str:
    """Lower case, without links, with single spaces."""
    return SPACE.sub(" ", LINK.sub(" ", text.lower())).strip()
