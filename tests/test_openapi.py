"""The OpenAPI documents against the code and the tables of errors: what is there, and nothing else."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import schemathesis

from router.answers import Failure
from router.control import openapi as control
from router.control.app import control_app
from router.control.hardening import HEADERS
from router.edge import openapi as data
from router.edge.gateway import Gateway
from router.openapi import Operation, document, json_of
from tests.test_docs import data_paths, inner_app, offered, read, rows, section

LISTENERS = {"data": data, "control": control}
# Never the answer of an operation: only in the log, for whoever stands between, or any status at all.
BESIDE = {"caller_left", "http_error"}
# Codes of one listener that the tables of errors keep elsewhere.
EVERYWHERE = ("bad_http", "head_too_large", "head_timeout", "too_many_connections")


def described(listener: str) -> set[str]:
    """`METHOD /path` of the document."""
    paths = LISTENERS[listener].document()["paths"]
    return {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}


def test_every_path_of_the_control_listener_is_described_and_no_other() -> None:
    plane: Any = SimpleNamespace()
    code = set(offered(inner_app(control_app(plane, "key")).routes))
    assert described("control") == code, report(code, described("control"), "router/control/openapi.py")


def test_every_path_of_the_data_listener_is_described_and_no_other() -> None:
    code = set()
    for each in data_paths():
        method, _, path = each.partition(" ")
        code |= {f"{one} {path}" for one in (data.METHODS if method == "ANY" else (method,))}
    assert described("data") == code, report(code, described("data"), "router/edge/openapi.py")


def report(code: set[str], told: set[str], table: str) -> str:
    """What to do."""
    return f"add to OPERATIONS in {table}: {sorted(code - told)}; take out: {sorted(told - code)}"


# -- errors ------------------------------------------------------------------------------------------------


def refusals(listener: str) -> Iterator[tuple[str, int, str]]:
    """Operation, status and code of every documented refusal."""
    operations: tuple[Operation, ...] = LISTENERS[listener].OPERATIONS
    for operation in operations:
        for status, codes in operation.refusals.items():
            yield from ((operation.name, status, code) for code in codes)


def statuses(listener: str) -> dict[str, set[int]]:
    """The statuses of each code by http.md's tables."""
    text = read("http.md")
    found: dict[str, set[int]] = {}
    for row in rows(section(text, f"From the {listener} listener"))[1:]:
        found.setdefault(row[0].strip("`"), set()).update(map(int, re.findall(r"\b[45]\d\d\b", row[1])))
    if listener == "control":
        tables = section(text, "From the registration of an artifact")
        elsewhere = {"unknown_bento": 404, "bento_too_large": 413}
        for row in rows(tables)[1:]:
            code = row[0].strip("`")
            found.setdefault(code, set()).add(elsewhere.get(code, 400))
        general = statuses("data")
        found |= {code: general.get(code, set()) for code in EVERYWHERE}
    return found


@pytest.mark.parametrize("listener", LISTENERS)
def test_every_documented_refusal_is_one_of_the_table_of_errors(listener: str) -> None:
    known = statuses(listener)
    wrong = [each for each in refusals(listener) if each[1] not in known.get(each[2], ())]
    assert not wrong, f"not in docs/http.md with this status: {wrong}"


@pytest.mark.parametrize("listener", LISTENERS)
def test_every_error_of_the_table_is_documented_at_some_operation(listener: str) -> None:
    told = {code for _, _, code in refusals(listener)}
    missing = statuses(listener).keys() - told - BESIDE
    assert not missing, f"codes of docs/http.md that no operation of the {listener} listener has: {missing}"


# -- the documents themselves --------------------------------------------------------------------------------


@pytest.mark.parametrize("listener", LISTENERS)
def test_the_document_is_valid_and_its_operations_can_be_read(listener: str) -> None:
    schema = schemathesis.openapi.from_dict(LISTENERS[listener].document())
    schema.validate()
    found = list(schema.get_all_operations())
    assert len(found) == len(LISTENERS[listener].OPERATIONS)
    for each in found:
        each.ok()


@pytest.mark.parametrize("listener", LISTENERS)
def test_names_of_operations_are_unique_and_references_lead_somewhere(listener: str) -> None:
    found = LISTENERS[listener].document()
    names = [operation.name for operation in LISTENERS[listener].OPERATIONS]
    assert len(names) == len(set(names))
    schemas = found["components"]["schemas"]
    assert set(re.findall(r"#/components/schemas/(\w+)", str(found))) <= schemas.keys()
    assert all(schema.get("description") for schema in schemas.values())


def test_an_operation_that_is_there_twice_is_refused() -> None:
    once = Operation("a", "GET", "/a", "t", "x", {200: json_of("x", Failure)}, {})
    with pytest.raises(ValueError, match="GET /a is described twice"):
        document("t", "x", (once, once))


def asked(app: Any, *requests: tuple[str, str, bool]) -> list[httpx.Response]:
    """Answers of an application without a server; the last of a request says whether it has the key."""

    async def ask() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            key = {"authorization": "Bearer key"}
            return [
                await client.request(m, path, headers=key if keyed else {}) for m, path, keyed in requests
            ]

    return asyncio.run(ask())


def test_the_data_listener_serves_its_document() -> None:
    stub: Any = SimpleNamespace(draining=False)
    (answer,) = asked(Gateway(stub, stub, stub, []), ("GET", "/openapi.json", False))
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == data.document()


def test_the_control_listener_serves_its_document_to_those_with_the_key() -> None:
    plane: Any = SimpleNamespace()
    path = "/openapi.json"
    without, answer = asked(control_app(plane, "key"), ("GET", path, False), ("GET", path, True))
    assert without.status_code == 401
    assert answer.json() == control.document()


def test_every_answer_of_the_control_listener_has_the_security_headers() -> None:
    plane: Any = SimpleNamespace()
    answers = asked(
        control_app(plane, "key"),
        ("GET", "/livez", False),
        ("GET", "/api/v1/models", False),
        ("GET", "/nowhere", True),
        ("PUT", "/livez", True),
        ("GET", "/openapi.json", True),
        ("GET", "/api/v1/models", True),  # a fault: this plane has no registry
    )
    assert [each.status_code for each in answers] == [200, 401, 404, 405, 200, 500]
    for answer in answers:
        for name, value in HEADERS:
            assert answer.headers.get_list(name.decode()) == [value.decode()], (answer.status_code, name)
