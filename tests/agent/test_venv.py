"""Environments are built once, whole or not at all; real virtual environments, without packages."""

from __future__ import annotations

import subprocess
import threading
import zipfile
from pathlib import Path

import pytest

from router.agent.venv import BuildFailed, Wanted, interpreter

NAME = "f" * 64


def wanted(folder: Path, text: str = "./tiny-1.0-py3-none-any.whl\n") -> Wanted:
    """By default one package, from a wheel in `folder`."""
    write_wheel(folder / "tiny-1.0-py3-none-any.whl")
    return Wanted(NAME, text, folder)


def write_wheel(path: Path) -> None:
    """A package with a program `tiny` that says where it runs."""
    about = "tiny-1.0.dist-info"
    files = {
        "tiny.py": "import sys\n\ndef main():\n    print(sys.prefix)\n",
        f"{about}/METADATA": "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{about}/entry_points.txt": "[console_scripts]\ntiny = tiny:main\n",
    }
    files[f"{about}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{about}/RECORD"])
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)


def test_two_who_want_it_get_one_that_is_built_once(tmp_path: Path) -> None:
    venvs, found = tmp_path / "venvs", []

    def want(number: int) -> None:
        found.append(interpreter(wanted(tmp_path), venvs, tmp_path / f"{number}.log", 60))

    threads = [threading.Thread(target=want, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == [venvs / NAME / "bin" / "python"] * 2
    assert len(list(tmp_path.glob("*.log"))) == 1
    assert sorted(path.name for path in venvs.iterdir()) == [NAME, NAME + ".lock"]
    said = subprocess.run([venvs / NAME / "bin" / "tiny"], capture_output=True, text=True, timeout=30)
    assert said.stdout.strip() == str(venvs / NAME)
    log = tmp_path / "again.log"
    assert interpreter(wanted(tmp_path), venvs, log, 0.001) == found[0]
    assert not log.exists()


def test_a_failed_build_says_why_and_leaves_nothing_to_reuse(tmp_path: Path) -> None:
    venvs, log = tmp_path / "venvs", tmp_path / "log"
    with pytest.raises(BuildFailed, match=r"absent-1\.0"):
        interpreter(wanted(tmp_path, "./wheels/absent-1.0-py3-none-any.whl\n"), venvs, log, 60)
    assert not (venvs / NAME).exists()
    assert "absent-1.0-py3-none-any.whl" in log.read_text()
    with pytest.raises(BuildFailed, match="too long"):
        interpreter(wanted(tmp_path), venvs, log, 0.05)
    assert not (venvs / NAME).exists()
    assert interpreter(wanted(tmp_path), venvs, log, 60).exists()
    assert sorted(path.name for path in venvs.iterdir()) == [NAME, NAME + ".lock"]
