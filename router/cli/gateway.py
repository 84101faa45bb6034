"""The HTTP client of the command line: one request, one document, a time-out on everything."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from router.cli.address import Address, find_address
from router.cli.refused import Refused
from router.client.call import ANSWER_S, Call, understood
from router.client.call import place as path
from router.client.control_calls import API
from router.client.errors import NoAnswer, Refusal
from router.client.line import Line
from router.trust import TlsUnusable, knowing, trusting

__all__ = ["Answered", "Gateway", "path"]


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer that is no error."""

    status: int
    document: dict[str, Any]


class Gateway:
    """A connection to the control listener; `with Gateway() as gateway`."""

    def __init__(self) -> None:
        address = find_address()
        self._line = Line(address.url, address.key, verify=_trust(address), agent="pointsman-cli")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._line.close()

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
        call = Call(method, API + path, dict, json, params, headers, files, data, answer_s)
        try:
            answered = self._line.send(call)
        except Refusal as refusal:
            raise Refused(refusal.message, refusal.code, refusal.document) from None
        except NoAnswer as silence:
            raise Refused(silence.message, silence.code) from None
        return Answered(answered.status, answered.document)

    def fetch(self, path: str, *, answer_s: float = ANSWER_S, **params: object) -> bytes:
        """The bytes of an answer that is no JSON document. Raises Refused."""
        given = {name: str(value) for name, value in params.items() if value is not None}
        try:
            answered = self._line.exchange(Call("GET", API + path, bytes, None, given, answer_s=answer_s))
            if answered.status_code != 200:
                understood(dict, answered.status_code, answered.content, answered.headers)
        except Refusal as refusal:
            raise Refused(refusal.message, refusal.code, refusal.document) from None
        except NoAnswer as silence:
            raise Refused(silence.message, silence.code) from None
        return answered.content


def _trust(address: Address) -> ssl.SSLContext | bool:
    """Whose certificates are taken: those that POINTSMAN_CA vouches for, else the very one that `up` noted."""
    if not address.url.startswith("https:"):
        return False  # no TLS, and nothing to read for it
    authorities = os.environ.get("POINTSMAN_CA")
    try:
        if authorities or address.cert_path is None:
            return trusting(Path(authorities) if authorities else None)
        return knowing(address.cert_path)
    except TlsUnusable as error:
        raise Refused(str(error), "no_trust") from None
