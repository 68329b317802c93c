"""The fixtures: small projects to break, and one finished demo to look at."""

import multiprocessing
import os
import shutil
import subprocess
from collections.abc import Callable
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from playwright.sync_api import sync_playwright
from worlds import ROOT, World, make_world, write_digits

from pipeline.params import Params, load_params

_PRELOADED = [
    "killed_registers",
    "classifies",
    "mlflow.store.db.utils",
    "mlflow.store.tracking.sqlalchemy_workspace_store",
    "mlflow.store.model_registry.sqlalchemy_workspace_store",
]
"""What children run, and what MLflow would import in each of them; one that is missing is left
out."""
_CHROMIUM = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="full counts: make test-all")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--full"):
        for item in items:
            if item.get_closest_marker("full"):
                item.add_marker(pytest.mark.skip(reason="full counts: make test-all"))


@pytest.fixture
def full(request: pytest.FixtureRequest) -> bool:
    """Whether the full counts are asked for."""
    return bool(request.config.getoption("--full"))


@pytest.fixture(scope="session")
def params() -> Params:
    """The template's own params.yaml."""
    return load_params(ROOT / "params.yaml")


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real photos; without it the test is skipped."""
    folder = os.environ.get("DARKROOM_TEST_DATA")
    if not folder:
        pytest.skip("needs real photos: DARKROOM_TEST_DATA is not set")
    return Path(folder)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A fresh project whose source is 300 digits in class folders: source/."""
    made = make_world(tmp_path / "project")
    write_digits(made.root / "source", range(300))
    made.set(**{"data.source": "source", "train.epochs": 2})
    made.commit()
    return made


def _once(shared: Path, name: str, make: Callable[[Path], None]) -> Path:
    """Let the first of all test processes make *name*; return where it lies."""
    folder, done = shared / name, shared / f"{name}.done"
    with FileLock(shared / f"{name}.lock"):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            make(folder)
            done.touch()
    return folder


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all test processes of this run see."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def demo(shared: Path) -> World:
    """A finished project, made by `darkroom run` on 500 digits; do not change it: fork it.

    Its source is source/ (class folders), its inbox data/inbox/source/ (100 others, unlabelled).
    """

    def make(folder: Path) -> None:
        made = make_world(folder)
        write_digits(folder / "source", range(500))
        write_digits(folder / "data/inbox/source", range(500, 600), by_class=False)
        made.set(**{"train.epochs": 8})
        made.commit()
        done = made.run("darkroom", "run", "--source", "source", timeout=400)
        (folder / ".prefect-test/demo-output.txt").write_text(done.stdout + done.stderr)

    return World(_once(shared, "demo", make))


@pytest.fixture(scope="session")
def rival(demo: World, shared: Path) -> World:
    """The demo, and a second version whose card alone is another; do not change it: fork it."""

    def make(folder: Path) -> None:
        made = demo.fork(folder)
        made.set(**{"data.max_megabytes": 63})
        made.run("dvc", "repro")
        done = made.run("darkroom", "register")
        (folder / ".prefect-test/register-output.txt").write_text(done.stdout)

    return World(_once(shared, "rival", make))


@pytest.fixture(scope="session")
def desk(shared: Path) -> World:
    """A project with a champion that took no training; do not change it: fork it."""
    from desks import make_desk  # it takes seconds to import MLflow

    return World(_once(shared, "desk", make_desk))


@pytest.fixture(scope="session")
def processes() -> Any:
    """Children that have imported everything already, and nothing of this process."""
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload(_PRELOADED)
    with pytest.MonkeyPatch.context() as patch:  # its server is not told where to import from
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT / "tests"), str(ROOT)]))
        forkserver.ensure_running()
    return made


@pytest.fixture
def darkroom(processes: Any, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Be `darkroom` with some arguments in a project, in such a child."""
    from classifies import verb

    def run(world: World, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        output = tmp_path / "output"
        child = processes.Process(target=verb, args=(world.root, output, arguments, environ))
        child.start()
        child.join()
        return subprocess.CompletedProcess(arguments, child.exitcode, output.read_text(), "")

    return run


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium; without one on this machine the test is skipped."""
    found = filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome")))
    program = next(found, None)
    if program is None:
        pytest.skip("needs Chromium: none of chromium, chromium-browser, google-chrome is on PATH")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, args=_CHROMIUM)
        yield opened
        opened.close()
