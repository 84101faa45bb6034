"""What counts as lost: by revision as a whole, by epoch model by model."""

from router.route.regression import Regression


def test_nothing_is_lost_at_first() -> None:
    regression = Regression()
    assert not regression
    assert regression.reasons() == {}


def test_a_lower_revision_is_a_loss_until_it_has_grown_past_ours() -> None:
    regression = Regression()
    assert regression.compare(10, 7)
    assert (bool(regression), regression.revision) == (True, 3)
    assert not regression.compare(10, 10)
    assert not regression


def test_a_model_is_lost_until_it_has_a_newer_route() -> None:
    regression = Regression()
    regression.compare(10, 11)
    assert not regression.note("a", 5, 5)
    assert regression.note("a", 5, 4)
    assert regression.note("b", 9, 0)
    assert regression
    assert regression.reasons() == {
        "a": "it keeps the route of epoch 5, which Redis has lost",
        "b": "it keeps the route of epoch 9, which Redis has lost",
    }
    assert not regression.note("a", 5, 12)
    assert regression.models == {"b": 9}
    assert not regression.note("b", 9, 9)
    assert not regression
