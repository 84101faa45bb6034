"""The operations on versions and models beside routes, for the OpenAPI document; a table, serves nothing."""

from __future__ import annotations

from typing import Any

from router import answers, stories
from router.control.additions import Alias, Remark, Reviewing, Tags
from router.control.refusals import BODY, FLIP, KEYED, MODEL, PAGED, REDIS, VERSION, WRITES
from router.openapi import NAME, TEXT, Operation, Parameter, Refusals, Schema, json_of, together

API = "/api/v1"
OF_VERSION = f"{API}/models/{{model}}/versions/{{version}}"
INDEX: Refusals = {503: ("redis_away", "unavailable", "index_building")}
FLAG: Schema = {"enum": ["true", "false"]}
LIMIT = Parameter("limit", {"type": "integer", "minimum": 1, "maximum": 1000}, "Most items of a page.")
CURSOR = Parameter("cursor", TEXT, "The `next` of the page before.")
NUMBER = Parameter("cursor", {"type": "string", "pattern": "^[0-9]{1,9}$"}, "The `next` of the page before.")


def _read(name: str, path: str, text: str, kind: Any, refusals: Refusals, *asked: Parameter) -> Operation:
    found = {200: json_of(text, kind)}
    told = together(KEYED, REDIS, refusals)
    return Operation(name, "GET", path, "stories", text, found, told, parameters=asked, keyed=True)


def _add(
    name: str, path: str, text: str, form: type, found: type, *, status: int = 200, needed: bool = True
) -> Operation:
    told = together(
        KEYED, WRITES, BODY, VERSION if "{version}" in path else MODEL, {409: ("too_many", "conflict")}
    )
    return Operation(
        *(name, "POST", path, "stories", text, {status: json_of(text, found)}, told),
        json_of("What is added.", form),
        body_needed=needed,
        keyed=True,
    )


ALIAS = Operation(
    *("alias", "POST", f"{API}/models/{{model}}/aliases", "routes", "Lets a name stand for a version."),
    {
        200: json_of("Every known router has acknowledged.", answers.Change, {"etag": TEXT}),
        202: json_of("The change stands; laggards are not known to have it.", answers.Change, {"etag": TEXT}),
    },
    together(FLIP, {404: ("unknown_alias",), 409: ("alias_is_version", "too_many")}),
    json_of("Version null takes the name away.", Alias),
    parameters=(
        Parameter(
            "if-match",
            {"type": "string", "pattern": r'^("[0-9]{1,18}"|[0-9]{1,18}|\*)$'},
            "Only at this epoch.",
            "header",
        ),
    ),
    keyed=True,
)

STORIES: tuple[Operation, ...] = (
    _read("story", OF_VERSION, "A version whole, with what was added.", stories.VersionStory, VERSION),
    _add("tag", f"{OF_VERSION}/tags", "Sets and takes away tags.", Tags, stories.Tagged),
    _add("note", f"{OF_VERSION}/notes", "Adds a note.", Remark, stories.Noted, status=201),
    _read(
        *("lineage", f"{OF_VERSION}/lineage", "Data, parents, children, service.", stories.Lineage),
        together(VERSION, INDEX),
    ),
    _read(
        *("card", f"{OF_VERSION}/card", "The model card.", stories.Card),
        together(VERSION, PAGED),
        Parameter("format", {"enum": ["markdown", "html"]}, "Markdown, unless told otherwise."),
    ),
    _read("aliases", f"{API}/models/{{model}}/aliases", "Names for versions.", stories.Aliases, MODEL),
    ALIAS,
    _add(
        *(
            "review",
            f"{API}/models/{{model}}/review",
            "Marks a model as reviewed.",
            Reviewing,
            stories.Reviewed,
        ),
        needed=False,
    ),
    _read(
        *(
            "additions",
            f"{API}/models/{{model}}/additions",
            "Who added what, oldest first.",
            stories.Additions,
        ),
        together(MODEL, PAGED),
        *(LIMIT, NUMBER),
    ),
    _read(
        *("compare", f"{API}/models/{{model}}/compare", "Versions side by side.", stories.Comparison),
        together(VERSION, PAGED, {400: ("bad_name",)}),
        Parameter("versions", TEXT, "Two to ten, such as 1,2."),
        Parameter("differing", FLAG, "Only what differs."),
        *(LIMIT, NUMBER),
    ),
    _read(
        *("dataset", f"{API}/lineage", "From a data set to versions and requests.", stories.DatasetLineage),
        together(PAGED, INDEX),
        Parameter("dataset", {"type": "string", "pattern": "^[0-9a-f]{64}$"}, "Its SHA-256."),
        *(LIMIT, NUMBER),
    ),
    _read(
        *("search", f"{API}/search", "Versions that a query finds.", stories.Search),
        together(PAGED, INDEX, {400: ("bad_query", "bad_cursor")}),
        Parameter("q", TEXT, "Such as `metrics.auc > 0.9 and tag:fraud`."),
        *(LIMIT, CURSOR),
    ),
    _read(
        *("inventory", f"{API}/inventory", "Every model as its keepers see it.", stories.Inventory),
        together(PAGED, INDEX),
        Parameter("overdue", FLAG, "Only those whose review is overdue."),
        *(LIMIT, CURSOR),
    ),
    _read(
        *("state", f"{API}/state", "What was active at a time.", stories.Past),
        together(PAGED, MODEL, {400: ("bad_name",)}),
        Parameter("at", TEXT, "A time, or 10m for ten minutes ago."),
        Parameter("model", NAME, "Only of this model."),
        *(LIMIT, CURSOR),
    ),
)
