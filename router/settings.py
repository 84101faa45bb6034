"""Every setting, its default and its bounds, read from the environment (`POINTSMAN_…`) once a process."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Settings of all processes; `pointsman up` hands its own environment to those it starts."""

    model_config = SettingsConfigDict(env_prefix="POINTSMAN_", extra="ignore", frozen=True)

    data_dir: Path = Field(
        default=Path(".pointsman"), description="Where journal, artifacts, Redis and keys are kept."
    )
    host: str = Field(default="127.0.0.1", description="Address of both listeners.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port of the data listener.")
    control_port: int = Field(default=8001, ge=0, le=65535, description="Port of the control listener.")
    tls_cert: Path | None = Field(
        default=None, description="Certificate file (PEM, with its chain) of both listeners; with `tls_key`."
    )
    tls_key: Path | None = Field(default=None, description="Key file of the certificate, without a password.")
    data_keys: Literal["off", "required"] = Field(
        default="off", description="Whether callers of the data listener need a key or a token."
    )
    jwt_issuer: str | None = Field(
        default=None,
        description="Issuer whose tokens are taken beside keys; with `jwt_audience`, `jwt_jwks`.",
    )
    jwt_audience: str | None = Field(default=None, description="Audience that a token must name.")
    jwt_jwks: str | None = Field(
        default=None, description="The issuer's public keys: path of a JWKS file, or its https address."
    )
    jwt_algorithms: str = Field(
        default="RS256,ES256,EdDSA",
        pattern="^(RS256|ES256|EdDSA)(,(RS256|ES256|EdDSA))*$",
        description="Signature algorithms that are taken, by comma.",
    )
    jwt_roles_claim: str = Field(
        default="roles",
        min_length=1,
        description="Claim with `role` or `role:pattern`; a dot goes one level down.",
    )
    routers: int = Field(default=1, ge=1, le=64, description="Router processes on the data listener.")
    redis_url: str | None = Field(default=None, description="An external Redis; without it one is started.")

    request_timeout_ms: int = Field(
        default=30_000, ge=1, le=3_600_000, description="Longest life of a request."
    )
    receive_timeout_ms: int = Field(
        default=15_000, ge=1, description="Longest time to receive a tensor body."
    )
    tensor_body_bytes: int = Field(default=32 << 20, ge=1024, description="Largest body of a tensor request.")
    pass_body_bytes: int = Field(
        default=1 << 30, ge=1024, description="Largest body of a pass-through request."
    )
    request_tensors: int = Field(default=1024, ge=1, description="Most input tensors of one prediction.")
    request_rows: int = Field(
        default=1 << 20, ge=1, description="Largest leading dimension of an input of one prediction."
    )
    connections: int = Field(default=8192, ge=1, description="Callers' connections a router takes.")
    caller_connections: int = Field(
        default=2048, ge=0, description="Those it takes from one address; 0: no bound of their own."
    )
    send_timeout_ms: int = Field(
        default=60_000, ge=1, description="Longest time a caller may leave an answer unread."
    )
    stream_idle_ms: int = Field(
        default=300_000, ge=1, description="Longest silence of a replica within a streamed answer."
    )
    queue_requests: int = Field(
        default=2048, ge=1, description="Requests that may wait for one version in a router."
    )
    queue_bytes: int = Field(
        default=256 << 20, ge=1 << 20, description="Bytes that may wait for one version in a router."
    )
    pass_concurrency: int = Field(
        default=1024, ge=1, description="Most pass-through exchanges of a router with one replica at once."
    )
    batch_rows: int = Field(default=1024, ge=1, description="Most rows of one batch of a row-wise version.")
    batch_bytes: int = Field(default=16 << 20, ge=1024, description="Most tensor bytes of one batch.")

    queue_wait_ms: int = Field(
        default=5_000, ge=1, description="Longest wait for an answer in a queue that stands."
    )
    hedge_ms: int = Field(
        default=100, ge=0, description="Least silence of a replica until another is asked too; 0: never."
    )
    retry_ratio: float = Field(
        default=0.1,
        ge=0.0,
        le=1.0,
        description="Requests that may be repeated, as a part of the first tries.",
    )
    retry_floor: float = Field(
        default=1.0, ge=0.0, description="Requests a second that may be repeated in any case."
    )
    eject_errors: int = Field(
        default=3, ge=1, description="Failed exchanges in a row that put a replica out of turn."
    )
    eject_ms: int = Field(
        default=1_000, ge=1, description="First time out of turn; doubled with each further one."
    )
    eject_longest_ms: int = Field(default=60_000, ge=1, description="Longest time out of turn.")
    ramp_ms: int = Field(
        default=5_000, ge=1, description="Time in which a replica that comes (back) gets its whole share."
    )
    loop_lag_ms: int = Field(
        default=250, ge=0, description="Lateness of the router's loop that sheds predictions; 0: never."
    )

    log_on_full: Literal["refuse", "serve"] = Field(
        default="refuse",
        description="Journal full or disk full: refuse requests, or serve them unlogged and count.",
    )
    log_bytes: int = Field(default=4 << 30, ge=1 << 20, description="Bound of the local journal.")
    log_keep_hours: float = Field(
        default=24.0, ge=0.0, description="Age up to which the local journal is kept within its bound."
    )
    log_segment_bytes: int = Field(
        default=64 << 20, ge=64 << 10, description="Size at which a journal segment is closed."
    )
    log_fsync_ms: int = Field(
        default=0, ge=0, description="Interval of fsync on the journal; 0: left to the system."
    )
    log_payload_bytes: int = Field(
        default=16 << 10, ge=0, description="Most bytes of request and of answer in a record."
    )

    ack_timeout_ms: int = Field(
        default=2_000, ge=1, description="How long a change waits for routers to acknowledge."
    )
    lease_ms: int = Field(default=3_000, ge=100, description="After this a silent router is unknown.")
    poll_ms: int = Field(
        default=1_000, ge=50, description="Mean interval at which a router reads the revision."
    )
    drain_ms: int = Field(
        default=1_000, ge=0, description="How long idle connections live on while a router drains."
    )
    shutdown_ms: int = Field(
        default=20_000, ge=100, description="Longest wait for requests in flight at shutdown."
    )

    replica_start_timeout_s: int = Field(
        default=60, ge=1, description="Longest start of a replica until it is warm."
    )
    replica_memory_bytes: int = Field(
        default=0,
        ge=0,
        description="Resident memory of one replica, above which it is replaced; 0: no limit.",
    )
    probe_ms: int = Field(
        default=500, ge=50, description="Interval and time-out of the probes of a running replica."
    )
    probe_misses: int = Field(
        default=2, ge=1, description="Probes in a row without an answer after which a replica is replaced."
    )
    environment_timeout_s: int = Field(
        default=600, ge=1, description="Longest building of the virtual environment of a user's bento."
    )
    replica_threads: int = Field(default=1, ge=1, description="Compute threads of one replica.")
    artifact_bytes: int = Field(
        default=4 << 30, ge=1024, description="Largest artifact that may be registered."
    )
    inspect_timeout_s: int = Field(
        default=120, ge=1, description="Longest inspection of an artifact at registration."
    )
    inspect_memory_bytes: int = Field(
        default=8 << 30, ge=1 << 28, description="Address space of an inspection."
    )
