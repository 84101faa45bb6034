"""Which verb each path of the control listener needs, and of what; a path without a line in it cannot start."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from starlette.routing import BaseRoute, Mount, Route, compile_path

from router.access.principal import Principal, refusal
from router.access.roles import Verb

API = "/api/v1"

Of = Literal["model", "some", "all"]
"""Of the model that the path names; of some models, the handler shows no others; of the whole installation."""


@dataclass(frozen=True, slots=True)
class Permit:
    """What a request needs; `verb` None: a key that counts."""

    verb: Verb | None
    of: Of = "all"


TABLE: Mapping[str, Permit] = {
    "GET /metrics": Permit(Verb.METRICS),
    "GET /openapi.json": Permit(None),
    f"GET {API}/metrics": Permit(Verb.METRICS),
    f"GET {API}/status": Permit(Verb.READ, "some"),
    f"GET {API}/models": Permit(Verb.READ, "some"),
    f"GET {API}/models/{{model}}": Permit(Verb.READ, "model"),
    f"GET {API}/models/{{model}}/history": Permit(Verb.READ, "model"),
    f"POST {API}/models/{{model}}/versions": Permit(Verb.REGISTER, "model"),
    f"POST {API}/models/{{model}}/versions/{{version}}/deploy": Permit(Verb.DEPLOY, "model"),
    f"POST {API}/models/{{model}}/versions/{{version}}/undeploy": Permit(Verb.UNDEPLOY, "model"),
    f"POST {API}/models/{{model}}/promote": Permit(Verb.FLIP, "model"),
    f"POST {API}/models/{{model}}/rollback": Permit(Verb.FLIP, "model"),
    f"POST {API}/models/{{model}}/split": Permit(Verb.FLIP, "model"),
    f"POST {API}/models/{{model}}/fallback": Permit(Verb.FLIP, "model"),
    f"GET {API}/models/{{model}}/audit": Permit(Verb.READ, "model"),
    f"GET {API}/models/{{model}}/audit/verify": Permit(Verb.READ, "model"),
    f"GET {API}/models/{{model}}/audit/export": Permit(Verb.READ, "model"),
    f"GET {API}/audit": Permit(None),
    f"GET {API}/audit/{{chain}}": Permit(Verb.LIST_KEYS),
    f"GET {API}/audit/{{chain}}/verify": Permit(Verb.LIST_KEYS),
    f"GET {API}/models/{{model}}/versions/{{version}}": Permit(Verb.READ, "model"),
    f"GET {API}/models/{{model}}/versions/{{version}}/lineage": Permit(Verb.READ, "model"),
    f"GET {API}/models/{{model}}/versions/{{version}}/card": Permit(Verb.READ, "model"),
    f"POST {API}/models/{{model}}/versions/{{version}}/tags": Permit(Verb.REGISTER, "model"),
    f"POST {API}/models/{{model}}/versions/{{version}}/notes": Permit(Verb.REGISTER, "model"),
    f"GET {API}/models/{{model}}/aliases": Permit(Verb.READ, "model"),
    f"POST {API}/models/{{model}}/aliases": Permit(Verb.FLIP, "model"),
    f"POST {API}/models/{{model}}/review": Permit(Verb.REGISTER, "model"),
    f"GET {API}/models/{{model}}/additions": Permit(Verb.READ, "model"),
    f"GET {API}/models/{{model}}/compare": Permit(Verb.READ, "model"),
    f"GET {API}/lineage": Permit(Verb.READ, "some"),
    f"GET {API}/search": Permit(Verb.READ, "some"),
    f"GET {API}/inventory": Permit(Verb.READ, "some"),
    f"GET {API}/state": Permit(Verb.READ, "some"),
    f"GET {API}/requests": Permit(Verb.RECORDS, "some"),
    f"GET {API}/requests/{{request_id}}": Permit(Verb.RECORDS, "some"),
    f"GET {API}/routers": Permit(Verb.READ, "some"),
    f"DELETE {API}/routers/{{router}}": Permit(Verb.OPERATE),
    f"GET {API}/restart": Permit(Verb.READ, "some"),
    f"POST {API}/restart": Permit(Verb.OPERATE),
    f"POST {API}/registry/restore": Permit(Verb.OPERATE),
    f"GET {API}/keys": Permit(Verb.LIST_KEYS),
    f"POST {API}/keys": Permit(Verb.KEYS),
    f"POST {API}/keys/{{key}}/rotate": Permit(Verb.KEYS),
    f"POST {API}/keys/{{key}}/revoke": Permit(Verb.KEYS),
}
OPEN = frozenset({"/livez", "/readyz"})


class Permits:
    """The table with the patterns by which Starlette routes: a request is judged by the path it will reach."""

    def __init__(self, found: Iterable[tuple[re.Pattern[str], str, Permit]]) -> None:
        self._found = tuple(found)

    def require(self, principal: Principal, method: str, path: str) -> None:
        """Raises Forbidden. Where there is no such path or method there is nothing to be forbidden."""
        method = "GET" if method == "HEAD" else method
        for pattern, offered, permit in self._found:
            match = pattern.match(path)
            if match is not None and offered == method:
                judge(principal, permit, match.groupdict().get("model"))


def judge(principal: Principal, permit: Permit, model: str | None) -> None:
    """Raises Forbidden where the principal lacks what is needed."""
    if permit.verb is None:
        return
    allowed = (
        principal.may_any(permit.verb)
        if permit.of == "some"
        else principal.may(permit.verb, model if permit.of == "model" else None)
    )
    if not allowed:
        raise refusal(principal, permit.verb, model)


def permits(routes: Iterable[BaseRoute]) -> Permits:
    """For an application. Raises LookupError for a path that the table does not name."""
    found = []
    for method, path in _offered(routes):
        if path in OPEN:
            continue
        name = f"{method} {path}"
        if name not in TABLE:
            raise LookupError(f"{name} is not in the table of permits")
        found.append((compile_path(path)[0], method, TABLE[name]))
    return Permits(found)


def _offered(routes: Iterable[BaseRoute], prefix: str = "") -> Iterator[tuple[str, str]]:
    for route in routes:
        if isinstance(route, Mount):
            yield from _offered(route.routes, prefix + route.path)
        elif isinstance(route, Route):
            for method in sorted((route.methods or set()) - {"HEAD"}):
                yield method, prefix + route.path
        else:
            raise LookupError(f"a route of a kind that is not known here: {route!r}")
