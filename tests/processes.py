"""Child processes: started, watched, found again, ended."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from worlds import World, environment


def start(
    world: World, log: Path, *command: str, env: dict[str, str] | None = None
) -> subprocess.Popen:
    """Start a module in the project, in a session of its own; what it prints is in *log*."""
    with log.open("w") as out:
        return subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=world.root,
            env=environment(world.root) | (env or {}),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def trainers(world: World) -> list[int]:
    """Every process of a training whose folder is *world*."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
            at_work = (process / "cwd").readlink() == world.root
        except OSError:
            continue
        if b"pipeline.cli\0train" in command and at_work:
            found.append(int(process.name))
    return found


def gone_within(world: World, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while trainers(world) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not trainers(world)


def wait_until(condition: Callable[[], object], log: Path, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, log.read_text()[-2000:]
        time.sleep(0.02)


def kill(*pids: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, 9)
        except ProcessLookupError:  # it was done
            continue
