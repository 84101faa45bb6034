"""Which role may do what: the one table that both listeners and the documents are held to; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Literal, get_args


class Verb(StrEnum):
    """What can be asked. The first seven are asked of a model, the others of the whole installation."""

    PREDICT = "predict"  # predictions and whatever is passed through
    READ = "read"  # versions, routes, replicas, history
    RECORDS = "records"  # the request log, with its payloads
    REGISTER = "register"
    DEPLOY = "deploy"
    UNDEPLOY = "undeploy"
    FLIP = "flip"  # every change of a route
    METRICS = "metrics"
    LIST_KEYS = "list-keys"
    KEYS = "keys"  # make, rotate and revoke
    OPERATE = "operate"  # restart, restore, forget a router


WHOLE = frozenset({Verb.METRICS, Verb.LIST_KEYS, Verb.KEYS, Verb.OPERATE})
"""Verbs about the whole installation: only a grant for all models has them."""

Role = Literal[
    "caller", "viewer", "submitter", "deployer", "approver", "labeller", "auditor", "machine", "admin"
]
ROLES: tuple[Role, ...] = get_args(Role)

TABLE: Mapping[Role, frozenset[Verb]] = MappingProxyType(
    {
        "caller": frozenset({Verb.PREDICT}),
        "viewer": frozenset({Verb.READ, Verb.METRICS}),
        "submitter": frozenset({Verb.READ, Verb.REGISTER}),
        "deployer": frozenset({Verb.READ, Verb.RECORDS, Verb.METRICS, Verb.DEPLOY, Verb.UNDEPLOY, Verb.FLIP}),
        # What these two decide and write has no path yet; what they need to see has.
        "approver": frozenset({Verb.READ, Verb.RECORDS, Verb.METRICS}),
        "labeller": frozenset({Verb.READ, Verb.RECORDS}),
        "auditor": frozenset({Verb.READ, Verb.RECORDS, Verb.METRICS, Verb.LIST_KEYS}),
        # A pipeline brings versions and starts them; what callers get is not its to decide.
        "machine": frozenset({Verb.READ, Verb.REGISTER, Verb.DEPLOY}),
        "admin": frozenset(Verb),
    }
)


def allows(role: str, verb: Verb) -> bool:
    """Whether a role has a verb; a role that is none has nothing."""
    return verb in TABLE.get(role, frozenset())  # type: ignore[call-overload]


def markdown(roles: Iterable[Role] = ROLES) -> str:
    """The table as it stands in the documents."""
    named = tuple(roles)
    lines = ["| verb | " + " | ".join(named) + " |", "|---|" + "---|" * len(named)]
    for verb in Verb:
        cells = ("yes" if allows(role, verb) else "-" for role in named)
        lines.append(f"| `{verb}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)
