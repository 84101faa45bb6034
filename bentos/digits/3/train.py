"""digits 3: logistic regression on rows 0–119 only; plainly worse, to have something to roll back from."""

from sklearn.linear_model import LogisticRegression

from bentos.recipe import WRITERS, Trained, digits


def train() -> Trained:
    """Fits on 120 rows of one writer; judged on the writers from 7 on, none of whom it has seen."""
    rows = digits(0, 120)
    params = {"max_iter": 2000}
    model = LogisticRegression(**params)
    model.fit(rows.features, rows.labels)
    return Trained(model, rows, digits(WRITERS[7], 1797), params=params)
