"""What this host is asked to run: from the registry, kept in a file for when that is away; runs nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
import orjson
import structlog

from router.agent import snapshot
from router.agent.follow import News
from router.agent.plan import Key
from router.quarantine import put_aside
from router.registry.registry import Registry

FORMAT = 1
"""Raised when an older agent would misread the file."""

_log = structlog.get_logger()


class _Stored(msgspec.Struct):
    desired: dict[str, dict[str, Annotated[int, msgspec.Meta(ge=0)]]]
    documents: list[dict[str, Any]]
    format: int = 1

    def by_key(self) -> dict[Key, dict[str, Any]]:
        """The documents by version; KeyError or TypeError where one names none, or a wanted one is missing."""
        found = {(str(each["model"]), str(each["version"])): each for each in self.documents}
        for model, versions in self.desired.items():
            for version in versions:
                _ = found[model, version]["digest"]
        return found


class Desire:
    """`wanted` is None until it is known: nothing may be stopped, nor started, before."""

    def __init__(self, path: Path, registry: Registry) -> None:
        self._path = path
        self._registry = registry
        self._documents: dict[Key, dict[str, Any]] = {}
        self.wanted: dict[Key, int] | None = None
        self._unsaved = False

    def document(self, key: Key) -> dict[str, Any]:
        """The version document of a wanted version."""
        return self._documents[key]

    def recall(self) -> bool:
        """Takes what the file says; False where there is none, or a broken one, which is put aside."""
        try:
            found = msgspec.json.decode(self._path.read_bytes(), type=_Stored)
            if found.format > FORMAT:
                raise ValueError(f"it is of format {found.format}, this version reads up to {FORMAT}")
            self._documents = found.by_key()
        except FileNotFoundError:
            return False
        except (ValueError, KeyError, TypeError, RecursionError, OSError) as error:
            put_aside(self._path, f"it cannot be read: {type(error).__name__}: {error}")
            return False
        self.wanted = {
            (model, version): number
            for model, versions in found.desired.items()
            for version, number in versions.items()
        }
        return True

    async def take(self, news: News) -> set[Key]:
        """Follows the registry; gives the versions whose number changed. Raises redis' own errors."""
        before = dict(self.wanted or {})
        after = dict(before)
        for state in news.models:
            theirs = {(state.model, version): number for version, number in state.desired.items()}
            if news.behind:  # only ever more: nobody took back what a fallen-back Redis has not
                after |= {key: max(number, after.get(key, 0)) for key, number in theirs.items()}
                continue
            ours = {key for key in before if key[0] == state.model}
            if ours and not theirs and not await self._registry.exists(state.model):
                # Nobody asked to stop these: the registry has lost the model altogether.
                _log.error("model_lost_by_registry", model=state.model)
                continue
            for key in ours - theirs.keys():
                del after[key]
            after |= theirs
        changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
        if changed or self.wanted is None:
            await self._fetch(after)
            self.wanted = after
            self._unsaved = True
        if self._unsaved:
            self._remember()
        return changed

    async def _fetch(self, wanted: dict[Key, int]) -> None:
        missing = [key for key in wanted if key not in self._documents]
        found = await self._registry.version_documents(missing)
        self._documents |= {key: orjson.loads(body) for key, body in found.items()}
        for key in [key for key in self._documents if key not in wanted]:
            del self._documents[key]
        for key in [key for key in wanted if key not in self._documents]:
            _log.error("version_without_document", model=key[0], version=key[1])
            del wanted[key]

    def _remember(self) -> None:
        desired: dict[str, dict[str, int]] = {}
        for (model, version), number in (self.wanted or {}).items():
            desired.setdefault(model, {})[version] = number
        document = {"format": FORMAT, "desired": desired, "documents": list(self._documents.values())}
        try:
            if self._path.is_dir():
                put_aside(self._path, "a folder stands where the wanted replicas belong")
            snapshot.write(self._path, document, durable=True)
        except OSError as error:
            # A full disk. What is wanted is done all the same, and written with the next news.
            _log.error("desired_not_written", error=str(error))
            return
        self._unsaved = False
