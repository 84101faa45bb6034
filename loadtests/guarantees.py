"""Every proof by name: each starts what it needs on loopback, is bounded, and ends what it started.

True asks for the size CI runs. A proof asserts by itself and gives its figures.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

from loadtests.grounds import ExternalRedis, fleet
from loadtests.proofs import (
    cancels,
    drains,
    failover,
    fair_shares,
    flips,
    full_disk,
    hostile,
    keys,
    overload,
    parent,
    redis_away,
    replicas,
    routers,
    slow_sockets,
    two_hosts,
)
from loadtests.proofs.figures import Figures, Skipped
from loadtests.redis_servers import ClusterServers, Sentinels, Server
from loadtests.stand import Stand


def prove_flips(small: bool) -> Figures:
    """1,000 flips, 4 routers, load at half of capacity."""
    with fleet("1", "2", routers=4) as made:
        return asyncio.run(flips.flips(made, 60 if small else 1000))


def prove_paused_router(small: bool) -> Figures:
    """A router is stopped for 4 s and for 1 s."""
    with fleet("1", "2", routers=2) as made:
        short = asyncio.run(routers.paused(made, seconds=1.0))
        return short if small else asyncio.run(routers.paused(made, seconds=4.0))


def prove_killed_routers(small: bool) -> Figures:
    """100,000 requests with two kill -9 of a router."""
    with fleet("1", routers=2) as made:
        return asyncio.run(routers.killed(made, 6_000 if small else 100_000))


def prove_random_kills(small: bool) -> Figures:
    """kill -9 of a router at 50 random points under load."""
    with fleet("1", routers=2) as made:
        return asyncio.run(routers.killed_at_random(made, 6 if small else 50))


def prove_disk_full_refuse(small: bool) -> Figures:
    """The disk of the data directory is full for 30 s; nothing is answered that is not logged."""
    with full_disk.on_a_small_disk("refuse") as (made, disk):
        return asyncio.run(full_disk.full(made, disk, "refuse", seconds=4 if small else 30))


def prove_disk_full_serve(small: bool) -> Figures:
    """Likewise; everything is answered, and what is not logged is counted."""
    with full_disk.on_a_small_disk("serve") as (made, disk):
        return asyncio.run(full_disk.full(made, disk, "serve", seconds=4 if small else 30))


def prove_two_hosts(small: bool) -> Figures:
    """Two `up` on one Redis behind nginx: either goes, by SIGTERM and by kill -9."""
    server = ExternalRedis()
    server.start()
    try:
        return two_hosts.either_goes(server.url, rounds=1 if small else 3)
    finally:
        server.close()


def prove_slow_sockets(small: bool) -> Figures:
    """1,000 sockets send or read a byte now and then; nine rounds alone and beside them, in turn."""
    with fleet("1") as made:
        rounds, count, seconds = (3, 300, 3.0) if small else (9, 1000, 8.0)
        return asyncio.run(slow_sockets.slow_sockets(made, rounds, count, seconds))


def prove_new_connections(small: bool) -> Figures:
    """New connections while routers are killed."""
    with fleet("1", routers=2) as made:
        return asyncio.run(routers.new_connections_during_kills(made, 2 if small else 20))


def prove_redis_stopped(small: bool) -> Figures:
    """The embedded Redis is stopped for 60 s under load."""
    with fleet("1", "2") as made:
        pid = made.status()["redis"]["pid"]

        def signalled(number: int) -> Callable[[], None]:
            return lambda: os.kill(pid, number)

        away = redis_away.away(
            made, signalled(signal.SIGSTOP), signalled(signal.SIGCONT), seconds=6 if small else 60
        )
        return asyncio.run(away)


def prove_redis_killed(small: bool) -> Figures:
    """An external Redis is killed for 60 s under load."""
    server = ExternalRedis()
    server.start()
    try:
        with fleet("1", "2", redis_url=server.url) as made:
            away = redis_away.away(made, server.kill, server.start, seconds=6 if small else 60)
            return asyncio.run(away)
    finally:
        server.close()


def prove_redis_dead_start(small: bool) -> Figures:
    """`up` is started while its external Redis is dead."""
    server = ExternalRedis()
    server.start()
    try:
        with fleet("1", "2", redis_url=server.url) as made:
            return redis_away.dead_start(made, server.kill, server.start)
    finally:
        server.close()


def prove_redis_fail_over(small: bool) -> Figures:
    """Two servers under three sentinels, down after 1 s: the primary dies, or hangs, under load and changes."""
    sentinels = Sentinels(down_after_ms=1000)
    try:
        sentinels.start()
        with fleet("1", "2", routers=2, redis_url=sentinels.url) as made:
            return failover.sentinel_over(made, sentinels, 1 if small else 6)
    finally:
        sentinels.close()


def prove_redis_cluster(small: bool) -> Figures:
    """A Redis Cluster: the primary of the control state's slot dies under load and changes."""
    cluster = ClusterServers()
    try:
        cluster.start()
        with fleet("1", "2", routers=2, redis_url=cluster.url) as made:
            return failover.cluster_over(made, cluster, 1 if small else 2)
    finally:
        cluster.close()


def prove_redis_fallen_back(small: bool) -> Figures:
    """Redis is restored from a backup, then flushed, under load; `pointsman registry restore` brings it back."""
    server = Server()
    try:
        server.start()
        with fleet("1", "2", routers=2, redis_url=server.url) as made:
            return asyncio.run(failover.fallen_back(made, server))
    finally:
        server.close()


def prove_revoked_key(small: bool) -> Figures:
    """Keys are revoked under load on four routers: none is taken 20 ms after the 200."""
    with fleet("1", routers=4, env={"POINTSMAN_DATA_KEYS": "required"}) as made:
        return asyncio.run(keys.revoked(made, 8 if small else 100, routers=4))


def prove_killed_parent(small: bool) -> Figures:
    """`up` is killed -9 and started again; then stopped in order."""
    with fleet("1", "2", routers=2) as made:
        return parent.killed(made) | parent.drained(made)


def prove_splits(small: bool) -> Figures:
    """Shares over 20,000 sticky keys, and who moves."""
    with fleet("1", "2", "3") as made:
        return asyncio.run(flips.splits(made, 4_000 if small else 20_000))


def prove_hung_replica(small: bool) -> Figures:
    """One of three replicas is stopped under load."""
    with fleet() as made:
        made.release("digits", "1", replicas=3)
        made.promote("digits", "1")
        return asyncio.run(replicas.hung(made, rounds=1 if small else 5))


def prove_replica_killed(small: bool) -> Figures:
    """kill -9 of one of two replicas under load."""
    with fleet() as made:
        made.release("digits", "1", replicas=2)
        made.promote("digits", "1")
        return asyncio.run(replicas.killed(made, kills=2 if small else 10))


def prove_passed_replica_killed(small: bool) -> Figures:
    """The same with GETs that are passed through."""
    with fleet() as made:
        made.release("digits", "1", replicas=2)
        made.promote("digits", "1")
        path = "/models/digits/schema.json"
        return asyncio.run(replicas.killed(made, kills=2 if small else 10, passed=path))


def prove_overload(small: bool) -> Figures:
    """0.5 to 4 times the capacity of a service with a fixed 5 ms a call."""
    with Stand(1) as stand:
        return asyncio.run(overload.flat(stand, seconds=4 if small else 20))


def prove_retry_storm(small: bool) -> Figures:
    """Three replicas that answer 503 to everything; with ejection, and where nobody is ever put out of turn."""
    seconds = 3 if small else 20
    with Stand(3, status=503) as stand:
        figures = asyncio.run(overload.refused(stand, "", seconds=seconds))
    with Stand(3, status=503, env={"POINTSMAN_EJECT_ERRORS": "1000000"}) as stand:
        return figures | asyncio.run(overload.refused(stand, ", none ejected", seconds=seconds))


def prove_flips_deaf(small: bool) -> Figures:
    """Flips while every subscription to the hints is killed again and again."""
    with fleet("1", "2", routers=4) as made, drains.deaf(made):
        return asyncio.run(flips.flips(made, 40 if small else 300))


def prove_router_drain(small: bool) -> Figures:
    """SIGTERM of one of two routers under load."""
    with fleet("1", routers=2) as made:
        return asyncio.run(drains.routers(made, rounds=2 if small else 10))


def prove_sole_replica_killed(small: bool) -> Figures:
    """kill -9 of the only replica under load, a previous version beside it: the same requests are answered."""
    with fleet("1", "2") as made:
        return asyncio.run(drains.sole_replica(made, kills=2 if small else 10))


def prove_rolling_restarts(small: bool) -> Figures:
    """`pointsman restart routers`, `replicas` and `agent` under load."""
    with fleet("1", routers=2) as made:
        return asyncio.run(drains.restarts(made, rounds=1 if small else 3))


def prove_agent_killed(small: bool) -> Figures:
    """kill -9 of the agent under load: its replicas go on, the next agent takes them over."""
    with fleet("1", routers=2) as made:
        return asyncio.run(drains.agent(made, kills=1 if small else 5))


def prove_redis_away_long(small: bool) -> Figures:
    """An external Redis is away for five minutes under load: every answer is in the log."""
    if small:
        raise Skipped("five minutes: only at full size")
    server = ExternalRedis()
    server.start()
    try:
        with fleet("1", "2", redis_url=server.url) as made:
            return asyncio.run(redis_away.away(made, server.kill, server.start, seconds=300, rate=200.0))
    finally:
        server.close()


def prove_cancels(small: bool) -> Figures:
    """Ten thousand callers hang up at any moment, on both lanes: nothing of them stays."""
    with fleet("1") as made:
        return asyncio.run(cancels.hung_up(made, 1_000 if small else 10_000))


def prove_fair_shares(small: bool) -> Figures:
    """One caller asks for ten times what the others do; nine rounds alone and beside it, in turn."""
    with fleet("1") as made:
        return asyncio.run(fair_shares.greedy(made, *((3, 2.0) if small else (9, 6.0))))


def prove_hostile_bytes(small: bool) -> Figures:
    """The raw byte corpora and the documents' own schemas against both listeners."""
    return hostile.suites(small)


PROOFS: dict[str, Callable[[bool], Figures]] = {
    name.removeprefix("prove_").replace("_", "-"): proof
    for name, proof in globals().items()
    if name.startswith("prove_")
}
