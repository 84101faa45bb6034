"""The sections by name: who is compared with whom, at which loads; each starts what it needs on a stack."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np
import yaml

from loadtests.bench import bentos, proxies
from loadtests.bench.bodies import BENTO, NPY, V1, V2, Form, Outputs, v2_binary
from loadtests.bench.contender import Contender
from loadtests.bench.installation import Installation
from loadtests.bench.section import Section
from loadtests.bench.workshop import (
    GATEWAY_MODEL,
    V1_PATH,
    V2_PATH,
    Payload,
    Workshop,
    direct,
    gateway,
)

ALL_LOADS = (1, 16, 64, 256)
CONTRACT_MODEL = "contract"


class Skipped(Exception):
    """A section cannot be run here, and why."""


def rows(shop: Workshop, stack: ExitStack, connections: tuple[int, ...] = ALL_LOADS) -> Section:
    """1-row JSON: the gateway through v1 and v2, `bentoml serve` with defaults and at its fastest."""
    payload = shop.rows(1)
    made = shop.installation(stack)
    made.serve(GATEWAY_MODEL, shop.gradient_boosting)
    plain, fast = shop.server(stack, bentos.DEFAULTS), shop.server(stack, bentos.FASTEST)
    bodies = shop.bodies(BENTO, payload)
    return Section(
        "rows",
        "1 row, JSON",
        (
            gateway(made, "v1", "gateway, v1", V1_PATH, shop.bodies(V1, payload)),
            gateway(made, "v2", "gateway, v2", V2_PATH, shop.bodies(V2, payload)),
            direct(plain, "plain", "bentoml serve, defaults", bodies),
            direct(fast, "fast", "bentoml serve, fastest set-up", bodies),
        ),
        connections,
        "plain",
        (f"The fastest set-up was chosen by short tries: {bentos.FOUND}",),
    )


def small(shop: Workshop, stack: ExitStack) -> Section:
    """What CI runs of `rows`: the gateway and the defaults, at 1 and 64."""
    payload = shop.rows(1)
    made = shop.installation(stack)
    made.serve(GATEWAY_MODEL, shop.gradient_boosting)
    plain = shop.server(stack, bentos.DEFAULTS)
    return Section(
        "small",
        "1 row, JSON, the small version",
        (
            gateway(made, "v1", "gateway, v1", V1_PATH, shop.bodies(V1, payload)),
            direct(plain, "plain", "bentoml serve, defaults", shop.bodies(BENTO, payload)),
        ),
        (1, 64),
        "plain",
    )


def contract(shop: Workshop, stack: ExitStack) -> Section:
    """An unchanged user's row-wise bento: behind the gateway by its tensor contract, and called directly."""
    payload = shop.rows(1)
    plain = shop.server(stack, bentos.DEFAULTS)
    made = shop.installation(stack)
    made.serve_bento(CONTRACT_MODEL, plain.tag, _contract_manifest(shop, payload))
    path = f"/v1/models/{CONTRACT_MODEL}:predict"
    return Section(
        "contract",
        "An unchanged user's row-wise bento, 1 row, JSON",
        (
            gateway(made, "behind", "the bento behind the gateway", path, shop.bodies(V1, payload)),
            direct(plain, "plain", "the same called directly", shop.bodies(BENTO, payload)),
        ),
        (1, 16, 64),
        "plain",
    )


def _contract_manifest(shop: Workshop, payload: Payload) -> dict[str, Any]:
    stated = yaml.safe_load((shop.gradient_boosting / "manifest.yaml").read_text())
    return {
        "apiVersion": "pointsman/v1",
        "kind": "Version",
        "signature": stated["signature"],
        "rowwise": True,
        "python": "gateway",
        "tensors": {
            "route": bentos.DEFAULTS.route,
            "argument": "x",
            "output": {"label": "label", "probabilities": "probabilities"},
        },
        "golden": {"rows": {"x": [tensor[0].tolist() for tensor in payload.tensors[:8]]}},
    }


def passed_through(shop: Workshop, stack: ExitStack) -> tuple[Installation, Contender, str]:
    """The gateway's pass-through, log without payload, before the trivial upstream; and that one's address."""
    behind, address = proxies.upstream(shop.folder / "u")
    stack.callback(behind.close)
    made = shop.installation(stack, "bare")
    proxies.seat(made, address)
    tensors = shop.rows(1).tensors
    expected = [_whole(proxies.ANSWER, {})] * len(tensors)
    bodies = shop.bodies(Form("JSON", V1.write, _whole), Payload(tensors, expected))
    path = f"/models/{proxies.MODEL}/predict"
    return made, gateway(made, "pass", "gateway, pass-through", path, bodies), address


def proxy(shop: Workshop, stack: ExitStack) -> Section:
    """nginx as a plain proxy against the gateway's pass-through, the same trivial upstream behind both."""
    if proxies.installed() is None:
        raise Skipped(proxies.MISSING)
    _, passed, address = passed_through(shop, stack)
    before, url = proxies.proxy(shop.folder / "p", address)
    stack.callback(before.close)
    command = "nginx -c proxy.conf"
    plain = Contender("nginx", "nginx, 1 worker", f"{url}/predict", passed.bodies, before.roots, command)
    return Section(
        "proxy",
        "Pass-through against nginx, trivial upstream, log without payload",
        (passed, plain),
        (16,),
        "nginx",
        (
            "CPU: of the routers, or of nginx' worker and master; the upstream's (another nginx) is not in it.",
            "nginx.conf of the proxy:\n\n```text\n"
            + proxies.PROXY.replace("{{", "{").replace("}}", "}")
            + "```",
        ),
    )


def _whole(body: bytes, _: object) -> Outputs:
    return {"answer": np.frombuffer(body, np.uint8)}


def _many_rows(shop: Workshop, stack: ExitStack, count: int) -> Section:
    payload = shop.rows(count)
    made = shop.installation(stack)
    made.serve(GATEWAY_MODEL, shop.gradient_boosting)
    plain = shop.server(stack, bentos.DEFAULTS)
    binary = shop.bodies(v2_binary("x", (count, 30)), payload)
    return Section(
        f"rows-{count}",
        f"{count} rows a request",
        (
            gateway(made, "binary", "gateway, v2 binary", V2_PATH, binary),
            gateway(made, "v2", "gateway, v2 JSON", V2_PATH, shop.bodies(V2, payload)),
            direct(plain, "plain", "bentoml serve, defaults, JSON", shop.bodies(BENTO, payload)),
        ),
        (1, 16),
        "plain",
    )


def rows_8(shop: Workshop, stack: ExitStack) -> Section:
    """8 rows a request."""
    return _many_rows(shop, stack, 8)


def rows_64(shop: Workshop, stack: ExitStack) -> Section:
    """64 rows a request."""
    return _many_rows(shop, stack, 64)


def image(shop: Workshop, stack: ExitStack) -> Section:
    """An image tensor of 588 KiB: v2 binary, and as an uploaded .npy file at `bentoml serve`."""
    payload = shop.pictures()
    made = shop.installation(stack)
    made.serve("picture", shop.picture)
    plain = shop.server(stack, bentos.PICTURE)
    binary = shop.bodies(v2_binary("image", (1, 3, 224, 224)), payload)
    return Section(
        "image",
        "An image tensor, 1×3×224×224 FP32",
        (
            gateway(made, "binary", "gateway, v2 binary", "/v2/models/picture/infer", binary),
            direct(plain, "plain", "bentoml serve, defaults, .npy upload", shop.bodies(NPY, payload)),
        ),
        (1, 16),
        "plain",
        (
            f"{len(payload.tensors)} distinct images (38 MB), not 1,024; the model is a mean by channel and a"
            " matrix. BentoML's public API takes no raw tensor: a plain user uploads a file.",
        ),
    )


def log(shop: Workshop, stack: ExitStack) -> Section:
    """What the log costs: with payload and shipper, with the shipper stopped, without payload, without a log."""
    payload = shop.rows(1)
    full, bare, none = (shop.installation(stack, log) for log in ("full", "bare", "none"))
    for made in (full, bare, none):
        made.serve(GATEWAY_MODEL, shop.gradient_boosting)
    bodies = shop.bodies(V1, payload)
    stopped = gateway(
        full, "unshipped", "log with payload, shipper stopped", V1_PATH, bodies, full.shipper_stopped
    )
    return Section(
        "log",
        "Cost of the log, 1 row, v1 JSON",
        (
            gateway(full, "full", "log with payload, shipper", V1_PATH, bodies),
            stopped,
            gateway(bare, "bare", "log without payload, shipper", V1_PATH, bodies),
            gateway(none, "none", "no log, shipper stopped", V1_PATH, bodies, none.shipper_stopped),
        ),
        (16, 64),
        "none",
        (
            "The product has no switch for «no log»: the routers of that installation are patched at their"
            " start (loadtests/bench/unlogged) to build no record and write none. With the shipper stopped"
            " (SIGSTOP during the load) its CPU time is that of catching up afterwards.",
        ),
    )


Maker = Callable[[Workshop, ExitStack], Section]

SECTIONS: dict[str, Maker] = {
    "rows": rows,
    "contract": contract,
    "proxy": proxy,
    "rows-8": rows_8,
    "rows-64": rows_64,
    "image": image,
    "log": log,
}
