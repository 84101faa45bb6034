"""Trains the classifier on the generated corpus and writes model.npz: coefficients as arrays, no pickle."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

MODEL: Final = Path(__file__).with_name("model.npz")


def vectorizer() -> Any:
    """Texts to sparse counts of hashed words; it learns nothing, so the model need not keep it."""
    from sklearn.feature_extraction.text import HashingVectorizer

    return HashingVectorizer(n_features=1024, ngram_range=(1, 1), alternate_sign=False, norm="l2")


def train() -> None:
    """Writes MODEL: classes, coefficients and intercepts of a logistic regression."""
    import numpy as np
    from corpus import reviews
    from sklearn.linear_model import LogisticRegression

    texts, labels = reviews()
    fitted = LogisticRegression(C=10.0, max_iter=500).fit(vectorizer().transform(texts), labels)
    arrays = {"classes": fitted.classes_, "coefficients": fitted.coef_, "intercepts": fitted.intercept_}
    np.savez_compressed(MODEL, **arrays)


def load() -> Any:
    """The trained classifier; raises FileNotFoundError where nothing was trained."""
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression()
    with np.load(MODEL, allow_pickle=False) as arrays:
        model.classes_ = arrays["classes"]
        model.coef_ = arrays["coefficients"]
        model.intercept_ = arrays["intercepts"]
    return model


if __name__ == "__main__":
    train()
