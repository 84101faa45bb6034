"""`make up`: builds the examples, serves, registers, deploys and promotes them; only by public commands."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import click

from bentos.build import HERE, build, label, recipes

BUILT: Final = HERE / "build"
START_S: Final = 60.0
COMMAND_S: Final = 180.0

TRY = """
Pointsman serves the example models: predictions at {data}, control at {control}.
Ctrl-C drains and stops everything. Try, in another terminal in this folder:

  export PATH="$PWD/{bin}:$PATH"
  curl {data}/v1/models/digits:predict -d @{sample}
  pointsman status digits
  pointsman split digits 1=90 2=10 --reason "try the forest"
  pointsman promote digits 2
  pointsman rollback digits
  pointsman logs digits --limit 5
  pointsman why REQUEST_ID            # the x-request-id of an answer
"""


class Failed(Exception):
    """A command did not do what the example needs."""


def pointsman(*words: str, env: dict[str, str], allow: str | None = None) -> dict[str, Any]:
    """One command, its JSON answer; raises Failed unless it succeeded or was refused with code `allow`."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name("pointsman")), *words, "--json"],
        env=env,
        capture_output=True,
        text=True,
        timeout=COMMAND_S,
        check=False,
    )
    answer: dict[str, Any] = json.loads(done.stdout) if done.stdout.startswith("{") else {}
    if done.returncode and (allow is None or answer.get("code") != allow):
        raise Failed(f"pointsman {' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")
    return answer


def serving(process: subprocess.Popen[bytes], env: dict[str, str]) -> None:
    """Waits until the control listener answers with Redis behind it; raises Failed after a minute."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise Failed(
                f"pointsman up ended with status {process.returncode}; see up.out in the data directory"
            )
        try:
            pointsman("status", env=env)
            return
        except Failed:
            time.sleep(0.2)
    raise Failed("the control listener does not answer")


def release(folder: Path, env: dict[str, str]) -> None:
    """Registers and deploys one built version; promotes `1` of a model that has no active version."""
    model, version = folder.parent.name, folder.name
    files = (str(folder / "model.onnx"), "--manifest", str(folder / "manifest.yaml"))
    pointsman("register", *files, "--model", model, "--version", version, env=env, allow="version_exists")
    pointsman("deploy", model, version, env=env)
    if version == "1" and not (pointsman("status", model, env=env).get("route") or {}).get("active"):
        pointsman("promote", model, version, "--reason", "first version", env=env)


@click.command()
@click.option("--data-dir", type=click.Path(path_type=Path), default=Path(".pointsman"), show_default=True)
@click.option("--port", default=8000, show_default=True)
@click.option("--control-port", default=8001, show_default=True)
@click.option("--routers", default=1, show_default=True)
def main(data_dir: Path, port: int, control_port: int, routers: int) -> None:
    """Serve the example models until Ctrl-C."""
    for folder in recipes():
        click.echo(f"building {label(folder)} … ", nl=False)
        built = build(folder, BUILT / folder.parent.name / folder.name)
        click.echo("built" if built else "up to date")
    words = ["up", "--data-dir", str(data_dir), "--port", str(port), "--control-port", str(control_port)]
    command = [str(Path(sys.executable).with_name("pointsman")), *words, "--routers", str(routers)]
    # Its own session: Ctrl-C reaches this process alone, which then asks for the drain.
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    told = (data_dir / "up.out").open("ab")
    process = subprocess.Popen(command, start_new_session=True, stdout=told, stderr=told)

    def stop(*_: object) -> None:
        process.terminate()

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    control = f"http://127.0.0.1:{control_port}"
    try:
        key = data_dir / "admin.key"
        env = {name: value for name, value in os.environ.items() if name not in ("POINTSMAN_KEY",)}
        env["POINTSMAN_URL"] = control
        while not key.exists() and process.poll() is None:
            time.sleep(0.05)
        if process.poll() is None:
            env["POINTSMAN_KEY"] = key.read_text().strip()
            show(process, env, port, control)
    except Failed as error:
        click.echo(f"error: {error}", err=True)
        process.terminate()
        process.wait()
        sys.exit(1)
    sys.exit(process.wait())


def show(process: subprocess.Popen[bytes], env: dict[str, str], port: int, control: str) -> None:
    """Releases every built version and says what to try."""
    serving(process, env)
    for folder in recipes():
        click.echo(f"releasing {label(folder)} … ", nl=False)
        release(BUILT / folder.parent.name / folder.name, env)
        click.echo("ready")
    sample = write_sample()
    click.echo(
        TRY.format(
            data=f"http://127.0.0.1:{port}",
            control=control,
            bin=os.path.relpath(Path(sys.executable).parent),
            sample=os.path.relpath(sample),
        )
    )


def write_sample() -> Path:
    """One row of digits as a request body to try."""
    from sklearn.datasets import load_digits

    sample = BUILT / "digits.json"
    row = load_digits().data[0].tolist()
    sample.write_text(json.dumps({"instances": [row]}))
    return sample


if __name__ == "__main__":
    main()
