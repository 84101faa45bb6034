"""The HTTP under a client, blocking and not: one request, a time-out on everything; knows no path.

A request is sent once. A read (GET) whose connection broke is sent a second time: a kept connection may have been
closed by the server a moment before.
"""

from __future__ import annotations

import ssl
from typing import Any, TypeVar

import httpx

from router.client.call import ANSWER_S, Answered, Call, understood
from router.client.errors import NoAnswer

T = TypeVar("T")

CONNECT_S = 3.0
AGENT = "pointsman-client"
Trust = ssl.SSLContext | bool


class Line:
    """Connections to one listener."""

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        timeout: float = ANSWER_S,
        verify: Trust = True,
        agent: str = AGENT,
    ) -> None:
        self.url = url.rstrip("/")
        self._timeout = timeout
        self._client = httpx.Client(**_settings(self.url, key, verify, agent))

    def send(self, call: Call[T]) -> Answered[T]:
        """The answer. Raises Refusal, NoAnswer."""
        response = self.exchange(call)
        return understood(call.kind, response.status_code, response.content, response.headers)

    def exchange(self, call: Call[Any]) -> httpx.Response:
        """The answer as it comes, of any status. Raises NoAnswer."""
        options = _options(call, self._timeout)
        try:
            try:
                return self._client.request(call.method, call.path, **options)
            except httpx.TransportError as error:
                if not _again(call, error):
                    raise
                return self._client.request(call.method, call.path, **options)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _no_answer(self.url, error) from None

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()


class AsyncLine:
    """The same for asyncio."""

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        timeout: float = ANSWER_S,
        verify: Trust = True,
        agent: str = AGENT,
    ) -> None:
        self.url = url.rstrip("/")
        self._timeout = timeout
        self._client = httpx.AsyncClient(**_settings(self.url, key, verify, agent))

    async def send(self, call: Call[T]) -> Answered[T]:
        """The answer. Raises Refusal, NoAnswer."""
        response = await self.exchange(call)
        return understood(call.kind, response.status_code, response.content, response.headers)

    async def exchange(self, call: Call[Any]) -> httpx.Response:
        """The answer as it comes, of any status. Raises NoAnswer."""
        options = _options(call, self._timeout)
        try:
            try:
                return await self._client.request(call.method, call.path, **options)
            except httpx.TransportError as error:
                if not _again(call, error):
                    raise
                return await self._client.request(call.method, call.path, **options)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _no_answer(self.url, error) from None

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.aclose()


def _settings(url: str, key: str | None, verify: Trust, agent: str) -> dict[str, Any]:
    headers = {"user-agent": agent} | ({} if key is None else {"authorization": f"Bearer {key}"})
    if not url.startswith("https:"):
        verify = False  # no TLS, and nothing to read for it
    return {"base_url": url, "headers": headers, "trust_env": False, "verify": verify}


def _options(call: Call[Any], timeout: float) -> dict[str, Any]:
    return {
        "json": call.json,
        "params": call.params,
        "headers": call.headers,
        "files": call.files,
        "data": call.data,
        "timeout": httpx.Timeout(timeout if call.answer_s is None else call.answer_s, connect=CONNECT_S),
    }


def _again(call: Call[Any], error: httpx.TransportError) -> bool:
    broken = (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError, httpx.CloseError)
    return call.repeatable and isinstance(error, broken)


def _no_answer(url: str, error: Exception) -> NoAnswer:
    if isinstance(error, httpx.TimeoutException):
        return NoAnswer(f"{url} did not answer in time", "no_answer")
    return NoAnswer(f"{url} cannot be reached: {error}", "unreachable")
