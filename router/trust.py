"""Whose certificates a client of ours takes: those of known authorities, or one certificate and no other."""

from __future__ import annotations

import ssl
from pathlib import Path


class TlsUnusable(Exception):
    """A certificate or a key cannot be used; the text names the file and says why."""


def trusting(authorities: Path | None) -> ssl.SSLContext:
    """A client's context that trusts the authorities of a file, or the machine's own. Raises TlsUnusable."""
    try:
        return ssl.create_default_context(cafile=None if authorities is None else str(authorities))
    except (OSError, ValueError) as error:
        raise TlsUnusable(f"{authorities} holds no certificates of authorities: {why(error)}") from error


def knowing(cert: Path) -> ssl.SSLContext:
    """A client's context that takes this one certificate, whatever its names, and no other. Raises TlsUnusable.

    For the machine that holds the file: there a server is known by its certificate, not by its name.
    """
    try:
        text = cert.read_text("ascii")
        start, end = text.index("-----BEGIN CERTIFICATE-----"), text.index("-----END CERTIFICATE-----")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # Only the first: an authority further down the chain would vouch for others too.
        context.load_verify_locations(cadata=text[start:end] + "-----END CERTIFICATE-----\n")
    except (OSError, ValueError) as error:
        raise TlsUnusable(f"{cert} holds no certificate: {why(error)}") from error
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def why(error: Exception) -> str:
    return getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
