"""The table of roles in the documents is the one of the code; `python -m tests.test_access_table` writes it."""

from __future__ import annotations

import re
from pathlib import Path

from router.access.roles import markdown

PAGE = Path(__file__).parent.parent / "docs" / "access.md"
PLACE = re.compile(r"(?<=<!-- roles -->\n).*?(?=<!-- /roles -->)", re.S)


def written() -> str:
    """The page with the table of now."""
    return PLACE.sub(lambda _: markdown() + "\n", PAGE.read_text())


def test_the_permission_table_is_that_of_the_code() -> None:
    assert PAGE.read_text() == written()


if __name__ == "__main__":
    PAGE.write_text(written())
