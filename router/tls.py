"""TLS of the listeners by certificate files: one context that follows its files; it listens nowhere itself."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import structlog

from router.trust import TlsUnusable, why

LOOK_S = 2.0  # between looks at the files

log = structlog.get_logger(__name__)

_Stamp = tuple[tuple[int, int, int], ...]


class Certificate:
    """A certificate (its chain in the same file) and its key; `context` serves what was read last."""

    def __init__(self, cert: Path, key: Path) -> None:
        """Reads both files. Raises TlsUnusable."""
        self._cert, self._key = cert, key
        self._stamp = self._look()
        self.context = _context(cert, key)

    async def follow(self) -> None:
        """Reads the files again where they change, for the connections that come then; runs until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            self.refresh()

    def refresh(self) -> None:
        """Takes changed files up; where they cannot be used, the old ones go on, and that is logged once."""
        try:
            stamp = self._look()
            if stamp == self._stamp:
                return
            self._stamp = stamp
            _context(self._cert, self._key)  # a pair that does not fit must not reach the one in use
            _load(self.context, self._cert, self._key)
        except TlsUnusable as error:
            log.error("certificate_not_read", error=str(error))
        else:
            log.info("certificate_read", path=str(self._cert))

    def _look(self) -> _Stamp:
        found = []
        for path in (self._cert, self._key):
            try:
                status = path.stat()
            except OSError:
                found.append((0, 0, 0))
            else:
                found.append((status.st_ino, status.st_size, status.st_mtime_ns))
        return tuple(found)


def certificate(cert: Path | None, key: Path | None) -> Certificate | None:
    """The settings' certificate; None where there is to be no TLS. Raises TlsUnusable, also for one alone."""
    if cert is None and key is None:
        return None
    if cert is None or key is None:
        raise TlsUnusable("tls_cert and tls_key belong together: give both, or none")
    return Certificate(cert, key)


def _context(cert: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    _load(context, cert, key)
    return context


def _load(context: ssl.SSLContext, cert: Path, key: Path) -> None:
    for path in (cert, key):
        try:
            path.open("rb").close()
        except OSError as error:
            raise TlsUnusable(f"{path} cannot be read: {error.strerror}") from error
    try:
        # Without a function for the password OpenSSL would ask the terminal for it.
        context.load_cert_chain(cert, key, password=_no_password)
    except (OSError, ValueError) as error:
        raise TlsUnusable(f"{cert} and {key} cannot be used: {why(error)}") from error


def _no_password() -> str:
    raise ValueError("the key has a password: give one without")
