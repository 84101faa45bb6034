"""An issuer of tokens as the settings name it: keeps its public keys up to date in the background."""

from __future__ import annotations

import asyncio
import hashlib
import random
from pathlib import Path

import structlog

from router.access import jwks
from router.access.admission import Rules
from router.access.token import Expected, Verifier
from router.settings import Settings

log = structlog.get_logger(__name__)

REFRESH_S = 300.0
SOONEST_S = 10.0  # between two looks, however many tokens name a key that is not known
LOOK_S = 1.0
WHOLE_S = 15.0  # for one look, whatever trickles in

ADMIN_FILE = "admin.key"


class Issuer:
    """`rules` is what an Admission needs; without an issuer in the settings it believes nobody."""

    def __init__(self, verifier: Verifier | None, place: str, admin: bytes | None) -> None:
        self._verifier = verifier
        self._place = place
        self._admin = admin
        self._last = b""
        self._failing = False

    @classmethod
    def of(cls, settings: Settings) -> Issuer:
        """Raises ValueError for settings that do not go together."""
        named = (settings.jwt_issuer, settings.jwt_audience, settings.jwt_jwks)
        admin = _admin(settings.data_dir)
        if not any(named):
            return cls(None, "", admin)
        issuer, audience, place = named
        if not (issuer and audience and place):
            raise ValueError("jwt_issuer, jwt_audience and jwt_jwks belong together: set all three, or none")
        jwks.check(place)
        algorithms = tuple(settings.jwt_algorithms.split(","))
        expected = Expected(issuer, audience, algorithms, settings.jwt_roles_claim)
        return cls(Verifier(expected), place, admin)

    def rules(self, *, required: bool = False) -> Rules:
        """For a listener; `required`: its callers need a key."""
        return Rules(required, self._admin, self._verifier)

    async def follow(self) -> None:
        """Reads the keys now and every five minutes; sooner when a token names one that is not known."""
        verifier = self._verifier
        if verifier is None:
            return
        loop = asyncio.get_running_loop()
        while True:
            verifier.wanted = False
            await self.refresh()
            read_at, every = loop.time(), REFRESH_S * random.uniform(0.9, 1.1)
            while (age := loop.time() - read_at) < every:
                if (verifier.wanted or self._failing) and age >= SOONEST_S:
                    break
                await asyncio.sleep(LOOK_S)

    async def refresh(self) -> bool:
        """Once; False: it failed, and what was known goes on."""
        assert self._verifier is not None
        try:
            async with asyncio.timeout(WHOLE_S):
                data = await jwks.read(self._place)
            if data != self._last:
                self._verifier.use(jwks.parse(data))
                self._last = data
        except (jwks.NoKeys, TimeoutError) as error:
            log.warning("jwks_unreadable", place=self._place, error=str(error) or "it took too long")
            self._failing = True
            return False
        self._failing = False
        return True


def _admin(data_dir: Path) -> bytes | None:
    """The digest of this installation's own key; None where this host has none."""
    try:
        text = (data_dir / ADMIN_FILE).read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return hashlib.sha256(text.encode()).digest() if text else None
