"""A model card from a version's document and what was added to it: Markdown, or a page of HTML; pure.

All that people wrote is text: HTML escapes it, Markdown escapes what would be markup.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from jinja2 import Environment, StrictUndefined

from router.catalog.addenda import Addenda
from router.catalog.compare import flat

Format = Literal["markdown", "html"]
CARD = ("owner", "purpose", "limits", "riskTier")
MARKUP = re.compile(r"([\\`*_{}\[\]()#+!|<>~-])")

HTML = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ model }} {{ version }}</title>
<style>
body { font: 16px/1.5 sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; }
th, td { text-align: left; padding: .2rem .8rem .2rem 0; vertical-align: top; }
td { overflow-wrap: anywhere; }
</style></head><body>
<h1>{{ model }}, version {{ version }}</h1>
{%- for title, rows in sections %}
<h2>{{ title }}</h2>
<table>
{%- for name, value in rows %}
<tr><th scope="row">{{ name }}</th><td>{{ value }}</td></tr>
{%- endfor %}
</table>
{%- endfor %}
</body></html>
"""
MARKDOWN = """# {{ model | md }}, version {{ version | md }}
{% for title, rows in sections %}
## {{ title }}

| | |
|---|---|
{% for name, value in rows -%}
| {{ name | md }} | {{ value | md }} |
{% endfor -%}
{% endfor -%}
"""


def escaped(value: object) -> str:
    """Text as Markdown shows it: no markup, on one line."""
    return MARKUP.sub(r"\\\1", " ".join(str(value).split())).replace("&", "&amp;")


def _environment(escape: bool) -> Environment:
    made = Environment(autoescape=escape, undefined=StrictUndefined, keep_trailing_newline=True)
    made.filters["md"] = escaped
    return made


TEMPLATES = {
    "html": _environment(True).from_string(HTML),
    "markdown": _environment(False).from_string(MARKDOWN),
}


def render(document: Mapping[str, Any], addenda: Addenda, aliases: list[str], form: Format) -> str:
    """The card of a version."""
    return TEMPLATES[form].render(
        model=document["model"],
        version=document["version"],
        sections=[(title, rows) for title, rows in _sections(document, addenda, aliases) if rows],
    )


Section = tuple[str, list[tuple[str, object]]]


def _sections(document: Mapping[str, Any], addenda: Addenda, aliases: list[str]) -> list[Section]:
    card, lineage = document.get("card") or {}, document.get("lineage") or {}
    signature = document.get("signature") or {}
    datasets = lineage.get("datasets") or ()
    about = [
        ("Owner", card.get("owner")),
        ("Intended use", card.get("purpose")),
        ("Limits", card.get("limits")),
        ("Risk tier", card.get("riskTier")),
        *((name, value) for name, value in flat(card) if name not in CARD),
    ]
    identity = [
        ("SHA-256", document["digest"]),
        ("Runtime", document["runtime"]),
        ("Registered", (document.get("registered") or {}).get("time")),
        ("Registered by", (document.get("registered") or {}).get("actor")),
        ("Aliases", ", ".join(aliases) or None),
        ("Tags", ", ".join(f"{name}={value}" for name, value in addenda.tags.items()) or None),
    ]
    tensors = [
        (f"{kind} {spec['name']}", f"{spec['datatype']} {spec['shape']}")
        for kind in ("input", "output")
        for spec in signature.get(f"{kind}s") or ()
    ]
    made = [
        ("Commit", lineage.get("commit")),
        ("Recipe", lineage.get("recipe")),
        ("Parent", lineage.get("parent")),
        *((f"parameter {name}", value) for name, value in flat(lineage.get("params") or {})),
        *((f"library {name}", value) for name, value in (lineage.get("libraries") or {}).items()),
    ]
    data = [(dataset["name"], _dataset(dataset)) for dataset in datasets]
    notes = [(f"{note.time[:16].replace('T', ' ')} {note.actor}", note.text) for note in addenda.notes]
    return [
        ("About", _told(about)),
        ("Metrics", list((document.get("metrics") or {}).items())),
        ("Signature", list(tensors)),
        ("Data", list(data)),
        ("How it was made", _told(made)),
        ("Artifact", _told(identity)),
        ("Notes", list(notes)),
    ]


def _told(rows: list[tuple[str, Any]]) -> list[tuple[str, object]]:
    return [(name, value) for name, value in rows if value is not None]


def _dataset(dataset: Mapping[str, Any]) -> str:
    return "; ".join(f"{name} {value}" for name, value in flat(dataset) if name != "name")
