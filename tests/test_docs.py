"""The documents against the code: what exists is described, and what is described exists. No network."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
from starlette.routing import BaseRoute, Mount, Route

from loadtests.guarantees import PROOFS
from router.cli.main import main
from router.control.app import control_app
from router.edge.gateway import TENSOR_PATHS, Gateway
from router.settings import Settings

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
CODE = [path for room in ("router", "services") for path in sorted((ROOT / room).rglob("*.py"))]
SLUG = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*\Z")


def read(name: str) -> str:
    """A document under docs/."""
    return (ROOT / "docs" / name).read_text()


def rows(text: str) -> list[list[str]]:
    """The cells of every table row, headings included; `\\|` is not used in our tables."""
    found = [line for line in text.splitlines() if line.startswith("|")]
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in found if set(line) - set("|-: ")
    ]


def first_cells(text: str) -> set[str]:
    """What stands in backticks in the first cell of any row."""
    return {name for row in rows(text) for name in re.findall(r"`([^`]+)`", row[0])}


def section(text: str, heading: str) -> str:
    """The text under a heading, up to the next one of the same or a higher rank."""
    match = re.search(rf"^(#+) {re.escape(heading)}$", text, re.M)
    assert match is not None, f"there is no heading {heading!r}"
    rest = text[match.end() :]
    end = re.search(rf"^#{{1,{len(match[1])}}} ", rest, re.M)
    return rest if end is None else rest[: end.start()]


def spoken_code(text: str) -> Iterator[str]:
    """Every code span, and every command line of a fenced console block."""
    fenced = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
    for language, body in fenced.findall(text):
        if language == "console":
            yield from re.findall(r"^\$ (.*)$", body, re.M)
    yield from re.findall(r"`([^`\n]+)`", fenced.sub("", text))


# -- commands ----------------------------------------------------------------------------------------------


def commands() -> dict[str, click.Command]:
    """Every command by its full name."""

    def walk(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
        yield name, command
        if isinstance(command, click.Group):
            context = click.Context(command)
            for each in command.list_commands(context):
                inner = command.get_command(context, each)
                assert inner is not None
                yield from walk(f"{name} {each}", inner)

    return dict(walk("pointsman", main))


def options(command: click.Command) -> set[str]:
    """The options of a command, in all spellings."""
    return {
        spelling
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for spelling in (*parameter.opts, *parameter.secondary_opts)
    }


def test_every_command_has_a_section_and_no_other_has() -> None:
    headings = set(re.findall(r"^## `(pointsman[^`]*)`$", read("commands.md"), re.M))
    assert headings == set(commands())


@pytest.mark.parametrize("name", sorted(commands()))
def test_a_section_names_exactly_the_options_of_its_command(name: str) -> None:
    described = first_cells(section(read("commands.md"), f"`{name}`"))
    assert {each for each in described if each.startswith("-")} - {"--help"} == options(commands()[name])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_only_commands_that_exist_are_spoken_of(document: Path) -> None:
    known = set(commands())
    wrong = []
    for code in spoken_code(document.read_text()):
        for match in re.finditer(r"(?<![\w/.-])pointsman ([a-z]+)( [a-z]+)?((?: [^;|&]*)?)", code):
            name = f"pointsman {match[1]}"
            if name not in known:
                wrong.append(code)
                continue
            full = f"{name}{match[2]}" if f"{name}{match[2]}" in known else name
            used = set(re.findall(r"(?<!\S)--?[a-z][a-z-]*", match[3]))
            if used - options(commands()[full]) - {"-h", "--help"}:
                wrong.append(code)
    assert not wrong


# -- settings and environment ------------------------------------------------------------------------------


def variables(*roots: str) -> set[str]:
    """Every environment variable of ours that the code names."""
    files = [path for root in roots for path in sorted((ROOT / root).rglob("*.py"))]
    named = {
        node.value
        for path in files
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return {name for name in named if re.fullmatch(r"POINTSMAN_[A-Z_]*[A-Z]", name)}


def test_every_setting_has_a_row_with_its_default_and_no_other_has() -> None:
    told = {row[0].strip("`"): row[1] for row in rows(section(read("settings.md"), "All settings"))[1:]}
    defaults = {
        f"POINTSMAN_{name.upper()}": "none" if field.default is None else f"`{field.default}`"
        for name, field in Settings.model_fields.items()
    }
    assert told == defaults


def test_every_environment_variable_is_described() -> None:
    described = first_cells(read("settings.md"))
    assert variables("router", "services", "bentos", "loadtests") <= described


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_only_environment_variables_that_exist_are_spoken_of(document: Path) -> None:
    known = {f"POINTSMAN_{name.upper()}" for name in Settings.model_fields}
    known |= variables("router", "services", "bentos", "loadtests")
    assert set(re.findall(r"POINTSMAN_[A-Z_]*[A-Z]", document.read_text())) <= known


# -- paths -------------------------------------------------------------------------------------------------


def described_paths(heading: str) -> set[str]:
    """`METHOD /path` of the first column of the table under a heading of http.md."""
    before_subsections = section(read("http.md"), heading).split("\n### ")[0]
    return {name for name in first_cells(before_subsections) if re.match(r"[A-Z]+ /", name)}


def offered(routes: list[BaseRoute], prefix: str = "") -> Iterator[str]:
    """`METHOD /path` of every Starlette route; HEAD comes with GET."""
    for route in routes:
        if isinstance(route, Mount):
            yield from offered(list(route.routes), prefix + route.path)
        elif isinstance(route, Route):
            for method in (route.methods or set()) - {"HEAD"}:
                yield f"{method} {prefix}{route.path}"


def inner_app(app: Any) -> Any:
    """The Starlette application behind our own ASGI layers."""
    while not hasattr(app, "routes"):
        app = app._app
    return app


def test_the_control_paths_are_those_that_are_offered() -> None:
    plane: Any = SimpleNamespace()
    app = inner_app(control_app(plane, "key"))
    assert described_paths("Control listener") == set(offered(app.routes))


def edge_routes() -> list[Route]:
    """The Starlette routes that any class of the room of HTTP keeps in `routes`."""
    found: list[Route] = []
    for path in sorted((ROOT / "router" / "edge").glob("*.py")):
        if "self.routes" not in path.read_text():
            continue
        module = import_module(f"router.edge.{path.stem}")
        for kind in vars(module).values():
            if inspect.isclass(kind) and kind.__module__ == module.__name__:
                stubs = [SimpleNamespace() for _ in inspect.signature(kind).parameters]
                found += getattr(kind(*stubs), "routes", [])
    return found


def data_paths() -> set[str]:
    """Every path of the data listener: Starlette's, those of the tensor protocols, and the pass-through."""
    stub: Any = SimpleNamespace()
    found = set(offered(list(Gateway(stub, stub, stub, edge_routes())._rest.routes)))
    for prefix, suffix, *_ in TENSOR_PATHS:
        found |= {f"POST {prefix}{{model}}{middle}{suffix}" for middle in ("", "/versions/{version}")}
    lanes = set(
        re.findall(r'startswith\("(/[^"]+)"\)', (ROOT / "router" / "edge" / "gateway.py").read_text())
    )
    for prefix in lanes:
        found |= {f"ANY {prefix}{{model}}{middle}/{{path}}" for middle in ("", "/versions/{version}")}
    return found


def test_the_data_paths_are_those_that_are_offered() -> None:
    assert described_paths("Data listener") == data_paths()


# -- metrics, errors, events -------------------------------------------------------------------------------


def test_the_described_metrics_are_those_of_the_code() -> None:
    named = {
        name
        for path in (ROOT / "router").rglob("*.py")
        for name in re.findall(r"\bpointsman_[a-z_]+[a-z]", path.read_text())
    }
    assert first_cells(read("metrics.md")) == named


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_only_metrics_that_exist_are_spoken_of(document: Path) -> None:
    described = first_cells(read("metrics.md"))
    assert set(re.findall(r"\bpointsman_[a-z_]+[a-z]", document.read_text())) <= described


@cache
def codes() -> frozenset[str]:
    """Every slug that the code can give out as `code`."""
    return frozenset(
        value
        for path in CODE
        for node in ast.walk(ast.parse(path.read_text()))
        for holder in _code_holders(node)
        for constant in ast.walk(holder)
        if isinstance(constant, ast.Constant) and isinstance(value := constant.value, str)
        if SLUG.match(value)
    )


def _code_holders(node: ast.AST) -> Iterator[ast.AST]:
    """The expressions in which a node names error codes."""
    if isinstance(node, ast.keyword) and node.arg == "code":
        if not isinstance(node.value, ast.Subscript):  # another's code, passed on
            yield node.value
    elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if any(isinstance(target, ast.Name) and target.id in ("code", "codes") for target in targets):
            yield node.value
    elif isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            # Anything but a constant is a code that was named elsewhere.
            if isinstance(key, ast.Constant) and key.value == "code" and isinstance(value, ast.Constant):
                yield value
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
        name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
        if name in ("Refused", "_refused", "_Failure", "refuse", "NoAnswer") and len(node.args) >= 2:
            yield node.args[1]
        elif ast.unparse(node.func) == "codes.get":
            yield from node.args[1:]


def described_codes() -> set[str]:
    """The first cells of the tables of errors, and of the command line's own codes."""
    ours = section(read("commands.md"), "What all have in common")
    return {name for name in first_cells(section(read("http.md"), "Errors") + ours) if SLUG.match(name)}


def test_the_walk_over_error_codes_sees_each_way_of_naming_one() -> None:
    # A keyword, a class's own, an assignment, a table, a default, the positional ones of three rooms.
    seen = {"pin_mismatch", "redis_away", "unauthorized", "log_unavailable", "unknown_path", "http_error"}
    assert seen | {"no_address", "memory_limit", "model_error", "unloadable"} <= codes()


def test_the_described_error_codes_are_those_of_the_code() -> None:
    assert described_codes() == codes()


def test_the_described_log_events_are_those_of_the_code() -> None:
    """Warnings and errors; an event has one name wherever it is written."""
    call = re.compile(r'\b_?log\.(?:warning|error|exception)\(\s*"([a-z_]+)"')
    written = {name for path in CODE for name in call.findall(path.read_text())}
    assert first_cells(section(read("failures.md"), "Log events")) == written


# -- make, links -------------------------------------------------------------------------------------------


def targets() -> set[str]:
    """The targets of the Makefile that people call."""
    return set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.M))


def test_every_make_target_is_described() -> None:
    table = section(read("development.md"), "Make targets")
    assert {f"make {name}" for name in targets()} == {
        name for name in first_cells(table) if name.startswith("make ")
    }


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_only_make_targets_that_exist_are_spoken_of(document: Path) -> None:
    spoken = {
        name
        for code in spoken_code(document.read_text())
        for name in re.findall(r"(?<![\w-])make ([a-z][a-z-]*)", code)
    }
    assert spoken <= targets()


def test_every_proof_is_described() -> None:
    assert first_cells(section(read("development.md"), "Proofs")) == set(PROOFS)


def anchors(path: Path) -> set[str]:
    """The anchors that a document's headings make."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_no_relative_link_is_dead(document: Path) -> None:
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = document if not name else (document.parent / name).resolve()
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(link)
    assert not dead


def test_every_document_is_linked_from_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    assert {path.name for path in DOCUMENTS[1:] if f"{path.name})" not in readme} == set()
