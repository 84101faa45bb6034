"""The folders of one installation: claimed by one `up` at a time, private to its user; starts no process."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from router.agent import home, identity, snapshot

SOCKET_PATH_BYTES = 107
"""Longest path of a Unix socket, without its closing zero."""

NAME_BYTES = 40
"""Room kept for the name of a socket in the runtime folder."""


class Occupied(Exception):
    """Another `up` runs on the data folder; `pid` is its process."""

    def __init__(self, data_dir: Path, pid: int | None) -> None:
        who = "another process" if pid is None else f"process {pid}"
        super().__init__(f"{data_dir} is in use by `pointsman up`, {who}")
        self.pid = pid


class Unsafe(Exception):
    """A folder is a link, or belongs to somebody else; or one is no folder at all."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where everything of one installation lies; absolute paths."""

    data_dir: Path
    runtime_dir: Path

    @property
    def lock(self) -> Path:
        """Held by `up`; holds its pid."""
        return self.data_dir / "lock"

    @property
    def admin_key(self) -> Path:
        """The first key of the control API."""
        return self.data_dir / "admin.key"

    @property
    def logs(self) -> Path:
        """Operational logs, one a process."""
        return self.data_dir / "logs"

    @property
    def bentoml(self) -> Path:
        """BENTOML_HOME: the artifact store."""
        return self.data_dir / "bentoml"

    @property
    def venvs(self) -> Path:
        """Virtual environments of users' bentos, by the digest of their requirements."""
        return self.data_dir / "venvs"

    @property
    def homes(self) -> Path:
        """A BENTOML_HOME for each running replica of a user's bento."""
        return self.data_dir / "homes"

    @property
    def redis(self) -> Path:
        """Data of the embedded Redis."""
        return self.data_dir / "redis"

    @property
    def desired(self) -> Path:
        """The replicas last asked for, for a start with Redis dead."""
        return self.data_dir / "desired.json"

    @property
    def redis_socket(self) -> Path:
        """Where the embedded Redis listens."""
        return self.runtime_dir / "redis.sock"

    @property
    def processes(self) -> Path:
        """`{"up", "redis", "agent", "control", "shipper", "routers"}` with pids, written by `up`."""
        return self.runtime_dir / "processes.json"

    @property
    def replicas(self) -> Path:
        """`{"replicas": [Replica…]}` of this host, written by the agent."""
        return self.runtime_dir / "replicas.json"

    @property
    def replica_files(self) -> Path:
        """A file a replica: how a new agent finds what its predecessor started."""
        return self.runtime_dir / "replicas"

    def socket(self, name: str) -> Path:
        """The socket `name` in the runtime folder; raises ValueError where its path is too long."""
        path = self.runtime_dir / f"{name}.sock"
        if len(os.fsencode(path)) > SOCKET_PATH_BYTES:
            raise ValueError(f"{path} is longer than {SOCKET_PATH_BYTES} bytes")
        return path


@dataclass(slots=True)
class Claim:
    """A claimed place: the lock lives as long as this object, or the process."""

    place: Place
    node: str
    left_uncleanly: bool
    _fds: list[int]

    def release(self, *, clean: bool) -> None:
        """Gives the lock back; `clean`: nothing that was started is running any more."""
        if clean:
            os.ftruncate(self._fds[0], 0)
        for fd in self._fds:
            os.close(fd)
        self._fds.clear()


def claim(data_dir: Path) -> Claim:
    """Creates and locks the folders of `data_dir`. Raises Occupied, Unsafe, OSError."""
    data_dir = data_dir.expanduser().resolve()
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    place = Place(data_dir, runtime_dir(data_dir))
    lock, before = _lock(data_dir)
    try:
        for folder in (place.logs, place.bentoml, place.redis, place.homes, place.data_dir / "journal"):
            _folder(folder)
        make_private(place.runtime_dir)
        if not place.replica_files.is_dir():
            place.replica_files.unlink(missing_ok=True)
        place.replica_files.mkdir(mode=0o700, exist_ok=True)
        try:
            identity.make_key(place.admin_key)
            node = identity.node(data_dir, place.runtime_dir)
        except identity.Broken as error:
            raise Unsafe(str(error)) from error
        # A lock on the folder keeps systemd-tmpfiles from clearing it out of /tmp after ten days.
        aged = os.open(place.runtime_dir, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(aged, fcntl.LOCK_SH)
    except BaseException:
        os.close(lock)
        raise
    return Claim(place, node, left_uncleanly=before, _fds=[lock, aged])


def runtime_dir(data_dir: Path) -> Path:
    """The short folder for sockets that belongs to `data_dir` (resolved); the same one at every start."""
    name = hashlib.blake2b(os.fsencode(data_dir), digest_size=4).hexdigest()
    choices = [
        Path(tempfile.gettempdir()) / f"pm-{os.getuid()}-{name}",
        Path(f"/tmp/pm-{os.getuid()}-{name}"),
    ]
    session = os.environ.get("XDG_RUNTIME_DIR")
    if session and Path(session).is_dir() and os.access(session, os.W_OK):
        choices.insert(0, Path(session) / f"pm-{name}")
    for choice in choices:
        if len(os.fsencode(choice)) + 1 + NAME_BYTES <= SOCKET_PATH_BYTES:
            return choice
    raise Unsafe(f"{choices[-1]} is too long for Unix sockets")


def make_private(folder: Path) -> None:
    """Makes `folder` ours alone (0700); raises Unsafe where it is a link or belongs to somebody else."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700, parents=False)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise Unsafe(f"{folder} is not a folder (a link is not followed)")
    if found.st_uid != os.getuid():
        raise Unsafe(f"{folder} belongs to user {found.st_uid}, not to {os.getuid()}")
    if stat.S_IMODE(found.st_mode) != 0o700:
        folder.chmod(0o700)


def sweep(place: Place) -> None:
    """Removes sockets and notes of processes of an earlier `up`; call it when none of them runs any more."""
    for path in place.runtime_dir.iterdir():
        if path.suffix == ".sock" or path in (place.replicas, place.processes):
            _remove(path)
    for path in place.replica_files.iterdir():
        if path.is_file():
            path.unlink(missing_ok=True)
    for path in place.homes.iterdir():
        home.clear(path)
    for path in place.data_dir.glob("table.json.*"):  # drafts of routers that were killed while they wrote
        _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def note_path() -> Path:
    """Where the command line finds the `up` of this user: its URL and key."""
    state = os.environ.get("XDG_STATE_HOME")
    home = Path(state) if state and Path(state).is_absolute() else Path.home() / ".local" / "state"
    return home / "pointsman" / "up.json"


def leave_note(place: Place, url: str, cert: Path | None = None) -> None:
    """Notes URL, key path and perhaps the server's certificate for the command line; raises OSError."""
    path = note_path()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    document = {
        "url": url,
        "key_path": str(place.admin_key),
        "data_dir": str(place.data_dir),
        "pid": os.getpid(),
        "cert_path": None if cert is None else str(cert.absolute()),
    }
    snapshot.write(path, document)


def take_note_away() -> None:
    """Removes the note if it is this process' own: a later `up` may have left its one."""
    with contextlib.suppress(OSError, ValueError):
        found = snapshot.read(note_path())
        if isinstance(found, dict) and found.get("pid") == os.getpid():
            note_path().unlink(missing_ok=True)


def _lock(data_dir: Path) -> tuple[int, bool]:
    """The locked descriptor, and whether something stood in it: an `up` that did not end cleanly."""
    path = data_dir / "lock"
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Unsafe(
            f"{path} cannot be opened ({error.strerror}): see that no `pointsman up` runs on {data_dir}, "
            "then remove it and start again"
        ) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = _holder(fd)
        os.close(fd)
        raise Occupied(data_dir, holder) from None
    before = os.fstat(fd).st_size > 0  # whatever it is: a pid, or what is left of one
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd, before


def _holder(fd: int) -> int | None:
    """The pid in the lock; the holder may have locked a moment ago and not written it yet."""
    deadline = time.monotonic() + 0.5
    while (pid := _pid(fd)) is None and time.monotonic() < deadline:
        time.sleep(0.01)
    return pid


def _pid(fd: int) -> int | None:
    text = os.pread(fd, 32, 0).strip()
    return int(text) if text.isdigit() else None


def _folder(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, exist_ok=True)
    except FileExistsError:
        raise Unsafe(f"{path} is not a folder: move it away and start again") from None
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK, effective_ids=True):
        raise Unsafe(f"{path} cannot be read and written: restore its rights (0700) and start again")
