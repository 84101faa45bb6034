"""The one file that touches BentoML's private modules: a service as an ASGI app inside our own uvicorn.

If a new BentoML breaks it, the public way still works: `bentoml serve` of the generic bento in bentos/onnx
(slower to start, no lean lane, a port instead of a Unix socket).
"""

from __future__ import annotations

from typing import Any, Final

import bentoml

from services.asgi import AsgiApp
from services.refusal import Refusal

TRIED: Final = ("1.4.39",)


def asgi_app(service: Any, *, model: str, version: str) -> AsgiApp:
    """BentoML's own app of `service` with its lifespan: readyz, livez, metrics, schema.json, the APIs.

    `model` and `version` are what its metrics are labelled with. Raises Refusal `bentoml_version` under a
    BentoML this was not tried with.
    """
    if bentoml.__version__ not in TRIED:
        raise Refusal(
            f"the replica launcher was tried with BentoML {', '.join(TRIED)}, this is {bentoml.__version__};"
            " install that one, or run `bentoml serve` on the bento in bentos/onnx instead",
            code="bentoml_version",
        )
    from bentoml._internal.configuration.containers import BentoMLContainer
    from bentoml._internal.context import server_context
    from bentoml._internal.utils.uri import join_paths

    BentoMLContainer.development_mode.set(False)
    server_context.service_type = "entry_service"
    server_context.service_name = service.name
    server_context.service_routes = [
        join_paths(service.path_prefix, api.route) for api in service.apis.values()
    ]
    server_context.bento_name = model
    server_context.bento_version = version
    app: AsgiApp = service.to_asgi(is_main=True)
    return app
