"""One target under atheris, in a process of its own: `python -m tests.fuzz.engine TARGET <libFuzzer options>`."""

from __future__ import annotations

import logging
import os
import resource
import sys
import time

import structlog

from tests.fuzz.targets import CPU_SECONDS, LARGEST, MEMORY, load


class Hang(Exception):
    """An input took more CPU time than any may."""


def quiet() -> None:
    """What is logged about hostile input is right, and too much here."""
    logging.disable(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def bound_memory() -> None:
    """Beyond this an allocation fails, and the input that asked for it is found."""
    with open("/proc/self/statm", encoding="ascii") as file:
        pages = int(file.read().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def main() -> None:
    """Fuzzes until libFuzzer's options say stop; leaves with its exit code."""
    import atheris  # not installed for those who do not fuzz

    quiet()
    name, *options = sys.argv[1:]
    with atheris.instrument_imports(include=["router", "services", "uvicorn", "tests.fuzz"]):
        check = load(name)

    def one(data: bytes) -> None:
        if len(data) > LARGEST:
            return
        began = time.process_time()
        check(data)
        took = time.process_time() - began
        if took > CPU_SECONDS * float(os.environ.get("FUZZ_PATIENCE", "1")):
            raise Hang(f"{took:.2f} s of CPU for {len(data)} bytes")

    atheris.Setup([f"fuzz-{name}", *options], one)
    bound_memory()
    atheris.Fuzz()


if __name__ == "__main__":
    main()
