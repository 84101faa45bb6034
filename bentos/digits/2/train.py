"""digits 2: random forest of 300 trees on the first seven writers (0–6, rows 0–914)."""

from sklearn.ensemble import RandomForestClassifier

from bentos.recipe import WRITERS, Trained, digits


def train() -> Trained:
    """Fits on writers 0–6; judged on the writers from 7 on, none of whom it has seen."""
    rows = digits(0, WRITERS[7])
    params = {"n_estimators": 300, "random_state": 0}
    model = RandomForestClassifier(**params)
    model.fit(rows.features, rows.labels)
    return Trained(model, rows, digits(WRITERS[7], 1797), params=params)
