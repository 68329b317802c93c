"""A trainer never outlives the program that started it, whatever it is at."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from worlds import ROOT

STARTER = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]])
print(child.pid, flush=True)
child.wait()
"""
BUSY = """
from pipeline.cli.processes import end_with_starter
end_with_starter()
print("ready", flush=True)
while True:  # as an import is, or decoding
    pass
"""


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs Linux's /proc")
def test_what_is_not_training_yet_ends_with_its_starter():
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, BUSY], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    trainer = int(starter.stdout.readline())
    try:
        assert starter.stdout.readline() == "ready\n"
        starter.kill()
        starter.wait(10)
        deadline = time.monotonic() + 10
        while is_alive(trainer) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not is_alive(trainer)
    finally:
        if is_alive(trainer):
            os.kill(trainer, signal.SIGKILL)


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().split(") ")[1][0] != "Z"
    except FileNotFoundError:
        return False
