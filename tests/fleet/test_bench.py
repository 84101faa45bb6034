"""The benchmark: its small version against recorded ratios, and its parts that could lie without being noticed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from loadtests.bench import plot, small, stacks, wrk
from loadtests.bench.bodies import BENTO, NPY, V1, V2, Outputs, answers, make, pictures, rows, v2_binary
from loadtests.bench.checking import Wrong, compare
from loadtests.bench.flame import flame
from loadtests.bench.models import gradient_boosting
from loadtests.bench.section import Outcome, Section, throughput
from loadtests.bench.tree import Look, gateway_group
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
    before = Look({(1, "router"): 5.0, (2, "replica"): 1.0}, {})
    after = Look({(1, "router"): 6.5, (2, "replica"): 1.25, (3, "replica"): 0.5}, {})
    assert after.since(before) == {"router": 1.5, "replica": 0.75}


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
