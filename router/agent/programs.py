"""The command lines and the environment of the processes that `up` starts; starts none itself."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from router.agent.child import Launch
from router.agent.place import Place
from router.settings import Settings

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Programs:
    """The three descriptors are open in this process, and inherited by those programs that need them."""

    place: Place
    node: str
    redis_url: str
    life_fd: int
    data_fd: int
    control_fd: int

    def control(self) -> Launch:
        """The control API on its inherited socket."""
        return self._module("router.control", "--fd", str(self.control_fd), fd=self.control_fd)

    def shipper(self) -> Launch:
        """The journal's shipper."""
        status = str(self.place.runtime_dir / "shipper.json")
        # The Redis URL goes by the environment: everybody on this host may read an argument list.
        return self._module("router.journal", "--status-file", status)

    def agent(self) -> Launch:
        """The agent; at our end it sees to its replicas first."""
        return replace(self._module("router.agent"), dies_with_us=False)

    def router(self, slot: int, clock: Callable[[], float]) -> Launch:
        """A router in `slot`; each start is an incarnation of its own, named by the time (Unix seconds)."""
        name = router_id(slot, clock())
        return self._module(
            "router.edge", "--fd", str(self.data_fd), "--router-id", name, fd=self.data_fd, id=name
        )

    def _module(self, module: str, *args: str, fd: int | None = None, id: str = "") -> Launch:
        # -P: a folder named `router` in the caller's working directory must not be run.
        argv = [sys.executable, "-P", "-m", module, *args, "--life-fd", str(self.life_fd)]
        return Launch(argv, (self.life_fd,) if fd is None else (self.life_fd, fd), id)


def environment(
    settings: Settings, programs: Programs, ports: tuple[int, int], inherited: Mapping[str, str]
) -> dict[str, str]:
    """What every process gets: the caller's environment, every setting, and where things are.

    `ports` are the real ones of the data and the control listener.
    """
    env = dict(inherited)
    for name, value in settings:
        if value is not None:
            env[f"POINTSMAN_{name.upper()}"] = str(value)
    env |= {
        "POINTSMAN_DATA_DIR": str(programs.place.data_dir),
        "POINTSMAN_RUNTIME_DIR": str(programs.place.runtime_dir),
        "POINTSMAN_REDIS_URL": programs.redis_url,
        "POINTSMAN_NODE": programs.node,
        "POINTSMAN_PORT": str(ports[0]),
        "POINTSMAN_CONTROL_PORT": str(ports[1]),
    }
    return env


def router_id(slot: int, now: float) -> str:
    """`r<slot>.<base36 of the start in ms>`: no '-', because a record id is split at it."""
    left, digits = int(now * 1000), ""
    while left:
        left, digit = divmod(left, 36)
        digits = _DIGITS[digit] + digits
    return f"r{slot}.{digits or '0'}"
