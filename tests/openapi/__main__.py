"""`make fuzz`, its part for both listeners: more requests, other ones each time."""

from __future__ import annotations

import argparse
import sys
import time

from tests.openapi.installation import fuzzed, started


def main() -> int:
    """Prints what was asked, and every wrong answer; 1 where there is one."""
    parser = argparse.ArgumentParser(prog="tests.openapi", description=__doc__)
    parser.add_argument("--examples", type=int, default=200, help="of each operation")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    wrong = 0
    with started() as fleet:
        for listener in ("control", "data"):
            began = time.monotonic()
            seen = fuzzed(fleet, listener, options.examples, options.seed)
            took = time.monotonic() - began
            total, by_status = sum(seen.statuses.values()), {}
            for (_, status), count in seen.statuses.items():
                by_status[status] = by_status.get(status, 0) + count
            print(f"{listener}: {total} requests in {took:.0f} s, slowest {seen.slowest:.1f} s, {by_status}")
            print("\n".join(seen.wrong[:50]))
            wrong += len(seen.wrong)
    print(f"seed {options.seed}: {wrong} wrong answers")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
