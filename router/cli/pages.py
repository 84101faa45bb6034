"""All pages of a list as one document, equal to the HTTP answer without a limit; decides nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from router.cli.gateway import Gateway

PAGE = 1_000


def whole(gateway: Gateway, place: str, name: str, **params: object) -> dict[str, Any]:
    """The first page with the items of the others added, and `next` null."""
    found: dict[str, Any] = {}
    cursor = None
    while True:
        page = gateway.get(place, limit=PAGE, cursor=cursor, **params).document
        found = {**page, name: [*found.get(name, []), *page[name]]}
        cursor = page["next"]
        if cursor is None:
            return found
