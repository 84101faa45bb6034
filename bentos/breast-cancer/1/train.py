"""breast-cancer 1: scaled logistic regression on rows 0–283; a plain scikit-learn export, ZipMap included."""

from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bentos.recipe import Trained, breast_cancer


def train() -> Trained:
    """Fits on the first half of the rows as bundled; judged on rows 399–568."""
    rows = breast_cancer(0, 284)
    params = {"C": 1.0, "max_iter": 2000}
    model = make_pipeline(StandardScaler(), LogisticRegression(**params))
    model.fit(rows.features, rows.labels)
    heldout = breast_cancer(399, 569)
    return Trained(model, rows, heldout, zipmap=True, params=params, transform="standard scaling")
