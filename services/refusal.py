"""The one error of artifacts, manifests and models that are refused, with its slug; it decides nothing."""

from __future__ import annotations


class Refusal(Exception):
    """A file, manifest or model that is not accepted.

    `code` is a stable slug, `field` the path of the offending manifest field or tensor where there is one.
    """

    def __init__(self, text: str, *, code: str, field: str | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.code = code
        self.field = field

    def body(self) -> dict[str, str]:
        """`{"error", "code"}` and `"field"` where known: the shape of every error in this product."""
        found = {"error": self.text, "code": self.code}
        if self.field is not None:
            found["field"] = self.field
        return found
