"""Where Redis is, read from a URL: one server, a service that sentinels watch, or a cluster; opens nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

Kind = Literal["server", "sentinel", "cluster"]
PORTS = {"sentinel": 26379, "cluster": 6379}


@dataclass(frozen=True, slots=True)
class Address:
    """`url` is a plain one (`redis://`, `rediss://`, `unix://`) with user, database and options for the client.

    `nodes` are the sentinels, or the first nodes of a cluster; `service` is what sentinels call the servers.
    """

    kind: Kind
    url: str
    nodes: tuple[tuple[str, int], ...] = ()
    service: str = ""


def parse(url: str) -> Address:
    """The address a URL means. Raises ValueError, whose text names the URL without its password.

    `redis[s]+sentinel://[user:password@]host[:port][,host[:port]…]/service[/db][?options]`,
    `redis[s]+cluster://[user:password@]host[:port][,host[:port]…][?options]`, or what redis-py takes itself.
    """
    scheme, _, rest = url.partition("://")
    plain, plus, named = scheme.partition("+")
    kinds: dict[str, Kind] = {"sentinel": "sentinel", "cluster": "cluster"}
    kind: Kind = kinds.get(named, "server")
    if plain not in ("redis", "rediss", "unix") or (plus and (kind == "server" or plain == "unix")):
        raise ValueError(
            f"{without_password(url)} is no address of a Redis: it begins with redis://, rediss://, unix://, "
            "redis+sentinel://, rediss+sentinel://, redis+cluster:// or rediss+cluster://"
        )
    if kind == "server":
        return Address(kind, url)
    location, question, options = rest.partition("?")
    user, at, place = location.rpartition("@")
    hosts, _, path = place.partition("/")
    nodes = tuple(_node(url, host, PORTS[kind]) for host in hosts.split(","))
    service, _, db = path.strip("/").partition("/")
    if (kind == "sentinel") != bool(service) or (db and not db.isdigit()):
        wanted = (
            "/SERVICE or /SERVICE/DATABASE" if kind == "sentinel" else "no path: a cluster has one database"
        )
        raise ValueError(f"{without_password(url)}: after the hosts comes {wanted}")
    return Address(kind, f"{plain}://{user}{at}ignored:1/{db or 0}{question}{options}", nodes, service)


def without_password(url: str) -> str:
    """The URL as it may be shown: without user, password and options, which may hold another password."""
    scheme, mark, rest = url.partition("://")
    return scheme + mark + rest.partition("?")[0].rpartition("@")[2]


def _node(url: str, text: str, port: int) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        if parts.hostname:
            return parts.hostname, parts.port or port
    except ValueError:
        pass
    raise ValueError(f"{without_password(url)}: {text!r} is no host or host:port")
