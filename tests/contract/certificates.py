"""Certificates for tests, made by the openssl program: self-signed ones, and one that an authority signed."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple


class Pair(NamedTuple):
    """A certificate and its key."""

    cert: Path
    key: Path


def self_signed(folder: Path, name: str, *names: str) -> Pair:
    """One for these names (`DNS:…`, `IP:…`)."""
    pair = Pair(folder / f"{name}.pem", folder / f"{name}.key")
    _openssl("req", "-x509", *_new(pair, name), "-out", str(pair.cert), *_names(names))
    return pair


def signed(folder: Path, name: str, authority: Pair, *names: str) -> Pair:
    """Likewise, signed by an authority."""
    pair = Pair(folder / f"{name}.pem", folder / f"{name}.key")
    by = ["-CA", str(authority.cert), "-CAkey", str(authority.key)]
    _openssl("req", "-x509", *_new(pair, name), "-out", str(pair.cert), *_names(names), *by)
    return pair


def _new(pair: Pair, name: str) -> list[str]:
    words = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    return [*words, "-keyout", str(pair.key), "-subj", f"/CN={name}"]


def _names(names: tuple[str, ...]) -> list[str]:
    return ["-addext", f"subjectAltName={','.join(names)}"]


def _openssl(*words: str) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True)
