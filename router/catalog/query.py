"""The language of searches: `metrics.auc > 0.9 and tag:fraud` to a condition in SQL with parameters; pure.

expression = term, `not` expression, ( expression ), expression `and` expression, expression `or` expression
term = field operator value | `tag:`NAME | `tag:`NAME=value | FIELD:value (the same as FIELD = value)
Nothing of the text ever becomes part of the SQL: names and values are parameters.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from router.errors import BadInput

CHARS = 1_000
TERMS = 32
DEPTH = 20
TOKEN = re.compile(
    r"""\s*(?:(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<mark>[()]|>=|<=|!=|[=<>~:])|(?P<word>[^\s()<>=!~:"']+))"""
)
FREE = ("metrics", "params", "libraries", "card", "tag", "dataset")
FIELDS = (
    *("model", "version", "digest", "runtime", "owner", "riskTier", "commit", "parent", "recipe", "rowwise"),
    *("registered", "registered_by", "alias", "active", "serves", "deployed", "note"),
)
CHANGING = frozenset({"tag", "alias", "active", "serves", "deployed", "note"})
COMPARE = {"=": "=", "!=": "!=", ">": ">", ">=": ">=", "<": "<", "<=": "<="}


@dataclass(frozen=True, slots=True)
class Condition:
    """For `WHERE`, over the versions `v` of the index."""

    sql: str
    parameters: tuple[str | float, ...]


@dataclass(slots=True)
class _Reading:
    """The tokens, and how far they are read."""

    tokens: list[tuple[str, str, int]]
    at: int = 0
    terms: int = 0
    parameters: list[str | float] = field(default_factory=list)

    def peek(self) -> tuple[str, str, int]:
        """The next token; ("", "", -1) at the end."""
        return self.tokens[self.at] if self.at < len(self.tokens) else ("", "", -1)

    def word(self, *words: str) -> bool:
        """Takes the next token if it is one of these bare words."""
        kind, text, _ = self.peek()
        if kind == "word" and text.lower() in words:
            self.at += 1
            return True
        return False

    def mark(self, *marks: str) -> str | None:
        """Takes the next token if it is one of these."""
        kind, text, _ = self.peek()
        if kind == "mark" and text in marks:
            self.at += 1
            return text
        return None


def parse(text: str) -> Condition:
    """The condition; an empty text holds for all. Raises BadInput `bad_query`, which says where."""
    if len(text) > CHARS:
        raise _bad(f"a search may have {CHARS} characters")
    if not text.strip():
        return Condition("1", ())
    reading = _Reading(_tokens(text))
    sql = _either(reading, 0)
    kind, found, place = reading.peek()
    if kind:
        raise _bad(f"`{found[:40]}` at {place + 1}: expected `and`, `or` or the end")
    return Condition(sql, tuple(reading.parameters))


def _tokens(text: str) -> list[tuple[str, str, int]]:
    found = []
    at = 0
    while at < len(text) and text[at:].strip():
        match = TOKEN.match(text, at)
        if match is None:
            rest = text[at:].lstrip()
            raise _bad(f"`{rest[:20]}` at {len(text) - len(rest) + 1} is not understood")
        kind = match.lastgroup or ""
        found.append((kind, match[kind], match.start(kind)))
        at = match.end()
    return found


def _either(reading: _Reading, depth: int) -> str:
    parts = [_both(reading, depth)]
    while reading.word("or"):
        parts.append(_both(reading, depth))
    return parts[0] if len(parts) == 1 else f"({' OR '.join(parts)})"


def _both(reading: _Reading, depth: int) -> str:
    parts = [_one(reading, depth)]
    while reading.word("and"):
        parts.append(_one(reading, depth))
    return parts[0] if len(parts) == 1 else f"({' AND '.join(parts)})"


def _one(reading: _Reading, depth: int) -> str:
    if depth > DEPTH:
        raise _bad("nested too deeply")
    if reading.word("not"):
        return f"NOT {_one(reading, depth + 1)}"
    if reading.mark("("):
        found = _either(reading, depth + 1)
        if not reading.mark(")"):
            raise _bad("a `)` is missing")
        return found
    return _term(reading)


def _term(reading: _Reading) -> str:
    reading.terms += 1
    if reading.terms > TERMS:
        raise _bad(f"a search may have {TERMS} terms")
    kind, name, place = reading.peek()
    if kind != "word":
        raise _bad(f"`{name or 'the end'}` at {place + 1}: expected a field" if kind else "a term is missing")
    reading.at += 1
    operator = reading.mark(*COMPARE, "~", ":")
    if operator is None:
        raise _bad(f"after `{name[:80]}` comes one of : = != > >= < <= ~")
    if operator == ":" and name == "tag":
        return _tag(reading)
    _known(name)
    value, quoted = _value(reading, name)
    return _fact(reading, name, "=" if operator == ":" else operator, value, quoted)


def _tag(reading: _Reading) -> str:
    """`tag:NAME` is that there is one; `tag:NAME=value` compares."""
    name, _ = _value(reading, "tag:")
    operator = reading.mark(*COMPARE, "~")
    if operator is None:
        reading.parameters.append(f"tag.{name}")
        return "v.id IN (SELECT version FROM marks WHERE name = ?)"
    value, quoted = _value(reading, f"tag:{name}")
    return _fact(reading, f"tag.{name}", operator, value, quoted)


def _known(name: str) -> None:
    head, dot, rest = name.partition(".")
    if name in FIELDS or (head in FREE and dot and rest):
        return
    known = ", ".join([*FIELDS, *(f"{each}.NAME" for each in FREE if each != "tag"), "tag:NAME"])
    raise _bad(f"there is no field `{name[:80]}`; fields: {known}")


def _value(reading: _Reading, after: str) -> tuple[str, bool]:
    kind, text, _ = reading.peek()
    if kind not in ("word", "text"):
        raise _bad(f"after `{after[:80]}` a value is missing")
    reading.at += 1
    if kind == "word":
        while reading.mark(":"):  # times and digests need no quotes
            more, rest, _ = reading.peek()
            if more != "word":
                raise _bad(f"`{text[:40]}:` breaks off: put it in quotes")
            reading.at += 1
            text += f":{rest}"
        return text, False
    return re.sub(r"\\(.)", r"\1", text[1:-1]), True


def _fact(reading: _Reading, name: str, operator: str, value: str, quoted: bool) -> str:
    """That a version has such a fact; `!=` is that it has one, and another."""
    table = "marks" if name.partition(".")[0] in CHANGING else "facts"
    if operator == "~":
        reading.parameters += [name, value.lower()]
        condition = "instr(lower(text), ?) > 0"
    elif (number := None if quoted else _number(value)) is not None:
        reading.parameters += [name, number]
        condition = f"number {COMPARE[operator]} ?"
        if operator in ("=", "!="):  # version 2 is text that reads as a number
            reading.parameters.append(value)
            condition = f"({condition} OR (number IS NULL AND text {COMPARE[operator]} ?))"
    else:
        reading.parameters += [name, value]
        condition = f"text {COMPARE[operator]} ?"
    return f"v.id IN (SELECT version FROM {table} WHERE name = ? AND {condition})"


def _number(text: str) -> float | None:
    if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", text) is None:
        return None
    found = float(text)
    return found if abs(found) != float("inf") else None


def _bad(text: str) -> BadInput:
    return BadInput(f"the search: {text}", code="bad_query", field="q")
