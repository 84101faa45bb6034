"""digits 1: logistic regression on the first four writers (0–3, rows 0–515)."""

from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bentos.recipe import WRITERS, Trained, digits


def train() -> Trained:
    """Fits on writers 0–3; judged on the writers from 7 on, none of whom it has seen."""
    rows = digits(0, WRITERS[4])
    params = {"C": 0.1, "max_iter": 2000}
    model = make_pipeline(StandardScaler(), LogisticRegression(**params))
    model.fit(rows.features, rows.labels)
    return Trained(model, rows, digits(WRITERS[7], 1797), params=params, transform="standard scaling")
