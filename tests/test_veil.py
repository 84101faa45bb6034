"""What is written down holds no key and no token, and stays what it was otherwise."""

from __future__ import annotations

import io
import json
import random

import orjson
import structlog
from hypothesis import given
from hypothesis import strategies as st

from router.access.secret import new_id, new_key
from router.logging import configure
from router.veil import veiled, veiled_text
from tests.access.issuing import Issuing

CHANCE = random.Random(3)
KEY = new_key(new_id(CHANCE.choice), CHANCE.choice)
TOKEN = Issuing().token()
SECRETS = (KEY.rpartition("_")[2], TOKEN.partition(".")[2].partition(".")[0], TOKEN.rpartition(".")[2])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)


@given(st.text(max_size=40), st.text(max_size=40), st.sampled_from([KEY, TOKEN]))
def test_no_secret_is_left_wherever_it_stood(before: str, after: str, secret: str) -> None:
    shown = veiled_text(before + secret + after)
    assert not any(each in shown for each in SECRETS)
    assert veiled((before + secret + after).encode()).decode() == shown


@given(JSON, st.sampled_from([KEY, TOKEN, f"Bearer {KEY}", f"a{KEY}b{TOKEN}"]))
def test_what_was_json_stays_json(value: object, secret: str) -> None:
    line = orjson.dumps({"a": value, secret: [secret, {"b": secret}]})
    shown = veiled(line)
    assert not any(each.encode() in shown for each in SECRETS)
    assert orjson.loads(shown)["a"] == value


@given(st.binary(max_size=200))
def test_what_holds_no_secret_is_not_touched(data: bytes) -> None:
    if b"pm_" not in data and b"eyJ" not in data:
        assert veiled(data) == data


def test_the_id_of_a_key_stays() -> None:
    assert veiled_text(f"it was {KEY}.") == f"it was {KEY[:11]}_...."
    assert veiled_text(f"pm_{KEY[3:11]}") == f"pm_{KEY[3:11]}"


def test_no_log_line_holds_one() -> None:
    out = io.StringIO()
    configure("test", stream=out)
    try:
        log = structlog.get_logger("test")
        log.warning("told", text=KEY, nested={"a": [TOKEN]}, **{KEY: 1})
        try:
            raise ValueError(KEY)
        except ValueError:
            log.exception("failed")
    finally:
        configure("test")
    lines = out.getvalue().splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["told", "failed"]
    assert not any(each in out.getvalue() for each in SECRETS)
