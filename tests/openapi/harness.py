"""Requests by schemathesis for every operation of a listener, and what must hold of each answer; not a test.

Half of the requests fit the schema and half do not. Names of models that exist and bodies that are understood are
mixed in, or nearly everything would end at 404 or 400.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS: list[Any] = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
OPEN = {"Registered"}  # the rest of a manifest stands in it
ANSWER_S = 20.0
ANSWERS_5XX = {500, 502}
"""Never right here: no model of these tests fails, no replica breaks."""
INWARD = re.compile(
    r"Traceback|File \"|\.py\b|site-packages|/tmp/|/home/|/root/|/usr/|/var/|/proc/|\.sock\b|unix:|0x[0-9a-f]{6,}"
)
"""What no error may carry outwards: places in our files, stack traces, addresses of replicas."""

Adjust = Callable[[Case, Any], None]


@dataclass(slots=True)
class Seen:
    """What was answered: requests by operation and status, and everything that was wrong."""

    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    slowest: float = 0.0

    def of(self, status: int) -> int:
        """Answers with this status."""
        return sum(count for (_, code), count in self.statuses.items() if code == status)


def closed(document: dict[str, Any]) -> dict[str, Any]:
    """The document with schemas that allow no field they do not name."""
    for name, schema in document["components"]["schemas"].items():
        if name not in OPEN and "properties" in schema:
            schema["additionalProperties"] = False
    return document


class Listener:
    """One listener and its document, as it serves it."""

    def __init__(self, url: str, key: str | None) -> None:
        self.url = url
        self.session = requests.Session()
        self.session.trust_env = False
        self.key = {} if key is None else {"Authorization": f"Bearer {key}"}
        answer = self.session.get(f"{url}/openapi.json", headers=self.key, timeout=ANSWER_S)
        answer.raise_for_status()
        self.schema = schemathesis.openapi.from_dict(closed(answer.json()))
        self.schema.config.update(base_url=url)

    def names(self) -> list[str]:
        """`METHOD path` of every operation."""
        return [operation.ok().label for operation in self.schema.get_all_operations()]

    def run(
        self, examples: Callable[[str], int], adjust: Adjust, *, begin: int = 1, derandomize: bool = True
    ) -> Seen:
        """`examples` of each operation by its label. `adjust` may change a request before it is sent."""
        seen = Seen()
        for found in self.schema.get_all_operations():
            operation = found.ok()
            count = examples(operation.label)
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE) if count else ():
                self._operation(operation, mode, max(1, count // 2), adjust, seen, begin, derandomize)
        return seen

    def _operation(
        self, operation: Any, mode: Any, count: int, adjust: Adjust, seen: Seen, begin: int, derandomize: bool
    ) -> None:
        chosen = settings(
            max_examples=count,
            deadline=None,
            database=None,
            derandomize=derandomize,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        )

        @chosen
        @given(operation.as_strategy(generation_mode=mode), st.randoms(use_true_random=False))
        def each(case: Case, random: Any) -> None:
            adjust(case, random)
            self._ask(case, seen)

        try:
            (each if derandomize else seed(begin)(each))()
        except Unsatisfiable:
            if mode is GenerationMode.POSITIVE:
                raise  # nothing that does not fit: an operation without parameters and body

    def _ask(self, case: Case, seen: Seen) -> None:
        """Sends one and looks at the answer; what is wrong is kept, so that one run tells all."""
        others = {
            name: value for name, value in (case.headers or {}).items() if name.lower() != "authorization"
        }
        case.headers = {**others, **self.key}
        began = time.monotonic()
        try:
            response = case.call(session=self.session, timeout=ANSWER_S)
        except requests.exceptions.InvalidHeader:
            return
        seen.slowest = max(seen.slowest, time.monotonic() - began)
        label = case.operation.label
        seen.statuses[label, response.status_code] += 1
        try:
            case.validate_response(response, checks=CHECKS)
        except (FailureGroup, Failure) as failure:
            told = [*getattr(failure, "exceptions", [failure])]
            seen.wrong += [
                f"{label}: {one.title}: {one.message[:600]}\n{case.as_curl_command()[:600]}" for one in told
            ]
        text = response.content.decode("utf-8", "replace")
        if response.status_code in ANSWERS_5XX:
            seen.wrong.append(f"{label}: {response.status_code} {text[:300]}\n{case.as_curl_command()[:600]}")
        if response.status_code >= 400:
            seen.wrong += [f"{label}: {place!r} goes outwards: {text[:300]}" for place in inward(text, case)]


def inward(text: str, case: Case | None = None) -> list[str]:
    """What an error's text tells of the inside, beyond what the caller has sent himself."""
    try:
        error = str(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError):
        return []
    sent = "" if case is None else f"{case.formatted_path} {case.query} {case.headers} {case.body}"
    return [match for match in INWARD.findall(error) if match not in sent]
