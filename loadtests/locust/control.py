"""The control listener as scenarios use it, found by POINTSMAN_URL and POINTSMAN_KEY; knows no locust."""

from __future__ import annotations

import os
from typing import Any

import httpx


def address() -> str:
    """Its API's address; raises KeyError without POINTSMAN_URL."""
    return f"{os.environ['POINTSMAN_URL'].rstrip('/')}/api/v1"


def headers() -> dict[str, str]:
    """What authorises; raises KeyError without POINTSMAN_KEY."""
    return {"authorization": f"Bearer {os.environ['POINTSMAN_KEY']}"}


def ask(method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """One call that must be answered 2xx; its JSON. Raises httpx.HTTPError."""
    answer = httpx.request(method, f"{address()}{path}", json=body, headers=headers(), timeout=30)
    answer.raise_for_status()
    return answer.json()


def active(model: str) -> bool:
    """Whether this model is there and has an active version."""
    answer = httpx.get(f"{address()}/models/{model}", headers=headers(), timeout=30)
    return answer.status_code == 200 and bool((answer.json().get("route") or {}).get("active"))
