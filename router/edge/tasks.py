"""BentoML's task routes: a task's later calls must reach the replica that took it, so its id says which; pure.

The id a caller gets is `ID~VERSION~REPLICA`; the replica sees its own `ID`.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode

import orjson

VERBS = frozenset(("submit", "status", "get", "cancel", "retry"))
NAMING = frozenset(("submit", "status", "retry"))  # BentoML's answers that name a task; `get` is the user's
MARK = "~"


@dataclass(frozen=True, slots=True)
class TaskCall:
    """A later call of a task: who took it, and the query as the replica knows it."""

    version: str
    replica: str
    query: bytes


def is_task_path(path: str) -> bool:
    """Whether the last segment is a task verb and there is a route before it."""
    route, _, verb = path.rpartition("/")
    return verb in VERBS and bool(route.strip("/"))


def names_task(path: str) -> bool:
    """Whether the answer of this path tells a task's id."""
    return is_task_path(path) and path.rpartition("/")[2] in NAMING


def task_call(path: str, query: bytes) -> TaskCall | None:
    """Reads the task id of a query; None where the call is not about a task of ours."""
    if not is_task_path(path) or b"task_id=" not in query:
        return None
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    for position, (name, value) in enumerate(pairs):
        parts = value.rsplit(MARK, 2)  # the replica's own id may hold anything
        if name == "task_id" and len(parts) == 3:
            pairs[position] = (name, parts[0])
            return TaskCall(parts[1], parts[2], urlencode(pairs).encode())
    return None


def marked(body: bytes, version: str, replica: str) -> bytes:
    """An answer of a task route with its task id marked; the body as it is where it names none."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return body
    if not isinstance(answer, dict) or not isinstance(answer.get("task_id"), str):
        return body
    answer["task_id"] = MARK.join((answer["task_id"], version, replica))
    return orjson.dumps(answer)
