"""The benchmark: its small version against recorded ratios, and its parts that could lie without being noticed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from loadtests.bench import distinct, goals, plot, small, stacks, wrk
from loadtests.bench.asker import Way, ask
from loadtests.bench.bodies import BENTO, NPY, V1, V2, Outputs, answers, make, pictures, rows, v2_binary
from loadtests.bench.checking import Wrong, compare
from loadtests.bench.flame import flame
from loadtests.bench.goals import Goal
from loadtests.bench.growth import Point, grown, start_middle_end
from loadtests.bench.installation import UNLOGGED
from loadtests.bench.models import gradient_boosting, numbered
from loadtests.bench.section import Outcome, Section, throughput
from loadtests.bench.tree import MIB, Look, gateway_group
from loadtests.bench.workshop import Workshop
from loadtests.bench.wrk import Sample, read_report

REPORT = (
    'RESULT {"requests":3000,"duration_us":2000000,"p50_us":640,"p99_us":2800,"max_us":9000,'
    '"non_2xx":0,"broken":0,"late":0}'
)


@pytest.mark.fleet
@pytest.mark.skipif(not wrk.installed(), reason=wrk.MISSING)
def test_the_gateway_is_no_third_slower_than_recorded() -> None:
    recorded = small.recorded()
    if not recorded:
        pytest.skip("nothing is recorded yet: python -m loadtests.bench.small --record, on a quiet machine")
    found = small.measure()
    assert not small.lost(found, recorded), found


def test_a_ratio_that_lost_a_third_or_is_missing_is_named() -> None:
    recorded = {"throughput at 64": 30.0, "p50 at 1": 4.0}
    assert small.lost({"throughput at 64": 20.1, "p50 at 1": 2.7}, recorded) == []
    assert len(small.lost({"throughput at 64": 19.9, "p50 at 1": 2.7}, recorded)) == 1
    assert len(small.lost({"throughput at 64": 30.0}, recorded)) == 1


def test_what_wrk_says_is_read_and_its_failure_told() -> None:
    report = read_report(f"Running 2s test\n{REPORT}\n")
    assert (report.requests, report.p99_us, report.non_2xx) == (3000, 2800, 0)
    with pytest.raises(RuntimeError, match="unable to connect"):
        read_report("", "unable to connect to 127.0.0.1:1")


@pytest.mark.parametrize("count", [1, 8])
def test_bodies_are_distinct_and_the_file_holds_them(tmp_path: Path, count: int) -> None:
    tensors = rows(count, 1024)
    expected = answers((gradient_boosting() / "model.onnx").read_bytes(), tensors)
    for form in (V1, V2, BENTO, v2_binary("x", (count, 30))):
        bodies = make(form, tensors, expected, tmp_path / "bodies")
        assert len(set(bodies.requests)) == 1024
        data = bodies.file.read_bytes()
        assert data.startswith(b"1024\n%d\n" % len(bodies.requests[0]) + bodies.requests[0])
        assert data.endswith(bodies.requests[-1])


def test_two_bodies_alike_are_refused(tmp_path: Path) -> None:
    (tensor,) = rows(1, 1)
    with pytest.raises(ValueError, match="alike"):
        make(V1, [tensor, tensor], [{}, {}], tmp_path / "bodies")


def test_an_upload_of_an_image_holds_it(tmp_path: Path) -> None:
    (image,) = pictures(1)
    assert image.tobytes() in NPY.write(image)


def test_a_wrong_answer_is_seen() -> None:
    expected: Outputs = {"label": np.array([1]), "probabilities": np.array([[0.25, 0.75]], np.float32)}
    compare({"label": np.array([1]), "probabilities": np.array([[0.250001, 0.749999]])}, expected, 1e-5, "x")
    for wrong in (
        {"label": np.array([0]), "probabilities": expected["probabilities"]},
        {"label": np.array([1]), "probabilities": np.array([[0.2502, 0.7498]])},
        {"label": np.array([1]), "probabilities": np.array([0.25, 0.75])},
        {"label": np.array([1])},
    ):
        with pytest.raises(Wrong):
            compare(wrong, expected, 1e-5, "x")


def sample(rps: float) -> Sample:
    """A sample with one figure that matters."""
    return Sample(100, rps, 1.0, 2.0, 3.0, {"router": 50.0}, {"router": 80.0}, 0.2, 0.0)


def test_a_ratio_is_the_median_of_each_rounds_own() -> None:
    outcome = Outcome(Section("x", "x", (), (64,), "plain"))
    # The machine was slow in the second round: each round's ratio is 10 all the same.
    outcome.samples = {("v1", 64): [sample(1000), sample(100), sample(900)]}
    outcome.samples["plain", 64] = [sample(100), sample(10), sample(90)]
    assert outcome.ratio(throughput, "v1", 64) == pytest.approx(10)
    assert outcome.middle("v1", 64).rps == 900


def test_cpu_time_is_that_between_two_looks_by_group() -> None:
    before = Look({(1, "router"): 5.0, (2, "replica"): 1.0}, {(1, "router"): 7, (4, "router"): 8})
    after = Look({(1, "router"): 6.5, (2, "replica"): 1.25, (3, "replica"): 0.5}, {})
    assert after.since(before) == {"router": 1.5, "replica": 0.75}
    assert (before.memory(), before.of("router")) == ({"router": 15}, {1: 7, 4: 8})


def test_a_guard_is_no_redis_and_the_agent_no_router() -> None:
    assert gateway_group(["python", "-m", "router.agent.guard", "--", "redis-server", "x"]) == "agent"
    assert gateway_group(["/bin/redis-server *:0"]) == "redis"
    assert gateway_group(["python", "-P", "-m", "router.edge", "--fd", "3"]) == "router"
    assert gateway_group(["python", "pointsman", "up"]) == "up"


def test_a_sample_is_of_the_innermost_room() -> None:
    root = Path("/src")
    run = "run (/py/asyncio/runners.py:1)"
    main, decode = "main (/src/router/edge/__main__.py:9)", "decode (/src/router/edge/v1.py:20)"
    write = "append (/src/router/journal/journal.py:7)"
    found = stacks.read(f"{run};{main} 5\n{run};{decode};{write} 2\n{decode};loads (/py/orjson.py:1) 3\n\n")
    found += stacks.read(f"{run};{decode};send (/py/site-packages/uvicorn/protocols/x.py:1) 4")
    expected = Counter({stacks.LOOP: 5, "journal": 2, "edge": 3, stacks.SERVER: 4})
    assert stacks.rooms(found, root) == expected
    drawing = flame(stacks.merged(found, root), "x")
    assert "append (router/journal/journal.py): 14.3%" in drawing


def test_the_plot_has_every_line() -> None:
    drawing = plot.svg([("a", [(1, 100.0), (64, 5000.0)]), ("b <c>", [(1, 90.0), (64, 95.0)])])
    assert drawing.count("<polyline") == 2
    assert "b &lt;c&gt;: 95/s" in drawing
    assert plot.svg([]) == ""


def test_every_demand_has_a_row_whether_it_was_measured_or_not() -> None:
    found = goals.goals({}, {})
    assert {goal.section for goal in found} == {"rows", "contract", "proxy", "log", "growth", "distinct"}
    assert all(goal.holds is None and goal.verdict.startswith("not measured") for goal in found)


def test_a_verdict_says_by_how_much_it_falls_short() -> None:
    assert Goal("x", 30, 30.0, "×", True, "rows").verdict == "reached"
    assert Goal("x", 30, 24.0, "×", True, "rows").verdict == "NOT REACHED, short by 6 × (20%)"
    assert Goal("x", 0.3, 0.36, "×", False, "rows").verdict == "NOT REACHED, over by 0.06 × (20%)"
    assert Goal("x", 0, 3.0, "rows", False, "distinct").verdict == "NOT REACHED, over by 3 rows"


@pytest.mark.parametrize(("alone", "holds"), [(80.0, False), (49.0, None)])
def test_a_p99_is_asked_for_where_bentoml_has_fifty_milliseconds(alone: float, holds: bool | None) -> None:
    outcome = Outcome(Section("rows", "x", (), (1, 64), "plain"))
    for key, p99_ms in (("v1", 20.0), ("v2", 20.0), ("plain", alone), ("fast", 30.0)):
        for connections in (1, 64):
            outcome.samples[key, connections] = [replace(sample(1000), p99_ms=p99_ms)]
    found = [goal for goal in goals.goals({"rows": outcome}, {}) if "p99" in goal.text]
    assert [goal.holds for goal in found] == [holds, holds]


def test_the_log_is_compared_with_none() -> None:
    outcome = Outcome(Section("log", "x", (), (64,), "none"))
    outcome.samples = {("full", 64): [sample(700)], ("none", 64): [sample(1000)]}
    (goal,) = [goal for goal in goals.goals({"log": outcome}, {}) if goal.section == "log"]
    assert goal.found == pytest.approx(30)
    assert goal.holds is False


def test_the_router_that_grew_most_in_the_second_half_counts() -> None:
    def point(requests: int, first: float, second: float) -> Point:
        sizes = {(1, "router"): int(first * MIB), (2, "router"): int(second * MIB), (3, "redis"): 0}
        return Point(requests, Look({}, sizes))

    points = [point(0, 70, 70), point(400, 75, 76), point(500, 80, 80), point(1000, 79, 83)]
    first, half, last = start_middle_end(points)
    assert (first.requests, half.requests, last.requests) == (0, 500, 1000)
    assert grown(half, last) == 3
    assert grown(first, last) == 13


class Row(BaseHTTPRequestHandler):
    """Answers as the numbered model does in v1, but for three rows."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Row 7 gets 8's answer, 11 wrong scores, 13 an error."""
        ((number, *_),) = json.loads(self.rfile.read(int(self.headers["content-length"])))["instances"]
        row = 8 if number == 7 else int(number)
        score = [row / 1000, -row / 1000 if number != 11 else 0.5]
        body = json.dumps({"predictions": [{"row": row, "score": score}]}).encode()
        self.send_response(503 if number == 13 else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def test_a_row_that_gets_anothers_answer_a_wrong_one_or_none_is_counted() -> None:
    table = distinct.numbered_rows(1000)
    numbers = np.arange(1000, dtype=np.float32) / 1000
    expected = np.stack([numbers, -numbers], axis=1).astype(np.float32)
    with ThreadingHTTPServer(("127.0.0.1", 0), Row) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            answers = ask(server.server_port, [Way("/x", V1)], table, 2, 4, 30)
        finally:
            server.shutdown()
            thread.join()
    assert distinct.judged(answers, expected) == distinct.Judged(misrouted=1, wrong=1, unanswered=1)
    assert answers.row[7] == 8
    ((failure, count),) = answers.failures.items()
    assert (count, "503" in failure) == (1, True)


def test_the_numbered_model_gives_back_the_row_and_scores_of_its_own(tmp_path: Path) -> None:
    folder = numbered(tmp_path)
    table = distinct.numbered_rows(5000)
    found = distinct.scores(folder / "model.onnx", table)
    assert len(np.unique(found, axis=0)) == 5000
    (answer,) = answers((folder / "model.onnx").read_bytes(), [table[1234:1235]])
    assert answer["row"].tolist() == [1234]
    assert np.allclose(answer["score"], found[1234], atol=1e-6)


@pytest.mark.parametrize(("word", "patched"), [("router.edge", True), ("router.agent", False)])
def test_only_routers_are_patched_to_keep_no_log(word: str, patched: bool) -> None:
    program = (
        "from router.edge import record as r; from router.journal.journal import Journal;"
        "print(Journal.append.__code__.co_filename, r.record.__code__.co_filename);"
        f"{'print(Journal.append(None, [r.record()])); Journal.append(None, [dict()])' if patched else ''}"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, word],
        env={**os.environ, "PYTHONPATH": str(UNLOGGED)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    files = done.stdout.splitlines()[0].split()
    assert [Path(file).is_relative_to(UNLOGGED) for file in files] == [patched, patched]
    assert ("a record was built" in done.stderr) == patched


@pytest.mark.fleet
def test_distinct_rows_come_back_each_with_its_own_answer(tmp_path: Path) -> None:
    with ExitStack() as stack:
        account = distinct.distinct(Workshop(tmp_path, routers=2), stack, 4000, lambda _: None)
    figures = account.figures
    assert (figures["misrouted"], figures["wrong"], figures["unanswered"]) == (0, 0, 0)
    assert float(account.rows[0][-1]) > 1, "no batch had two rows: nothing could be mixed up"
