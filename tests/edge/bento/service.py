"""A user's BentoML service: text, file, stream and task routes; served by the public `bentoml serve`."""

# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import typing as t
from pathlib import Path

import bentoml


@bentoml.service(workers=1, traffic={"timeout": 30})
class Texts:
    """Knows nothing of any gateway."""

    @bentoml.api
    def upper(self, text: str, times: int = 1) -> str:
        """One argument more than needed."""
        return text.upper() * times

    @bentoml.api
    def measure(self, file: Path) -> dict[str, t.Any]:
        """A file goes in."""
        data = file.read_bytes()
        return {"size": len(data), "sum": sum(data) % 65521}

    @bentoml.api
    async def words(self, text: str) -> t.AsyncGenerator[str, None]:
        """A stream comes out."""
        for word in text.split():
            yield f"{word}\n"

    @bentoml.task
    def long(self, text: str) -> str:
        """A task."""
        return text[::-1]
