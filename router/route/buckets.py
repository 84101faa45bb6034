"""Ten thousand fixed buckets: which version owns which, and which bucket a key falls into; pure."""

from __future__ import annotations

from hashlib import blake2b

BUCKETS = 10_000

Ranges = tuple[tuple[int, int, str], ...]


def bucket_of(key: bytes, salt: bytes) -> int:
    """The bucket (0…9,999) of a sticky `key`: blake2b keyed by the route's `salt` (at most 64 bytes)."""
    return int.from_bytes(blake2b(key, digest_size=8, key=salt).digest(), "little") % BUCKETS


def reassign(ranges: Ranges, weights: dict[str, float]) -> Ranges:
    """New ranges for `weights` (percent, summing to 100, in steps of 0.01).

    Only the difference moves: a version that loses gives up its highest buckets, those that gain take them
    in the order of their names. `ranges` must cover all buckets. Raises ValueError for weights that do not
    make up the whole.
    """
    wanted = {version: round(weight * BUCKETS / 100) for version, weight in weights.items()}
    if sum(wanted.values()) != BUCKETS or min(wanted.values(), default=-1) < 0:
        raise ValueError(f"weights must be at least 0, sum to 100 and have steps of 0.01, got {weights}")
    kept, freed = _shrink(ranges, wanted)
    have = _sizes(kept)
    grown = list(kept)
    for version in sorted(wanted):
        missing = wanted[version] - have.get(version, 0)
        while missing > 0:
            start, end = freed.pop()
            taken = min(missing, end - start)
            grown.append((start, start + taken, version))
            if start + taken < end:
                freed.append((start + taken, end))
            missing -= taken
    return _merged(grown)


def _shrink(
    ranges: Ranges, wanted: dict[str, int]
) -> tuple[list[tuple[int, int, str]], list[tuple[int, int]]]:
    """What every version keeps, and the freed ranges in descending order."""
    surplus = {version: size - wanted.get(version, 0) for version, size in _sizes(list(ranges)).items()}
    kept: list[tuple[int, int, str]] = []
    freed: list[tuple[int, int]] = []
    for start, end, version in sorted(ranges, reverse=True):
        given = min(max(surplus[version], 0), end - start)
        surplus[version] -= given
        if given:
            freed.append((end - given, end))
        if end - given > start:
            kept.append((start, end - given, version))
    return kept, freed


def _sizes(ranges: list[tuple[int, int, str]]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for start, end, version in ranges:
        sizes[version] = sizes.get(version, 0) + end - start
    return sizes


def _merged(ranges: list[tuple[int, int, str]]) -> Ranges:
    out: list[tuple[int, int, str]] = []
    for start, end, version in sorted(ranges):
        if out and out[-1][1] == start and out[-1][2] == version:
            out[-1] = (out[-1][0], end, version)
        else:
            out.append((start, end, version))
    return tuple(out)
