"""What the product must reach, a row for each demand, whether its section ran or not; measures nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from loadtests.bench.account import Account
from loadtests.bench.section import Outcome, p50, router_cpu, throughput
from loadtests.bench.wrk import Sample

KEEPS_UP_S: Final = 3.0
"""The shipper's state is told once a second; a settle time beyond this is a backlog."""

FLAT_MIB: Final = 2.0
"""What the second half of the requests may add to a router's memory: an allocator's noise."""

SLOW_MS: Final = 50.0
"""A p99 is asked for only where `bentoml serve` alone has at least this."""

Found = Callable[[Outcome], float]


@dataclass(frozen=True, slots=True)
class Goal:
    """`at_least` says in which direction `wanted` bounds `found`, which is None where `section` did not run.

    `waived` says why it is not asked for here.
    """

    text: str
    wanted: float
    found: float | None
    unit: str
    at_least: bool
    section: str
    waived: str = ""

    @property
    def holds(self) -> bool | None:
        """Whether it was reached; None where that cannot be said."""
        if self.found is None or self.waived:
            return None
        return self.found >= self.wanted if self.at_least else self.found <= self.wanted

    @property
    def verdict(self) -> str:
        """Reached, or short by how much."""
        if self.found is None:
            return f"not measured (section {self.section})"
        if self.waived:
            return f"not asked for: {self.waived}"
        if self.holds:
            return "reached"
        gap = abs(self.wanted - self.found)
        share = f" ({gap / self.wanted:.0%})" if self.wanted else ""
        return f"NOT REACHED, {'short' if self.at_least else 'over'} by {figure(gap)} {self.unit}{share}"


def figure(value: float) -> str:
    """Whole numbers as such, others with two places."""
    return f"{value:,.0f}" if value == int(value) else f"{value:,.2f}"


def goals(outcomes: Mapping[str, Outcome], accounts: Mapping[str, Account]) -> list[Goal]:
    """All, in the order of the demands."""
    return [*_rows(outcomes), *_contract(outcomes), *_router(outcomes), *_log(outcomes), *_accounts(accounts)]


def _rows(outcomes: Mapping[str, Outcome]) -> Iterator[Goal]:
    rows = outcomes.get("rows")

    def goal(text: str, wanted: float, found: Found, unit: str, at_least: bool, waived: str = "") -> Goal:
        return Goal(text, wanted, None if rows is None else found(rows), unit, at_least, "rows", waived)

    alone = None if rows is None else rows.middle("plain", 64).p99_ms
    told = "" if alone is None else f" (`bentoml serve` alone: {alone:.0f} ms)"
    waived = "" if alone is None or alone >= SLOW_MS else f"asked where that is {SLOW_MS:g} ms or more"
    for key in ("v1", "v2"):
        plain, fast = _ratio(throughput, key, 64, "plain"), _ratio(throughput, key, 64, "fast")
        yield goal(f"{key}: throughput at 64 over `bentoml serve`, defaults", 30, plain, "×", True)
        yield goal(f"{key}: throughput at 64 over its fastest set-up", 8, fast, "×", True)
        alike = _ratio(p50, key, 1, "plain")
        yield goal(f"{key}: p50 at 1 over `bentoml serve`, defaults", 0.3, alike, "×", False)
        yield goal(f"{key}: p99 at 64{told}", 16, _p99(key), "ms", False, waived)
    yield goal("longest wait for the shipper after a load", KEEPS_UP_S, _settle, "s", False)


def _ratio(figure: Callable[[Sample], float], key: str, connections: int, over: str) -> Found:
    return lambda rows: rows.ratio(figure, key, connections, over)


def _p99(key: str) -> Found:
    return lambda rows: rows.middle(key, 64).p99_ms


def _settle(rows: Outcome) -> float:
    """Of the gateway's loads."""
    taken = [samples for (key, _), samples in rows.samples.items() if key in ("v1", "v2")]
    return max(sample.settle_s for samples in taken for sample in samples)


def _contract(outcomes: Mapping[str, Outcome]) -> Iterator[Goal]:
    contract = outcomes.get("contract")
    ratio = contract.ratio(throughput, "behind", 64) if contract else None
    yield Goal(
        "a user's row-wise bento behind the gateway over itself, at 64", 10, ratio, "×", True, "contract"
    )


def _router(outcomes: Mapping[str, Outcome]) -> Iterator[Goal]:
    proxy = outcomes.get("proxy")
    ratio = proxy.ratio(router_cpu, "pass", 16) if proxy else None
    yield Goal("router CPU a request, pass-through, over nginx's, at 16", 6, ratio, "×", False, "proxy")


def _log(outcomes: Mapping[str, Outcome]) -> Iterator[Goal]:
    log = outcomes.get("log")
    lost = (1 - log.ratio(throughput, "full", 64)) * 100 if log else None
    yield Goal("throughput lost to the log with payload and the shipper, at 64", 20, lost, "%", False, "log")


def _accounts(accounts: Mapping[str, Account]) -> Iterator[Goal]:
    def goal(name: str, text: str, wanted: float, figure: str, unit: str) -> Goal:
        account = accounts.get(name)
        return Goal(text, wanted, account.figures[figure] if account else None, unit, False, name)

    sent = f"{accounts['growth'].figures['requests']:,.0f} requests" if "growth" in accounts else "the load"
    yield goal("growth", f"memory of a router, at its largest during {sent}", 120, "largest_mib", "MiB")
    text = f"growth of a router over the second half of {sent} (flat: an allocator's noise)"
    yield goal("growth", text, FLAT_MIB, "second_half_mib", "MiB")
    rows = f"{accounts['distinct'].figures['rows']:,.0f} " if "distinct" in accounts else ""
    for figure in ("misrouted", "wrong", "unanswered"):
        yield goal("distinct", f"{rows}distinct rows at 64 clients: {figure}", 0, figure, "rows")
