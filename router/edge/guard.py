"""Who may ask the paths beside predictions and pass-through, where callers need a key; decides, sends nothing."""

from __future__ import annotations

import re
from time import time

from router.access.principal import Principal, refusal
from router.access.roles import Verb
from router.edge.answer import Answer, failure
from router.edge.inbound import Inbound
from router.errors import Denied
from router.route.watch import Watch

OPEN = frozenset({"/", "/openapi.json", "/livez", "/readyz", "/v2", "/v2/health/live", "/v2/health/ready"})
"""They tell of no model, and are asked by load balancers and by clients that begin."""

# `load` and `unload` see to their own admission: they need it also where nothing else does.
CHANGES = re.compile(r"/v2/repository/models/[^/]*/(?:load|unload)\Z")
OF_A_MODEL = re.compile(r"/v[12]/models/(?P<model>[^/]+)")
STATISTICS = "stats"
DESCRIPTION = "/openapi.json"


class Guard:
    """Lets callers see what they may ask, and viewers what they may look at."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    async def refusal(self, path: str, inbound: Inbound) -> Answer | None:
        """The answer to one who may not; None: go on. `path` is the decoded one that is routed."""
        if not self._watch.table.admission.required or path in OPEN or CHANGES.match(path):
            return None
        if not self._watch.fresh:
            await self._watch.ensure_fresh()
        try:
            principal = self._watch.table.admission.principal(inbound.credential, time())
            looked_at(principal, path)
        except Denied as error:
            return failure(error)
        return None


def looked_at(principal: Principal, path: str) -> None:
    """Raises Forbidden where a path tells of a model, or of all, that the principal may neither ask nor see."""
    if path == DESCRIPTION:
        return
    found = OF_A_MODEL.match(path)
    model = None if found is None or path == f"/v2/models/{STATISTICS}" else found["model"]
    if not (principal.may(Verb.PREDICT, model) or principal.may(Verb.READ, model)):
        raise refusal(principal, Verb.READ, model)
