"""Keys through their life, and what a credential is taken for; the clock is a number."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from router.access import credential
from router.access.admission import Admission, Rules, permitted
from router.access.credential import Credential
from router.access.grant import Grant
from router.access.key import Key, revoked, rotated
from router.access.secret import digest, id_of, new_id, new_key
from router.clock import rfc3339
from router.errors import Conflict, Forbidden, Unauthorized

NOW = 1_800_000_000.0
DAY = 86_400.0
CHANCE = random.Random(7)


def made(name: str = "shop", **others: Any) -> tuple[Key, str]:
    """A key and its secret."""
    key_id = new_id(CHANCE.choice)
    secret = new_key(key_id, CHANCE.choice)
    fields: dict[str, Any] = {"grants": (Grant("caller"),), "created": rfc3339(NOW), "created_by": "admin"}
    return Key(id=key_id, name=name, digest=digest(secret), **(fields | others)), secret


def bearer(secret: str) -> Credential | None:
    """As a request carries it."""
    return credential.find([(b"authorization", b"Bearer " + secret.encode())])


def admits(admission: Admission, secret: str, now: float = NOW) -> bool:
    """Whether it counts."""
    try:
        admission.principal(bearer(secret), now)
    except Unauthorized:
        return False
    return True


def test_a_secret_has_190_bits_and_names_its_key() -> None:
    key, secret = made()
    assert 62 ** len(secret.rpartition("_")[2]) >= 2**160
    assert id_of(secret) == key.id
    assert secret.startswith(f"pm_{key.id}_")
    assert secret not in str(key)


def test_a_key_lets_its_holder_in_and_nobody_else() -> None:
    key, secret = made()
    other, stranger = made("other")
    admission = Admission.of(Rules(required=True), [key])
    principal = admission.principal(bearer(secret), NOW)
    assert (principal.name, principal.auth) == ("shop", f"key pm_{key.id}")
    assert principal.record == f'"pm_{key.id}"'.encode()
    forged = f"pm_{key.id}_{stranger.rpartition('_')[2]}"
    for wrong in (stranger, forged, secret[:-1], secret + "x", secret.upper(), other.id, "", "pm_"):
        assert not admits(admission, wrong), wrong


@given(st.integers(0, 41), st.sampled_from("0aZ_ "))
def test_no_other_text_counts(place: int, char: str) -> None:
    key, secret = made()
    changed = secret[:place] + char + secret[place + 1 :]
    assert admits(Admission.of(Rules(), [key]), changed) == (changed == secret)


def test_expiry_is_the_first_moment_that_does_not_count() -> None:
    key, secret = made(expires=rfc3339(NOW + DAY))
    admission = Admission.of(Rules(), [key])
    assert admits(admission, secret, NOW + DAY - 0.001)
    assert not admits(admission, secret, NOW + DAY)
    assert [key.state(NOW), key.state(NOW + DAY)] == ["active", "expired"]


def test_only_the_holder_hears_why() -> None:
    key, secret = made()
    admission = Admission.of(Rules(), [revoked(key, NOW)])
    with pytest.raises(Unauthorized, match="was revoked"):
        admission.principal(bearer(secret), NOW)
    with pytest.raises(Unauthorized, match="not known"):
        admission.principal(bearer(secret[:-1] + ("a" if secret[-1] != "a" else "b")), NOW)


def test_both_secrets_count_until_the_overlap_ends() -> None:
    key, old = made()
    new = new_key(key.id, CHANCE.choice)
    admission = Admission.of(Rules(), [rotated(key, digest(new), DAY, NOW)])
    assert admits(admission, old)
    assert admits(admission, new)
    assert admits(admission, old, NOW + DAY - 0.001)
    assert not admits(admission, old, NOW + DAY)
    assert admits(admission, new, NOW + DAY)


def test_an_overlap_of_nothing_ends_the_old_one_at_once() -> None:
    key, old = made()
    new = new_key(key.id, CHANCE.choice)
    admission = Admission.of(Rules(), [rotated(key, digest(new), 0.0, NOW)])
    assert (admits(admission, old), admits(admission, new)) == (False, True)


def test_a_revoked_key_has_no_secret_that_counts() -> None:
    key, old = made()
    new = new_key(key.id, CHANCE.choice)
    ended = revoked(rotated(key, digest(new), DAY, NOW), NOW + 1)
    admission = Admission.of(Rules(), [ended])
    assert not admits(admission, old, NOW + 2)
    assert not admits(admission, new, NOW + 2)
    with pytest.raises(Conflict):
        rotated(ended, digest(old), DAY, NOW + 3)
    assert revoked(ended, NOW + 9) == ended


@given(st.permutations(range(5)))
def test_keys_are_taken_in_their_newest_form_in_whatever_order_they_come(order: list[int]) -> None:
    key, secret = made()
    forms = [replace(key, revision=number) for number in range(4)] + [replace(revoked(key, NOW), revision=4)]
    admission = Admission.of(Rules())
    for number in order:
        admission = admission.with_keys([forms[number]])
        assert admission.keys[key.id].revision == max(order[: order.index(number) + 1])
    assert not admits(admission, secret)


def test_a_redis_that_lost_keys_takes_none_away_and_revives_none() -> None:
    lost, secret = made("lost", revision=3)
    ended, old = made("ended", revision=4)
    admission = Admission.of(Rules(), [lost, replace(revoked(ended, NOW), revision=9)])
    fallen_back = admission.with_keys([ended])
    assert admits(fallen_back, secret)
    assert not admits(fallen_back, old)


def test_the_documents_outward_form_has_no_digest() -> None:
    key, _ = made()
    turned = rotated(key, digest("x"), DAY, NOW)
    told = repr(turned.document(NOW))
    assert key.digest not in told
    assert turned.digest not in told
    assert turned.document(NOW)["overlap_ends"] == rfc3339(NOW + DAY)
    assert turned.document(NOW + DAY)["overlap_ends"] is None


def test_the_key_of_the_data_directory_may_everything() -> None:
    admin = "A" * 43
    given_key = bearer(admin)
    assert given_key is not None
    admission = Admission.of(Rules(admin=given_key.digest))
    principal = admission.principal(given_key, NOW)
    assert (principal.name, principal.auth) == ("admin", "key")
    permitted(principal, "anything")
    assert not admits(admission, "A" * 42)


def test_models_are_asked_only_within_the_pattern() -> None:
    key, secret = made(grants=(Grant("caller", "fraud-*"), Grant("viewer")))
    principal = Admission.of(Rules(), [key]).principal(bearer(secret), NOW)
    permitted(principal, "fraud-eu")
    with pytest.raises(Forbidden, match="may not predict of model digits") as refused:
        permitted(principal, "digits")
    assert secret not in refused.value.message


# -- where it stands ---------------------------------------------------------------------------------------


def test_where_a_credential_is_found() -> None:
    _, secret = made()
    key = secret.encode()
    for headers in (
        [(b"authorization", b"Bearer " + key)],
        [(b"authorization", b"bearer  " + key + b" ")],
        [(b"x-api-key", key)],
        [(b"authorization", b"Bearer something-of-the-model"), (b"x-api-key", key)],
        [(b"x-api-key", b"not-ours"), (b"authorization", b"Bearer " + key)],
    ):
        found = credential.find(headers)
        assert found is not None
        assert found.id == secret[3:11]
        assert found.digest.hex() == digest(secret)


def test_what_is_no_credential() -> None:
    _, secret = made()
    key = secret.encode()
    for headers in (
        [],
        [(b"authorization", key)],
        [(b"authorization", b"Basic " + key)],
        [(b"authorization", b"Bearer")],
        [(b"authorization", b"Bearer " + key), (b"authorization", b"Bearer " + key)],
        [(b"x-api-key", key), (b"x-api-key", key)],
        [(b"x-api-key", b"Bearer-of-nothing")],
        [(b"authorization", b"Bearer " + b"x" * 9000)],
        [(b"authorization", b"Bearer \xff")],
    ):
        assert credential.find(headers) is None, headers


@given(st.lists(st.tuples(st.sampled_from([b"authorization", b"x-api-key", b"a"]), st.binary(max_size=60))))
def test_no_header_breaks_the_search(headers: list[tuple[bytes, bytes]]) -> None:
    found = credential.find(headers)
    if found is not None:
        with pytest.raises(Unauthorized):
            Admission.of(Rules(required=True)).principal(found, NOW)
