"""Logs are cut under a writer that goes on, and old ones go."""

import os
from pathlib import Path

from router.agent import logs
from router.agent.logs import bound_replica_logs, cut, replica_log
from router.agent.process import open_log


def test_a_writer_goes_on_after_the_cut(tmp_path: Path) -> None:
    log = tmp_path / "log"
    cut(log, 10)
    fd = open_log(log)
    os.write(fd, b"0123456789")
    cut(log, 10)
    assert not (tmp_path / "log.1").exists()
    os.write(fd, b"x")
    cut(log, 10)
    os.write(fd, b"after")
    os.close(fd)
    assert log.read_bytes() == b"after"
    assert (tmp_path / "log.1").read_bytes() == b"0123456789x"


def test_the_oldest_logs_of_ended_replicas_go(tmp_path: Path) -> None:
    ids = [f"m-1-{i:03}" for i in range(logs.REPLICA_LOGS + 3)]
    for age, name in enumerate(ids):
        replica_log(tmp_path, name).touch()
        os.utime(replica_log(tmp_path, name), (1000 + age, 1000 + age))
    bound_replica_logs(tmp_path, {replica_log(tmp_path, ids[0])})
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {replica_log(tmp_path, name).name for name in [ids[0], *ids[3:]]}
