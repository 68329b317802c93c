"""A checkpoint is whole or passed by; nothing in it can run; one trainer at a time."""

import hashlib
import io
import os
import pickle
import signal
import subprocess
import sys

import pytest
import torch
from worlds import ROOT

from pipeline.errors import Busy
from pipeline.training import checkpoint


def state(number: int) -> dict[str, object]:
    return {
        "weights": torch.full((1000,), float(number)),
        "best": bytes(range(256)) * number,
        "progress": {"epoch": number, "loss": 0.1 + 0.2, "nothing": None},
    }


@pytest.fixture
def folder(tmp_path):
    """Holds the checkpoints of steps 9 and 10."""
    for step in (8, 9, 10):
        checkpoint.save(tmp_path, step, state(step))
    return tmp_path


def newest(folder):
    return max(folder.glob("*.ckpt"))


def test_what_was_saved_last_is_what_is_loaded(folder):
    loaded, expected = checkpoint.load(folder), state(10)
    assert torch.equal(loaded.pop("weights"), expected.pop("weights"))
    assert loaded == expected


def test_only_the_last_two_are_kept_by_number_and_nothing_else_is_left(folder):
    assert sorted(p.name for p in folder.iterdir()) == ["000000000009.ckpt", "000000000010.ckpt"]


def test_there_may_be_none(tmp_path):
    assert checkpoint.load(tmp_path) is None


@pytest.mark.parametrize("kept", [0, 1, 31, 32, 33, 500, -1])
def test_one_that_is_cut_off_is_passed_by_for_the_one_before(folder, kept):
    path = newest(folder)
    path.write_bytes(path.read_bytes()[:kept])
    assert checkpoint.load(folder)["progress"]["epoch"] == 9


@pytest.mark.parametrize("place", [0, 31, 32, 700, -1])
def test_one_with_a_flipped_bit_is_passed_by_for_the_one_before(folder, place):
    content = bytearray(newest(folder).read_bytes())
    content[place] ^= 1
    newest(folder).write_bytes(content)
    assert checkpoint.load(folder)["progress"]["epoch"] == 9


@pytest.mark.parametrize("junk", [b"", b"junk", b"(lp0\n", b"\x80\x02}q\x00."], ids=repr)
def test_one_of_another_kind_with_the_right_checksum_is_passed_by(folder, junk):
    newest(folder).write_bytes(hashlib.sha256(junk).digest() + junk)
    assert checkpoint.load(folder)["progress"]["epoch"] == 9


def test_where_none_is_whole_training_starts_anew(folder):
    for path in folder.glob("*.ckpt"):
        path.write_bytes(path.read_bytes()[:100])
    assert checkpoint.load(folder) is None


class Malice:
    def __init__(self, mark: str) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (self.mark,)


@pytest.mark.parametrize("kind", ["torch's format", "a plain pickle"])
def test_a_malicious_pickle_with_the_right_checksum_does_not_run(folder, tmp_path, kind):
    mark = tmp_path / "it ran"
    buffer = io.BytesIO()
    if kind == "torch's format":
        torch.save({"progress": Malice(str(mark))}, buffer)
    else:
        pickle.dump(Malice(str(mark)), buffer, protocol=2)  # the one that torch reads
    content = buffer.getvalue()
    (folder / "000000000011.ckpt").write_bytes(hashlib.sha256(content).digest() + content)
    assert checkpoint.load(folder)["progress"]["epoch"] == 10
    assert not mark.exists()


def test_what_a_killed_save_left_is_no_checkpoint_and_hinders_nobody(folder):
    (folder / ".scratch").write_bytes(newest(folder).read_bytes())
    assert checkpoint.load(folder)["progress"]["epoch"] == 10
    checkpoint.save(folder, 11, state(11))
    assert checkpoint.load(folder)["progress"]["epoch"] == 11
    assert not (folder / ".scratch").exists()


def test_forget_leaves_no_folder(folder):
    checkpoint.forget(folder)
    assert not folder.exists()
    checkpoint.forget(folder)  # and there may be none


def test_trainings_that_nobody_ended_do_not_pile_up(tmp_path):
    for age in range(12):
        checkpoint.save(_made(tmp_path / f"key-{age}"), 1, state(1))
        os.utime(tmp_path / f"key-{age}", (1e9 - age, 1e9 - age))
    with checkpoint.hold(tmp_path / "key-11"), checkpoint.hold(tmp_path / "new"):
        left = sorted(path.name for path in tmp_path.iterdir() if path.is_dir())
    assert left == sorted([*(f"key-{age}" for age in range(8)), "key-11"])


def _made(folder):
    folder.mkdir()
    return folder


HOLD_AND_DIE = """
import os, signal, sys
from pathlib import Path
from pipeline.training import checkpoint
with checkpoint.hold(Path(sys.argv[1])):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_second_trainer_leaves_with_a_named_error_that_may_be_tried_again(tmp_path):
    with checkpoint.hold(tmp_path / "key") as held:
        with pytest.raises(Busy) as caught, checkpoint.hold(tmp_path / "key"):
            pass
        assert caught.value.retryable and str(held) in str(caught.value)
        with checkpoint.hold(tmp_path / "another key"):
            pass
    with checkpoint.hold(tmp_path / "key"):
        pass


def test_the_lock_of_a_killed_trainer_is_gone_with_it(tmp_path):
    command = [sys.executable, "-c", HOLD_AND_DIE, str(tmp_path / "key")]
    trainer = subprocess.run(command, cwd=ROOT, check=False, timeout=60)
    assert trainer.returncode == -signal.SIGKILL
    with checkpoint.hold(tmp_path / "key"):
        pass
