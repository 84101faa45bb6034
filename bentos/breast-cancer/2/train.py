"""breast-cancer 2: gradient boosting of 100 trees on rows 0–398."""

from sklearn.ensemble import GradientBoostingClassifier

from bentos.recipe import Trained, breast_cancer


def train() -> Trained:
    """Fits on rows 0–398 as bundled; judged on rows 399–568."""
    rows = breast_cancer(0, 399)
    params = {"n_estimators": 100, "random_state": 0}
    model = GradientBoostingClassifier(**params)
    model.fit(rows.features, rows.labels)
    return Trained(model, rows, breast_cancer(399, 569), params=params)
