"""OpenAPI 3.1 from a table of operations and our own types; it knows no listener and serves nothing.

To describe a new path, add an `Operation` to the table of its listener (`router/edge/openapi.py`,
`router/control/openapi.py`); `tests/test_openapi.py` says which are missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from router import __version__
from router.answers import Failure

Schema = dict[str, Any]
Refusals = Mapping[int, tuple[str, ...]]
"""Error codes by status."""

JSON = "application/json"
REF = "#/components/schemas/{name}"
NAME: Schema = {"type": "string", "pattern": r"^[a-z0-9][a-z0-9._-]{0,62}$"}
REQUEST_ID: Schema = {"type": "string", "pattern": r"^[A-Za-z0-9._:-]{1,128}$"}
TEXT: Schema = {"type": "string"}


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query parameter or a header; both are optional here."""

    name: str
    schema: Schema
    text: str
    place: str = "query"


@dataclass(frozen=True, slots=True)
class Content:
    """A body: `schema` is one of our structs or a JSON schema, by media type; `headers` only in answers."""

    text: str
    schema: Mapping[str, Any]
    headers: Mapping[str, Schema] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Operation:
    """What a method does at a path; `body_needed` is false where an empty body will do.

    `default`: what answers of any other status are, where somebody else gives them. `keyed`: None where a key is
    needed if the installation says so.
    """

    name: str
    method: str
    path: str
    tag: str
    text: str
    answers: Mapping[int, Content]
    refusals: Refusals
    body: Content | None = None
    body_needed: bool = True
    parameters: Sequence[Parameter] = ()
    places: Mapping[str, Schema] = field(default_factory=dict)
    keyed: bool | None = False
    default: Content | None = None


def json_of(text: str, schema: Any, headers: Mapping[str, Schema] | None = None) -> Content:
    """A JSON body."""
    return Content(text, {JSON: schema}, headers or {})


def together(*several: Refusals) -> Refusals:
    """The union, each code once."""
    found: dict[int, tuple[str, ...]] = {}
    for refusals in several:
        for status, codes in refusals.items():
            found[status] = tuple(dict.fromkeys((*found.get(status, ()), *codes)))
    return found


def document(title: str, text: str, operations: Iterable[Operation], *more: type) -> Schema:
    """The whole OpenAPI document, of JSON values; `more` are structs that only a schema names.

    Raises ValueError where an operation is there twice, or two structs have one name.
    """
    operations = tuple(operations)
    paths: dict[str, Schema] = {}
    for operation in operations:
        at = paths.setdefault(operation.path, {})
        if operation.method.lower() in at:
            raise ValueError(f"{operation.method} {operation.path} is described twice")
        at[operation.method.lower()] = _operation(operation)
    kinds = [kind for operation in operations for kind in _structs(operation)]
    _, components = msgspec.json.schema_components([Failure, *more, *dict.fromkeys(kinds)], ref_template=REF)
    if doubled := sorted(name for name in components if "." in name):
        raise ValueError(f"two structs have one name: {doubled}")
    for schema in components.values():
        if "description" in schema:
            schema["description"] = " ".join(schema["description"].split())
    found = {
        "openapi": "3.1.0",
        "info": {"title": title, "description": text, "version": __version__},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }
    plain: Schema = msgspec.json.decode(encoded(found))
    return plain


def encoded(found: Schema) -> bytes:
    """The document as it is served."""
    return msgspec.json.encode(found)


def _structs(operation: Operation) -> Iterable[type]:
    contents = [*operation.answers.values(), operation.body, operation.default]
    for content in contents:
        for schema in content.schema.values() if content is not None else ():
            if isinstance(schema, type):
                yield schema


def _operation(operation: Operation) -> Schema:
    found: Schema = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": operation.text,
        "responses": _responses(operation),
    }
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": operation.places.get(name, NAME)}
        for name in re.findall(r"{([a-z_]+)}", operation.path)
    ]
    parameters += [
        {"name": each.name, "in": each.place, "description": each.text, "schema": each.schema}
        for each in operation.parameters
    ]
    if parameters:
        found["parameters"] = parameters
    if operation.body is not None:
        body = {"description": operation.body.text, "content": _content(operation.body)}
        found["requestBody"] = body | {"required": operation.body_needed}
    if operation.keyed is not False:
        found["security"] = [{"key": []}] if operation.keyed else [{}, {"key": []}]
    return found


def _responses(operation: Operation) -> Schema:
    found: Schema = {str(status): _answer(content) for status, content in operation.answers.items()}
    for status, codes in sorted(operation.refusals.items()):
        refusal = _refusal(codes)
        if str(status) in found:
            kinds = found[str(status)]["content"]
            kinds[JSON] = {"schema": {"anyOf": [kinds[JSON]["schema"], refusal["content"][JSON]["schema"]]}}
        else:
            found[str(status)] = refusal
    if operation.default is not None:
        for answer in found.values():  # somebody else may answer with the same status, in any form
            answer["content"] = {
                JSON: {"schema": {"anyOf": [answer["content"][JSON]["schema"], {}]}},
                "*/*": {},
            }
        found["default"] = _answer(operation.default)
    return found


def _answer(content: Content) -> Schema:
    found: Schema = {"description": content.text}
    if content.schema:
        found["content"] = _content(content)
    if content.headers:
        found["headers"] = {name: {"schema": schema} for name, schema in content.headers.items()}
    return found


def _content(content: Content) -> Schema:
    return {media: {"schema": _schema(schema)} for media, schema in content.schema.items()}


def _schema(schema: Any) -> Schema:
    return {"$ref": REF.format(name=schema.__name__)} if isinstance(schema, type) else dict(schema)


def _refusal(codes: Sequence[str]) -> Schema:
    narrowed = {"allOf": [_schema(Failure), {"properties": {"code": {"enum": list(codes)}}}]}
    text = ", ".join(f"`{code}`" for code in codes)
    return {"description": text, "content": {JSON: {"schema": narrowed}}}
