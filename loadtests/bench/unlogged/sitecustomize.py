"""Of the benchmark alone: a router with this folder on its PYTHONPATH builds no record and writes none.

It is what the cost of the log is measured against; the product has no such switch. Python runs this file at the
start of each process of that installation; only routers are changed. A trace of what it failed to change is
looked for by Installation.settled: a journal that holds anything.
"""

import sys
from collections.abc import Sequence
from typing import Any

if "router.edge" in sys.orig_argv:
    from router.edge import record as building
    from router.journal.journal import Journal

    blank: Any = b"{}"

    def record(*_: object, **__: object) -> Any:
        return blank

    def append(self: Journal, records: Sequence[Any]) -> list[str]:
        # Every request fails where records are built elsewhere by now: their cost would not be measured.
        if any(each is not blank for each in records):
            raise AssertionError("a record was built: loadtests/bench/unlogged no longer knows where")
        return ["unlogged"] * len(records)

    building.record = record
    Journal.append = append  # type: ignore[method-assign]
