"""The outcomes as tables: one set of cells for the terminal and for docs/bench.md; measures nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.table import Table

from loadtests.bench.account import Account
from loadtests.bench.goals import Goal, figure
from loadtests.bench.section import Outcome, p50, throughput
from loadtests.bench.wrk import Sample

HEAD = (
    "contender",
    "c",
    "requests/s",
    "×",
    "p50 ms",
    "× p50",
    "p99 ms",
    "CPU µs a request",
    "RSS MiB",
    "wrk",
)
SHOWN_US = 0.5

LEGEND = """\
`c` is the number of connections; `×` and `× p50` are medians of each round's ratio to the section's baseline (its
row shows 1.00); CPU is by group of processes, idle ones included; RSS is the sum of a group's processes; `wrk` is
the load generator's own share of a core: near 100 % it is what was measured. Before anything was timed, every body
was sent to every contender, 64 at once, and every answer compared with onnxruntime's in the benchmark's process.
No answer was other than 2xx (wrk counts 4xx and 5xx), no connection broke, no answer was late.
"""


def cells(outcome: Outcome) -> Iterator[tuple[str, ...]]:
    """A row a contender and number of connections."""
    for connections in outcome.section.connections:
        for contender in outcome.section.contenders:
            found = outcome.middle(contender.key, connections)
            yield (
                contender.title,
                str(connections),
                f"{found.rps:,.0f}",
                f"{outcome.ratio(throughput, contender.key, connections):.2f}",
                f"{found.p50_ms:.2f}",
                f"{outcome.ratio(p50, contender.key, connections):.2f}",
                f"{found.p99_ms:.1f}",
                f"{found.cpu_total_us:,.0f}: {_groups(found.cpu_us, SHOWN_US)}",
                _groups(found.rss_mib, SHOWN_US),
                f"{found.load_cpu:.0%}",
            )


def _groups(figures: Mapping[str, float], least: float) -> str:
    ordered = sorted(figures.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {value:,.0f}" for name, value in ordered if value >= least)


def terminal(outcome: Outcome) -> Table:
    """For rich."""
    table = Table(*HEAD, title=outcome.section.title)
    for index, row in enumerate(cells(outcome)):
        last = index % len(outcome.section.contenders) == len(outcome.section.contenders) - 1
        table.add_row(*row, end_section=last)
    return table


def account_table(account: Account) -> Table:
    """For rich."""
    table = Table(*account.head, title=account.title)
    for row in account.rows:
        table.add_row(*row)
    return table


def goal_table(goals: list[Goal]) -> Table:
    """What must be reached, for rich."""
    table = Table("measure", "wanted", "found", "", title="What it must reach")
    for goal in goals:
        table.add_row(*_goal_cells(goal))
    return table


def _goal_cells(goal: Goal) -> tuple[str, str, str, str]:
    bound = "≥" if goal.at_least else "≤"
    return (
        goal.text,
        f"{bound} {goal.wanted:g} {goal.unit}",
        "" if goal.found is None else f"{figure(goal.found)} {goal.unit}",
        goal.verdict,
    )


def markdown(
    outcomes: Mapping[str, Outcome],
    accounts: Mapping[str, Account],
    goals: list[Goal],
    facts: Mapping[str, str],
    how: str,
    skipped: Mapping[str, str],
) -> str:
    """The whole of docs/bench.md."""
    lines = ["# Benchmark", "", f"Written by `make bench`; do not edit. {how}", ""]
    lines += _table(("", ""), [(name, text) for name, text in facts.items()])
    lines += ["## What it must reach", ""]
    lines += _table(("measure", "wanted", "found", ""), [_goal_cells(goal) for goal in goals])
    lines += ["![requests a second by connections](bench.svg)", "", LEGEND]
    for name, outcome in outcomes.items():
        lines += [f"## {outcome.section.title}", ""]
        lines += _table(HEAD, list(cells(outcome)))
        for note in outcome.section.notes:
            lines += [note, ""]
        lines += ["```text", *_commands(outcome), "```", "", f"(`--only {name}`)", ""]
    for name, account in accounts.items():
        lines += [f"## {account.title}", "", *_table(account.head, list(account.rows))]
        for note in account.notes:
            lines += [note, ""]
        lines += ["```text", account.command, "```", "", f"(`--only {name}`)", ""]
    for name, why in skipped.items():
        lines += [f"## {name}", "", f"Not run: {why}.", ""]
    return "\n".join(lines).rstrip() + "\n"


def _commands(outcome: Outcome) -> list[str]:
    return [f"{contender.title}: {contender.command}" for contender in outcome.section.contenders]


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    ruled = ["---"] * len(head)
    return [f"| {' | '.join(row)} |" for row in (head, ruled, *rows)] + [""]


def progress(sample: Sample) -> str:
    """One sample in a line."""
    return f"{sample.rps:,.0f}/s, p50 {sample.p50_ms:.2f} ms, p99 {sample.p99_ms:.1f} ms"
