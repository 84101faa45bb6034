"""One change of the control state as a value: what must still be true, and what is written then; pure."""

from __future__ import annotations

from dataclasses import dataclass, field

import orjson

from router.registry import keys
from router.registry.audit import Head


@dataclass(slots=True)
class Change:
    """Collects checks and writes for the commit script; `revision` 0 lets the script take the next one."""

    model: str
    revision: int = 0
    audited: tuple[Head, str] | None = None  # the chain's new head and its time, for whoever signs it
    _keys: list[str] = field(default_factory=lambda: [keys.REVISION, keys.CHANGES, keys.ROUTERS, keys.HINT])
    _args: list[bytes] = field(default_factory=list)
    _checks: list[list[object]] = field(default_factory=list)
    _ops: list[list[object]] = field(default_factory=list)
    _meanings: list[str] = field(default_factory=list)

    def expect(self, key: str, name: str, value: bytes | str | None, meaning: str) -> None:
        """The commit is refused unless `HGET key name` is `value` (None: absent); `meaning` names the check."""
        wanted = 0 if value is None else self._arg(value)
        self._checks.append([self._key(key), self._arg(name), wanted])
        self._meanings.append(meaning)

    def write(self, command: str, key: str, *values: bytes | str) -> None:
        """One Redis write, applied with all the others or not at all."""
        self._ops.append([command, self._key(key), *(self._arg(value) for value in values)])

    def meaning(self, number: int) -> str:
        """The name of the check with this 1-based number."""
        return self._meanings[number - 1]

    def compiled(self, floor: int) -> tuple[list[str], list[bytes]]:
        """KEYS and ARGV of the commit script; the revision will lie above `floor`."""
        plan = {
            "revision": self.revision,
            "floor": floor,
            "model": self.model,
            "checks": self._checks,
            "ops": self._ops,
        }
        return self._keys, [orjson.dumps(plan), *self._args]

    def _key(self, key: str) -> int:
        if key not in self._keys:
            self._keys.append(key)
        return self._keys.index(key) + 1

    def _arg(self, value: bytes | str) -> int:
        self._args.append(value.encode() if isinstance(value, str) else value)
        return len(self._args) + 1  # ARGV[1] is the plan
