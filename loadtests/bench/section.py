"""A section of the benchmark: contenders that take turns under the same loads, and what came of it; values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from statistics import median

from loadtests.bench.contender import Contender
from loadtests.bench.wrk import Sample, measure, middle


@dataclass(frozen=True, slots=True)
class Section:
    """`baseline` is the key of the contender that the others are compared with."""

    name: str
    title: str
    contenders: tuple[Contender, ...]
    connections: tuple[int, ...]
    baseline: str
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class Outcome:
    """All samples of a section by contender and connections, a sample a round."""

    section: Section
    samples: dict[tuple[str, int], list[Sample]] = field(default_factory=dict)

    def middle(self, key: str, connections: int) -> Sample:
        """Medians over the rounds."""
        return middle(self.samples[key, connections])

    def ratio(
        self, figure: Callable[[Sample], float], key: str, connections: int, over: str | None = None
    ) -> float:
        """The median of each round's ratio: what slows the machine for a while slows both of a round."""
        mine = self.samples[key, connections]
        other = self.samples[over or self.section.baseline, connections]
        return median(figure(a) / (figure(b) or 1e-9) for a, b in zip(mine, other, strict=True))


@dataclass(frozen=True, slots=True)
class Turn:
    """One load that is about to be run."""

    round: int
    contender: Contender
    connections: int


def turns(section: Section, rounds: int) -> Iterator[Turn]:
    """Every load, interleaved: each round has every contender at every number of connections, another first."""
    for number in range(rounds):
        first = number % len(section.contenders)
        order = section.contenders[first:] + section.contenders[:first]
        for connections in section.connections:
            for contender in order:
                yield Turn(number, contender, connections)


def run(
    section: Section, rounds: int, seconds: float, core: int | None, told: Callable[[Turn], None]
) -> Outcome:
    """Runs all loads; raises Unclean at the first that had an error."""
    outcome = Outcome(section)
    for turn in turns(section, rounds):
        told(turn)
        sample = measure(turn.contender, turn.connections, seconds, core=core)
        outcome.samples.setdefault((turn.contender.key, turn.connections), []).append(sample)
    return outcome


def throughput(sample: Sample) -> float:
    """Requests a second."""
    return sample.rps


def p50(sample: Sample) -> float:
    """Milliseconds."""
    return sample.p50_ms


def router_cpu(sample: Sample) -> float:
    """µs a request of what stands in front: the routers, or nginx."""
    return sample.cpu_us.get("router", sample.cpu_us.get("nginx", 0.0))
