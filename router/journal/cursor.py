"""A reader's place in the log as an opaque, URL-safe text: exact positions, one an incarnation; pure."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson

from router.errors import BadInput
from router.journal.segment import Position, is_incarnation

MAX_CHARS = 64 * 1024


class CursorInvalid(BadInput):
    """The text was not made by `Cursor.encode`."""

    code = "bad_cursor"

    def __init__(self, message: str) -> None:
        super().__init__(message, field="cursor")


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where to read on in each incarnation.

    An incarnation that is not listed was read to its end if it is dead and was last written before
    `watermark` (whole seconds of the epoch); otherwise it is new and is read from its beginning. This keeps
    a cursor short however many dead incarnations there are.
    """

    watermark: int = 0
    positions: Mapping[str, Position] = field(default_factory=dict)

    def encode(self) -> str:
        """The opaque text: letters, digits, `-` and `_`."""
        places = [[name, p.segment, p.offset] for name, p in sorted(self.positions.items())]
        return base64.urlsafe_b64encode(orjson.dumps([self.watermark, places])).rstrip(b"=").decode()


def decode(text: str) -> Cursor:
    """The cursor of a text; CursorInvalid for anything else."""
    if len(text) > MAX_CHARS:
        raise CursorInvalid("the cursor is too long")
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        watermark, places = orjson.loads(raw)
        positions = {name: Position(segment, offset) for name, segment, offset in places}
        numbers = [watermark, *(n for p in positions.values() for n in (p.segment, p.offset))]
    except (binascii.Error, UnicodeError, ValueError, TypeError) as error:
        raise CursorInvalid("not a cursor") from error
    if not all(type(n) is int and 0 <= n < 1 << 62 for n in numbers):
        raise CursorInvalid("not a cursor")
    if not all(isinstance(name, str) and is_incarnation(name) for name in positions):
        raise CursorInvalid("not a cursor")
    return Cursor(watermark, positions)
