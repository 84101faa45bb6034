"""Makes the asyncio client from the blocking one: `python -m tests.client.twins` writes the files anew."""

from __future__ import annotations

import re
from pathlib import Path

ROOM = Path(__file__).parent.parent.parent / "router" / "client"
TWINS = {"control.py": "async_control.py", "data.py": "async_data.py"}
CHANGES = (
    (
        r'"""The blocking client of the (\w+) listener: .*?\n"""',
        r'"""The client of the \1 listener for asyncio; made from `\1.py`, to be changed there."""',
    ),
    (r"\bControlClient\b", "AsyncControlClient"),
    (r"\bDataClient\b", "AsyncDataClient"),
    (r"\bLine\b", "AsyncLine"),
    (r"`with ", "`async with "),
    (r"    def (?!__init__)", "    async def "),
    (r"__enter__", "__aenter__"),
    (r"__exit__", "__aexit__"),
    (r"\bself\._line\.(send|exchange|close)\(", r"await self._line.\1("),
    (r"\bself\.close\(\)", "await self.close()"),
)


def made(name: str) -> str:
    """The text that the twin of a file must have."""
    text = (ROOM / name).read_text()
    for pattern, replacement in CHANGES:
        text = re.sub(pattern, replacement, text, flags=re.S if '"""' in pattern else 0)
    return text


if __name__ == "__main__":
    for one, other in TWINS.items():
        (ROOM / other).write_text(made(one))
