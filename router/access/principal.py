"""Who asks, once that is proven: a name, how it was proven, and the grants; pure."""

from __future__ import annotations

from dataclasses import dataclass, field

import orjson

from router.access.grant import Grant
from router.access.roles import Verb
from router.errors import Forbidden


@dataclass(frozen=True, slots=True, eq=False)
class Principal:
    """`name` and `auth` are the words of the audit, `record` is the principal as the log's JSON has it.

    Decisions are kept by model, of at most 4,096 models.
    """

    name: str
    auth: str
    grants: tuple[Grant, ...]
    record: bytes = b"null"
    _predicts: dict[str, bool] = field(default_factory=dict)

    def may(self, verb: Verb, model: str | None) -> bool:
        """Whether a grant allows `verb` of `model`; None: of all models."""
        return any(grant.covers(verb, model) for grant in self.grants)

    def may_any(self, verb: Verb) -> bool:
        """Whether a grant allows `verb` of some models, whichever these are."""
        return any(grant.covers(verb, grant.models) for grant in self.grants)

    def may_predict(self, model: str) -> bool:
        """The same as `may(PREDICT, model)`, from memory."""
        known = self._predicts.get(model)
        if known is None:
            if len(self._predicts) >= 4096:
                self._predicts.clear()
            known = self._predicts[model] = self.may(Verb.PREDICT, model)
        return known

    def require(self, verb: Verb, model: str | None) -> None:
        """Raises Forbidden naming verb and model."""
        if not self.may(verb, model):
            raise refusal(self, verb, model)


def refusal(principal: Principal, verb: Verb, model: str | None) -> Forbidden:
    """The error for one who is known and may not."""
    what = "of all models" if model is None else f"of model {model[:63]}"
    return Forbidden(f"{principal.name} may not {verb} {what}: no role with a fitting pattern allows it")


def administrator() -> Principal:
    """Who holds the key of the data directory."""
    return Principal("admin", "key", (Grant("admin"),), orjson.dumps("admin"))
