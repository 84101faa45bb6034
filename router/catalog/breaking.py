"""Whether callers of one version would be broken by another: two signatures in, sentences out; pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from router.documents import Signature, TensorSpec

Differs = Callable[[int, int], bool]
"""Whether a dimension that was `before` and is `after` breaks somebody; -1 is variable."""


def breaks(old: Signature | None, new: Signature | None) -> tuple[str, ...]:
    """What of the requests and readers of `old` would fail with `new`, a sentence each; empty where nothing would.

    A signature has no defaults: an added input is one that today's callers do not send. Nothing can be said of a
    version that takes no tensors.
    """
    if old is None:
        return ()
    if new is None:
        return ("takes no tensors any more",)
    found = _inputs(_named(old.inputs), _named(new.inputs))
    return (*found, *_outputs(_named(old.outputs), _named(new.outputs)))


def _named(tensors: tuple[TensorSpec, ...]) -> dict[str, TensorSpec]:
    return {spec.name: spec for spec in tensors}


def _inputs(old: Mapping[str, TensorSpec], new: Mapping[str, TensorSpec]) -> list[str]:
    found = [f"input {name} is removed" for name in old if name not in new]
    found += [f"input {name} is added, and has no default" for name in new if name not in old]
    for name in old.keys() & new.keys():
        was, now = old[name], new[name]
        found += _datatype(f"input {name}", was, now)
        # What was free and is fixed now refuses some of today's requests; what is free now takes them all.
        found += _shape(f"input {name}", was, now, lambda before, after: after not in (-1, before))
        if was.missing == "allow" and now.missing != "allow":
            found.append(f"input {name} no longer allows missing values")
    return sorted(found)


def _outputs(old: Mapping[str, TensorSpec], new: Mapping[str, TensorSpec]) -> list[str]:
    found = [f"output {name} is removed" for name in old if name not in new]
    for name in old.keys() & new.keys():
        was, now = old[name], new[name]
        found += _datatype(f"output {name}", was, now)
        # Readers rely on what was fixed; one that was free may be anything.
        found += _shape(f"output {name}", was, now, lambda before, after: before not in (-1, after))
    if len(old) == 1 and len(new) > 1:
        found.append("rows are answered by objects: there are several outputs now")
    return sorted(found)


def _datatype(name: str, was: TensorSpec, now: TensorSpec) -> list[str]:
    if was.datatype == now.datatype:
        return []
    return [f"{name} changes from {was.datatype} to {now.datatype}"]


def _shape(name: str, was: TensorSpec, now: TensorSpec, differs: Differs) -> list[str]:
    before, after = was.shape, now.shape
    if len(before) != len(after):
        return [f"{name} changes its rank from {len(before)} to {len(after)}"]
    if any(differs(a, b) for a, b in zip(before, after, strict=True)):
        return [f"{name} changes from {list(before)} to {list(after)}"]
    return []
