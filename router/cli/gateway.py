"""The HTTP client of the command line: one request, one document, a time-out on everything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from router.cli.address import find_address
from router.cli.refused import Refused

CONNECT_S = 3.0
ANSWER_S = 15.0


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer that is no error."""

    status: int
    document: dict[str, Any]


class Gateway:
    """A connection to the control listener; `with Gateway() as gateway`."""

    def __init__(self) -> None:
        address = find_address()
        self._url = address.url
        self._client = httpx.Client(
            base_url=f"{address.url}/api/v1",
            headers={"authorization": f"Bearer {address.key}", "user-agent": "pointsman-cli"},
            trust_env=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def get(self, path: str, **params: object) -> Answered:
        """A read; parameters that are None are left out."""
        given = {name: str(value) for name, value in params.items() if value is not None}
        return self.ask("GET", path, params=given)

    def ask(
        self,
        method: str,
        path: str,
        *,
        answer_s: float = ANSWER_S,
        json: object = None,
        params: Mapping[str, str] | None = None,
        files: Mapping[str, Any] | None = None,
        data: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answered:
        """Any request; waits `answer_s` seconds for the answer. Raises Refused."""
        timeout = httpx.Timeout(answer_s, connect=CONNECT_S)
        try:
            response = self._client.request(
                method,
                path,
                json=json,
                params=params,
                files=files,
                data=data,
                headers=headers,
                timeout=timeout,
            )
        except httpx.TimeoutException:
            raise Refused(f"{self._url} did not answer in time", "no_answer") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Refused(f"{self._url} cannot be reached: {error}", "unreachable") from None
        document = _document(response)
        if response.is_success:
            return Answered(response.status_code, document)
        text, code = document.get("error"), document.get("code")
        raise Refused(str(text), str(code), document)


def path(*parts: str) -> str:
    """A path of the API; whatever a part holds stays within its place."""
    return "".join(f"/{quote(part, safe='')}" for part in parts)


def _document(response: httpx.Response) -> dict[str, Any]:
    try:
        found = response.json()
    except ValueError:
        found = None
    if isinstance(found, dict) and (response.is_success or "error" in found):
        return found
    text = f"not an answer of Pointsman: HTTP {response.status_code} {response.text[:200]!r}"
    if response.is_success:
        raise Refused(text, "bad_answer")
    return {"error": text, "code": f"http_{response.status_code}"}
