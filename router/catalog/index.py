"""The index of all versions in SQLite: filled from what the registry holds, asked by searches; never the truth.

It lives in memory and is made anew with the process. One thread at a time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from router.catalog.facts import PARENT, Fact, document_facts
from router.catalog.query import Condition
from router.catalog.shelf import Summary, summary

SCHEMA = """
CREATE TABLE versions (id INTEGER PRIMARY KEY, model TEXT, place TEXT, version TEXT, document BLOB,
  UNIQUE (model, place));
CREATE TABLE facts (name TEXT, version INTEGER, n INTEGER, number REAL, text TEXT,
  PRIMARY KEY (name, version, n)) WITHOUT ROWID;
CREATE TABLE marks (version INTEGER, n INTEGER, name TEXT, number REAL, text TEXT,
  PRIMARY KEY (version, n)) WITHOUT ROWID;
CREATE INDEX marked ON marks (name);
"""


@dataclass(frozen=True, slots=True)
class Found:
    """A page of versions as (model, version, document); `more` says whether there are others behind it."""

    versions: list[tuple[str, str, dict[str, Any]]]
    more: bool


class Index:
    """All versions of all models. Raises sqlite3's errors, which none of our statements should meet."""

    def __init__(self) -> None:
        self._base = sqlite3.connect(":memory:", check_same_thread=False)
        self._base.executescript(SCHEMA)

    def add(self, documents: Iterable[Mapping[str, Any]]) -> None:
        """Takes documents in; one that is there already stays as it is, as documents do."""
        rows: list[tuple[object, ...]] = []
        for document in documents:
            model, version = document["model"], document["version"]
            cursor = self._base.execute(
                "INSERT OR IGNORE INTO versions (model, place, version, document) VALUES (?, ?, ?, ?)",
                (model, place(version), version, orjson.dumps(document)),
            )
            if cursor.rowcount:
                number = cursor.lastrowid
                rows += [(name, number, n, *rest) for n, (name, *rest) in enumerate(document_facts(document))]
        self._base.executemany("INSERT INTO facts VALUES (?, ?, ?, ?, ?)", rows)
        self._base.commit()

    def mark(self, model: str, marks: Mapping[str, Sequence[Fact]]) -> None:
        """Sets what changes about the versions of a model."""
        numbers = dict(
            self._base.execute("SELECT version, id FROM versions WHERE model = ?", (model,)).fetchall()
        )
        self._base.executemany("DELETE FROM marks WHERE version = ?", [(n,) for n in numbers.values()])
        rows = [
            (numbers[version], n, *fact)
            for version, facts in marks.items()
            if version in numbers
            for n, fact in enumerate(facts)
        ]
        self._base.executemany("INSERT INTO marks VALUES (?, ?, ?, ?, ?)", rows)
        self._base.commit()

    def names(self, model: str) -> set[str]:
        """The versions of a model that are in."""
        found = self._base.execute("SELECT version FROM versions WHERE model = ?", (model,))
        return {version for (version,) in found}

    def document(self, model: str, version: str) -> dict[str, Any] | None:
        """A version document."""
        found = self._base.execute(
            "SELECT document FROM versions WHERE model = ? AND place = ?", (model, place(version))
        ).fetchone()
        return None if found is None else orjson.loads(found[0])

    def summaries(self, models: Sequence[str]) -> dict[str, list[Summary]]:
        """Every version of the models, by number."""
        found: dict[str, list[Summary]] = {}
        for model in models:
            rows = self._base.execute(
                "SELECT document FROM versions WHERE model = ? ORDER BY place", (model,)
            )
            found[model] = [summary(document) for (document,) in rows]
        return found

    def search(
        self, condition: Condition, models: Sequence[str] | None, after: tuple[str, str] | None, limit: int
    ) -> Found:
        """Versions by model and version, behind `after`; `models`: none but theirs (None: all)."""
        wanted, parameters = [condition.sql], [*condition.parameters]
        if models is not None:
            wanted.append(f"v.model IN ({', '.join('?' * len(models))})")
            parameters += models
        if after is not None:
            wanted.append("(v.model, v.place) > (?, ?)")
            parameters += [after[0], place(after[1])]
        rows = self._base.execute(
            f"SELECT v.model, v.version, v.document FROM versions v WHERE {' AND '.join(wanted)} "
            "ORDER BY v.model, v.place LIMIT ?",
            (*parameters, limit + 1),
        ).fetchall()
        return Found([(m, v, orjson.loads(document)) for m, v, document in rows[:limit]], len(rows) > limit)

    def with_dataset(self, digest: str, limit: int) -> list[tuple[str, str]]:
        """The versions whose lineage names a data set of this SHA-256."""
        return self._places("dataset.sha256", digest, limit)

    def children(self, model: str, version: str, limit: int = 1_000) -> list[tuple[str, str]]:
        """The versions that name this one as their parent."""
        return self._places(PARENT, f"{model}/{version}", limit)

    def families(self) -> dict[str, list[tuple[str, str]]]:
        """All children by `MODEL/VERSION` of their parent."""
        found: dict[str, list[tuple[str, str]]] = {}
        for parent, model, version in self._base.execute(
            "SELECT f.text, v.model, v.version FROM facts f JOIN versions v ON v.id = f.version "
            "WHERE f.name = ? ORDER BY v.model, v.place",
            (PARENT,),
        ):
            found.setdefault(parent, []).append((model, version))
        return found

    def _places(self, name: str, text: str, limit: int) -> list[tuple[str, str]]:
        return self._base.execute(
            "SELECT DISTINCT v.model, v.version FROM versions v JOIN facts f ON f.version = v.id "
            "WHERE f.name = ? AND f.text = ? ORDER BY v.model, v.place LIMIT ?",
            (name, text, limit),
        ).fetchall()


def place(version: str) -> str:
    """Text by which versions sort: numbers by value, then names."""
    if version.isascii() and version.isdigit():
        return f"0{int(version):063d}.{version}"
    return f"1{version}"
