"""A service whose orjson is older than the gateway's: says which one it runs on, so that mixing them shows."""

from __future__ import annotations

from typing import Any

import bentoml
import pydantic


class Versions(pydantic.BaseModel):
    """The orjson in this process, and the value it read."""

    orjson: str
    value: Any


@bentoml.service(name="conflict", workers=1, traffic={"timeout": 30})
class Conflict:
    """Reads JSON with its own orjson."""

    def __init__(self) -> None:
        # Imported here, not above: `bentoml build` imports this module where another version is installed.
        import orjson

        self._orjson = orjson

    @bentoml.api
    def read(self, text: str = "null") -> Versions:
        """Parses `text` as JSON."""
        try:
            value = self._orjson.loads(text)
        except ValueError as error:
            raise bentoml.exceptions.InvalidArgument(f"text: {error}") from None
        return Versions(orjson=self._orjson.__version__, value=value)
