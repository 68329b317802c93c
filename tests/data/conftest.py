"""Folders of files for tests of what reads them."""

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


@pytest.fixture
def lay(source: Path) -> Callable[..., Path]:
    """Lay files down in the source: lay("cat/a.png", "dog/b.png") or lay({"cat/a.png": bytes})."""

    def made(*names: str | dict[str, bytes]) -> Path:
        files: dict[str, bytes] = {}
        for name in names:
            files |= name if isinstance(name, dict) else {name: b"content"}
        for name, data in files.items():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes(data)
        return source

    return made
