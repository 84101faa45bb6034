"""A grant: a role for the models whose names match a pattern; pure."""

from __future__ import annotations

import re

import msgspec

from router.access.roles import ROLES, WHOLE, Verb, allows
from router.errors import BadInput

PATTERN = re.compile(r"[a-z0-9*][a-z0-9.*_-]{0,62}\Z")
ALL = "*"


class Grant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`models` is a name in which each `*` stands for anything, also for nothing."""

    role: str
    models: str = ALL

    def covers(self, verb: Verb, model: str | None) -> bool:
        """Whether it allows `verb` of `model`; None: of all models, which only `*` covers."""
        if not allows(self.role, verb):
            return False
        if verb in WHOLE or model is None:
            return self.models == ALL
        return matches(self.models, model)

    def text(self) -> str:
        """As the command line takes it."""
        return self.role if self.models == ALL else f"{self.role}:{self.models}"


def matches(pattern: str, model: str) -> bool:
    """Whether a name matches, in a time that grows with the product of both lengths at most."""
    first, *others = pattern.split("*")
    if not others:
        return model == pattern
    *middle, last = others
    if not model.startswith(first):
        return False
    place = len(first)
    for part in middle:
        found = model.find(part, place)
        if found < 0:
            return False
        place = found + len(part)
    return len(model) - len(last) >= place and model.endswith(last)


def checked(grant: Grant, field: str) -> Grant:
    """The grant if role and pattern are some; raises BadInput naming `field` otherwise."""
    if grant.role not in ROLES:
        known = ", ".join(ROLES)
        raise BadInput(f"{field}: there is no role {grant.role[:40]!r}; roles: {known}", field=field)
    if PATTERN.match(grant.models) is None:
        raise BadInput(
            f"{field}: {grant.models[:80]!r} is no pattern: a model's name, with * for anything", field=field
        )
    return grant


def parse(text: str, field: str = "role") -> Grant:
    """From `ROLE` or `ROLE:PATTERN`. Raises BadInput."""
    role, mark, pattern = text.partition(":")
    return checked(Grant(role, pattern if mark else ALL), field)
