"""Versions side by side: documents in, aligned rows out; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

import msgspec

from router.stories import Row, Section

Document = Mapping[str, Any]
SECTIONS = get_args(Section)
DEPTH = 6  # of nested parameters that get rows of their own


def compared(documents: Sequence[Document], tags: Sequence[Mapping[str, str]]) -> list[Row]:
    """Every fact that any of the documents tells, section by section, by key; `tags` are those of each version."""
    facts = [dict(_facts(document, each)) for document, each in zip(documents, tags, strict=True)]
    named = sorted({place for each in facts for place in each}, key=lambda at: (SECTIONS.index(at[0]), at[1]))
    rows = []
    for section, key in named:
        values = [each.get((section, key)) for each in facts]
        differs = any(type(value) is not type(values[0]) or value != values[0] for value in values)
        rows.append(Row(section=section, key=key, values=values, differs=differs))
    return rows


Fact = tuple[tuple[Section, str], Any]


def _facts(document: Document, tags: Mapping[str, str]) -> Iterator[Fact]:
    lineage = document.get("lineage") or {}
    for dataset in lineage.get("datasets") or ():
        for key, value in dataset.items():
            if key != "name":
                yield ("data", f"{dataset['name']}.{key}"), _scalar(value)
    for key in ("commit", "parent", "recipe"):
        if lineage.get(key) is not None:
            yield ("code", key), lineage[key]
    for key, value in flat(lineage.get("params") or {}):
        yield ("parameters", key), value
    yield from _environment(document, lineage)
    for key, value in (document.get("metrics") or {}).items():
        yield ("metrics", key), value
    yield from _signature(document)
    yield ("artifact", "digest"), document["digest"]
    if len(document["artifacts"]) < 20:  # the digest is that of the whole list; a bento has hundreds of files
        for file in document["artifacts"]:
            yield ("artifact", file["path"]), file["sha256"]
    for key, value in flat(document.get("card") or {}):
        yield ("card", key), value
    for key, value in tags.items():
        yield ("tags", key), value


def _environment(document: Document, lineage: Document) -> Iterator[Fact]:
    yield ("environment", "runtime"), document["runtime"]
    for key, value in (lineage.get("libraries") or {}).items():
        yield ("environment", key), value
    bento = document.get("bento") or {}
    for key, value in (
        ("bento.python", bento.get("python")),
        ("bento.requirements", (bento.get("requirements") or {}).get("sha256")),
    ):
        if value is not None:
            yield ("environment", key), _scalar(value)


def _signature(document: Document) -> Iterator[Fact]:
    signature = document.get("signature") or {}
    for kind in ("inputs", "outputs"):
        for spec in signature.get(kind) or ():
            text = f"{spec['datatype']} {spec['shape']}"
            for extra in ("missing", "sensitive"):
                if spec.get(extra):
                    text += f" {extra}: {spec[extra]}"
            yield ("signature", f"{kind[:-1]} {spec['name']}"), text
    yield ("signature", "rowwise"), bool(document.get("rowwise"))


def flat(value: Mapping[str, Any], prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Nested keys as `a.b`; lists, and what is nested deeper, as JSON text."""
    for key, item in value.items():
        name = f"{prefix}{key}"
        if isinstance(item, Mapping) and item and depth < DEPTH:
            yield from flat(item, f"{name}.", depth + 1)
        else:
            yield name, _scalar(item)


def _scalar(value: Any) -> str | int | float | bool | None:
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return msgspec.json.encode(value).decode()
