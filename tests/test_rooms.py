"""One way down: which room may import which, held against every import statement of the code."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
GROUND = {
    "answers",
    "inference",
    "openapi",
    "outward",
    "halt",
    "connections",
    "clock",
    "contract",
    "documents",
    "errors",
    "logging",
    "names",
    "quarantine",
    "settings",
    "stories",
    "strict",
    "tensors",
    "tls",
    "trust",
    "veil",
    "wire",
}
# A room may import itself, the ground floor, and these.
BELOW = {
    "access": set(),
    "audit": set(),
    "catalog": set(),
    "client": set(),
    "cli": {"agent", "audit", "client"},
    "control": {"access", "agent", "audit", "catalog", "registry", "route", "journal"},
    "edge": {"access", "agent", "audit", "journal", "registry", "route", "upstream"},
    "upstream": {"route"},
    "route": {"access", "registry"},
    "registry": {"access", "audit", "catalog"},
    "journal": {"agent", "registry"},
    "agent": {"access", "registry"},
}
PURE = [
    "access/admission",
    "access/credential",
    "access/grant",
    "access/key",
    "access/principal",
    "access/roles",
    "access/secret",
    "access/token",
    "catalog/addenda",
    "catalog/breaking",
    "catalog/card",
    "catalog/compare",
    "catalog/facts",
    "catalog/lineage",
    "catalog/past",
    "catalog/query",
    "catalog/review",
    "catalog/shelf",
    "audit/account",
    "audit/budget",
    "audit/canonical",
    "audit/chain",
    "audit/ed25519",
    "audit/export",
    "audit/stored",
    "audit/verdict",
    "client/call",
    "client/control_calls",
    "client/data_calls",
    "route/buckets",
    "agent/backoff",
    "agent/plan",
    "agent/health",
    "route/choice",
    "route/table",
    "route/freshness",
    "route/regression",
    "registry/address",
    "route/transition",
    "upstream/batch",
    "upstream/budget",
    "upstream/exchange",
    "upstream/health",
    "upstream/hedge",
    "upstream/limit",
    "upstream/turn",
    "edge/lag",
]
IO = {"asyncio", "socket", "redis", "httpx", "os", "subprocess", "time", "random", "uvicorn", "starlette"}


def imports(path: Path) -> set[str]:
    """Every module a file imports, also those inside functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def room_of(module: str) -> str | None:
    """The room of one of our modules; None for others' and for the ground floor."""
    parts = module.split(".")
    if parts[0] != "router" or len(parts) < 2 or parts[1] in GROUND or parts[1] == "__version__":
        return None
    return parts[1]


def test_every_room_is_in_the_plan() -> None:
    rooms = {path.name for path in (ROOT / "router").iterdir() if (path / "__init__.py").exists()}
    assert rooms == set(BELOW)


@pytest.mark.parametrize("room", sorted(BELOW))
def test_imports_only_go_down(room: str) -> None:
    wrong = {
        f"{path.relative_to(ROOT)} imports {module}"
        for path in (ROOT / "router" / room).rglob("*.py")
        for module in imports(path)
        if (other := room_of(module)) is not None and other != room and other not in BELOW[room]
    }
    assert not wrong


def test_the_ground_floor_imports_no_room() -> None:
    wrong = {
        f"{name} imports {module}"
        for name in GROUND
        for module in imports(ROOT / "router" / f"{name}.py")
        if room_of(module) is not None
    }
    assert not wrong


@pytest.mark.parametrize("module", PURE)
def test_pure_modules_do_no_io(module: str) -> None:
    used = {name.split(".")[0] for name in imports(ROOT / "router" / f"{module}.py")}
    assert not used & IO


def test_router_and_services_do_not_know_each_other() -> None:
    wrong = {
        f"{path.relative_to(ROOT)} imports {module}"
        for here, other in (("router", "services"), ("services", "router"), ("bentos", "router"))
        for path in (ROOT / here).rglob("*.py")
        for module in imports(path)
        if module.split(".")[0] == other
    }
    assert not wrong


def test_only_the_registry_speaks_redis() -> None:
    """Others may catch Redis' errors and hold a client, but commands live in the registry and the shipper."""
    allowed = {"router/registry", "router/journal"}
    wrong = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "router").rglob("*.py")
        if str(path.parent.relative_to(ROOT)) not in allowed
        for module in imports(path)
        if module.split(".")[0] == "redis" and not module.startswith("redis.exceptions")
    }
    assert not wrong
