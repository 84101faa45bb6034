"""Refused loads and unloads stand in the audit, signed like every other entry."""

from __future__ import annotations

from typing import Any

import orjson

from router.access.grant import Grant
from tests.edge.house import House
from tests.edge.test_keys import make


def chain(house: House) -> list[dict[str, Any]]:
    """That of the model m."""
    found: list[dict[str, Any]] = house.registry(lambda registry: registry.audit_chain("m"))
    return found


def test_refused_loads_and_unloads_are_entries(house: House) -> None:
    router = house.router("r0.mentions")
    viewer, secret = make(house, Grant("viewer"))
    deployer, other = make(house, Grant("deployer"))
    before = len(chain(house))

    def ask(word: str, key: str, body: object) -> int:
        headers = {"authorization": f"Bearer {key}"}
        path = f"/v2/repository/models/m/{word}"
        return router.client.post(path, content=orjson.dumps(body), headers=headers).status_code

    assert ask("load", secret, {}) == 403
    assert ask("unload", secret, {}) == 403
    assert ask("load", other, {"parameters": {"version": "nothing"}}) == 404
    assert ask("load", "wrong", {}) == 401
    told = [(e["actor"], e["action"], e["outcome"], e["code"]) for e in chain(house)[before:]]
    assert told == [
        (viewer.name, "version.deploy", "refused", "forbidden"),
        (viewer.name, "version.undeploy", "refused", "forbidden"),
        (deployer.name, "version.deploy", "refused", "unknown_version"),
    ]
    last = chain(house)[-1]
    signed: bytes = house.registry(lambda registry: registry.redis.hget("{pm}:signed", "m"))
    assert (orjson.loads(signed)["seq"], orjson.loads(signed)["hash"]) == (last["seq"], last["hash"])
