"""Joins the modules that check an export into the one file `verify.py`, which needs nothing but Python."""

from __future__ import annotations

import ast
from importlib.resources import files

MODULES = ("canonical", "ed25519", "chain", "account", "folder")
HEAD = '''"""Checks this audit export with Python's standard library alone: `python3 verify.py [FOLDER]`.

It says `intact`, or names the first bad entry and ends with 1. It is written from the source of Pointsman, which
does the same by `pointsman audit verify FOLDER`. It changes nothing.
"""

from __future__ import annotations
'''


def source() -> str:
    """The text of `verify.py`."""
    return HEAD + "".join(
        _stripped(files("router.audit").joinpath(f"{name}.py").read_text("utf-8")) for name in MODULES
    )


def _stripped(text: str) -> str:
    """A module without its docstring and without what it takes from the others."""
    lines = text.splitlines(keepends=True)
    body = ast.parse(text).body
    ours = [node for node in body if isinstance(node, ast.ImportFrom) and _joined(node.module or "")]
    for node in (body[0], *ours):
        lines[node.lineno - 1 : node.end_lineno] = [""] * ((node.end_lineno or 0) - node.lineno + 1)
    return "\n" + "".join(lines).strip("\n") + "\n"


def _joined(module: str) -> bool:
    return module == "__future__" or module.startswith("router.audit.")
