"""What can be asked of the control listener, as values; no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any, Literal, TypeVar

from router import answers
from router.client.call import ANSWER_S, Call, given, place, texts

T = TypeVar("T")

API = "/api/v1"
AUDIT_S = 75.0  # a long chain takes its time
REGISTER_S = 300.0  # the inspection loads and runs the model
What = Literal["routers", "replicas", "agent"]


def read(kind: type[T], *parts: str, **params: object) -> Call[T]:
    """A GET under the API."""
    return Call("GET", API + place(*parts), kind, params=texts(**params))


def of_version(kind: type[T], model: str, version: str, *tail: str, **params: object) -> Call[T]:
    """A GET of what is known of one version."""
    return read(kind, "models", model, "versions", version, *tail, **params)


def add(kind: type[T], body: dict[str, Any], *parts: str) -> Call[T]:
    """A POST of something that is added to a version or a model."""
    return Call("POST", API + place(*parts), kind, json=body)


def flip(model: str, action: str, body: dict[str, Any], if_epoch: int | None) -> Call[answers.Change]:
    """A change of a route."""
    headers = None if if_epoch is None else {"if-match": str(if_epoch)}
    path = API + place("models", model, action)
    return Call("POST", path, answers.Change, json=body, headers=headers)


def register(
    model: str,
    artifact: bytes | IO[bytes],
    name: str,
    manifest: bytes | None,
    version: str | None,
    reason: str | None,
) -> Call[answers.Registered]:
    """An upload; `name` says which kind of file it is (.onnx, .tar, .tar.gz, .tgz, .tar.xz)."""
    files: dict[str, Any] = {"artifact": (name, artifact)}
    if manifest is not None:
        files["manifest"] = ("manifest.yaml", manifest)
    path, data = API + place("models", model, "versions"), given(version=version, reason=reason)
    return Call("POST", path, answers.Registered, files=files, data=data, answer_s=REGISTER_S)


def register_bento(
    model: str, tag: str, version: str | None, manifest: Mapping[str, Any] | None, reason: str | None
) -> Call[answers.Registered]:
    """A bento of the store that `up` was started with."""
    body = given(bento=tag, version=version, manifest=manifest, reason=reason)
    path = API + place("models", model, "versions")
    return Call("POST", path, answers.Registered, json=body, answer_s=REGISTER_S)


def deploy(
    model: str, version: str, replicas: int, wait: float | None, reason: str | None
) -> Call[answers.Deployed]:
    """Replicas; with `wait` the answer comes when they are ready."""
    path = API + place("models", model, "versions", version, "deploy")
    body = given(replicas=replicas, reason=reason)
    answer_s = None if wait is None else wait + ANSWER_S
    return Call("POST", path, answers.Deployed, json=body, params=texts(wait=wait), answer_s=answer_s)


def undeploy(model: str, version: str, force: bool, reason: str | None) -> Call[answers.Deployed]:
    """No replicas."""
    path = API + place("models", model, "versions", version, "undeploy")
    return Call("POST", path, answers.Deployed, json=given(force=force, reason=reason))


def forget_router(router: str) -> Call[answers.Forgotten]:
    """One that is gone for good."""
    return Call("DELETE", API + place("routers", router), answers.Forgotten)


def key_change(tail: tuple[str, ...], body: dict[str, Any]) -> Call[answers.KeyChange]:
    """Of one key."""
    return Call("POST", API + place("keys", *tail), answers.KeyChange, json=body)


def audit(kind: type[T], *parts: str, start: str | None = None, end: str | None = None) -> Call[T]:
    """A chain, what verifies it, or its export."""
    return Call(
        "GET", API + place(*parts), kind, params=texts(**{"from": start, "to": end}), answer_s=AUDIT_S
    )


def restore(reason: str | None) -> Call[answers.Restored]:
    """What Redis lost."""
    return Call("POST", f"{API}/registry/restore", answers.Restored, json=given(reason=reason))


def begin_restart(what: What, model: str | None, version: str | None) -> Call[answers.RestartAnswer]:
    """One by one."""
    body = given(what=what, model=model, version=version)
    return Call("POST", f"{API}/restart", answers.RestartAnswer, json=body)


def metrics() -> Call[str]:
    """Prometheus text."""
    return Call("GET", "/metrics", str)
