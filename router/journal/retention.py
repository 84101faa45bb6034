"""Which segments of the host may go, and their removal; never what no stream holds yet, nor an open segment.

The contract keeps records "≥ 24 h or 4 GiB locally", and `log.on_full: refuse` stops answers rather than lose
one. Together:

- only a segment that is closed and wholly shipped can be deleted; while Redis is away the unshipped grow;
- such a segment goes when its last record is older than 24 h, or when all segments together exceed the
  limit (4 GiB), oldest first, until they no longer do;
- writers refuse an eighth above the limit (`journal.bound`): between the two lies the time retention has to
  catch up, so that a refusal means that nothing more may be deleted.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from router.journal.folder import SegmentFile, alive, incarnations, segments
from router.journal.segment import Position

KEEP_S = 24 * 3600.0
EMPTY_S = 60.0
"""A folder without segments stays this long: its router may just be starting."""


@dataclass(frozen=True, slots=True)
class Held:
    """A segment with what its deletion depends on."""

    file: SegmentFile
    open: bool
    shipped: bool


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep found and did, in bytes and segments."""

    kept_bytes: int
    deleted_bytes: int
    deleted: int


def doomed(held: Iterable[Held], now: float, limit_bytes: int, keep_s: float = KEEP_S) -> list[SegmentFile]:
    """The segments to delete, oldest first; `now` in seconds of the epoch. The rule is the module's."""
    everything = sorted(held, key=lambda h: (h.file.mtime, h.file.incarnation, h.file.number))
    total = sum(h.file.size for h in everything)
    going = []
    for one in everything:
        if one.open or not one.shipped:
            continue
        if now - one.file.mtime > keep_s or total > limit_bytes:
            going.append(one.file)
            total -= one.file.size
    return going


def hold(files: list[SegmentFile], live: bool, shipped: Position | None) -> list[Held]:
    """An incarnation's segments, oldest first, with their state; `shipped` is how far its stream reaches.

    The last segment of a live incarnation is open.
    """
    return [
        Held(
            file,
            open=live and file is files[-1],
            shipped=shipped is not None and Position(file.number, file.size) <= shipped,
        )
        for file in files
    ]


def sweep(
    root: Path, shipped: Mapping[str, Position], now: float, limit_bytes: int, keep_s: float = KEEP_S
) -> Swept:
    """Delete what may go under `root`."""
    held: list[Held] = []
    for name in incarnations(root):
        # Liveness first: what a writer adds afterwards only makes segments look open that are closed.
        live = alive(root / name)
        held += hold(segments(root, name), live, shipped.get(name))
    going = doomed(held, now, limit_bytes, keep_s)
    for file in going:
        file.path.unlink(missing_ok=True)
    gone = sum(file.size for file in going)
    return Swept(sum(h.file.size for h in held) - gone, gone, len(going))


def deserted(root: Path, now: float) -> list[str]:
    """The dead incarnations of which nothing is left but the folder."""
    return [
        name
        for name in incarnations(root)
        if not segments(root, name) and not alive(root / name) and _age(root / name, now) > EMPTY_S
    ]


def remove(root: Path, incarnation: str) -> None:
    """Remove the folder of a deserted incarnation; OSError when something is in it after all."""
    os.rmdir(root / incarnation)


def _age(folder: Path, now: float) -> float:
    try:
        return now - folder.stat().st_mtime
    except FileNotFoundError:
        return 0.0
