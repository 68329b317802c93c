"""A study's file: what a fault of it is called, and when, alone, it is to be deleted."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from pipeline.errors import Busy, ProjectError, StorageError
from pipeline.operations.study import opened


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Of a study that has one trial."""
    path = tmp_path / "study.db"
    use(path)
    return path


def use(path: Path, trials: int = 1) -> None:
    with opened(path, "validation_accuracy") as study:
        for _ in range(trials):
            study.tell(study.ask(), 0.5)


def known(path: Path) -> int:
    return len(optuna.load_study(study_name=path.stem, storage=f"sqlite:///{path}").trials)


@contextmanager
def under(pragma: str) -> Iterator[None]:
    """Let SQLite work under *pragma*, as on another machine, or another disk."""

    def connect(connection: sqlite3.Connection, record: object) -> None:
        connection.execute(f"PRAGMA {pragma}")

    event.listen(Engine, "connect", connect)
    try:
        yield
    finally:
        event.remove(Engine, "connect", connect)


@pytest.mark.parametrize(
    ("pragma", "told"),
    [("max_page_count = 1", "disk is full"), ("query_only = 1", "readonly database")],
)
def test_a_full_or_read_only_disk_is_named_and_the_study_is_kept(path, pragma, told):
    with under(pragma), pytest.raises(StorageError, match=told) as caught:
        use(path, trials=1000)
    assert str(path) in str(caught.value)
    assert "delete" not in caught.value.mend
    before = known(path)
    use(path)
    assert known(path) == before + 1


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(StorageError, match="unable to open") as caught:
        use(tmp_path / "no folder" / "study.db")
    assert "delete" not in caught.value.mend


def test_a_file_that_another_program_writes_is_waited_for_and_not_deleted(path):
    other = sqlite3.connect(path)
    other.execute("BEGIN EXCLUSIVE")
    with under("busy_timeout = 0"), pytest.raises(Busy) as caught:
        use(path)
    assert str(path) in str(caught.value)
    assert "wait" in caught.value.mend
    other.close()
    use(path)
    assert known(path) == 2


def no_database(path: Path) -> None:
    path.write_bytes(b"no database" * 1000)


def overwritten(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:4096] + bytes([255]) * (len(data) - 4096))


def without_a_table(path: Path) -> None:
    with sqlite3.connect(path) as store:
        store.execute("DROP TABLE studies")
    store.close()


def without_a_column(path: Path) -> None:
    with sqlite3.connect(path) as store:
        store.execute("ALTER TABLE trials DROP COLUMN datetime_start")
    store.close()


@pytest.mark.parametrize("damage", [no_database, overwritten, without_a_table, without_a_column])
def test_only_a_damaged_file_is_to_be_deleted(path, damage):
    damage(path)
    with pytest.raises(ProjectError, match="study") as caught:
        use(path)
    assert str(path) in str(caught.value)
    assert "delete" in caught.value.mend
