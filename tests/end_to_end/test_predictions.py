"""`darkroom predictions` as a process: its errors, what it imports, opens and leaves behind."""

import re
import signal
import subprocess
import sys
import time

import pytest
from predicted import answered, publish
from worlds import World, can_trace, environment, make_world

HEAVY = ("torch", "mlflow", "prefect", "pandas", "sklearn", "matplotlib", "onnxruntime")


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> World:
    """A project in which one batch was predicted; do not change it."""
    world = make_world(tmp_path_factory.mktemp("predictions") / "it's [a] project")
    publish(world.home.predictions, "a-1", answered("a"))
    return world


def test_what_was_never_predicted_and_what_is_damaged_is_told(project, tmp_path):
    home = {"DARKROOM_HOME": str(tmp_path)}
    done = project.run("darkroom", "predictions", ok=False, env=home)
    assert done.returncode == 1 and "no batch of predictions" in done.stderr
    assert "mend: put images into the inbox" in done.stderr
    publish(tmp_path / "predictions", "a-1", answered("a")).write_bytes(b"PAR1")
    done = project.run("darkroom", "predictions", ok=False, env=home)
    assert done.returncode == 1 and "batch=a-1/part-00000.parquet" in done.stderr
    assert "Traceback" not in done.stderr and len(done.stderr.splitlines()) <= 5


def test_nothing_heavy_is_imported_and_duckdb_only_to_ask(project):
    def imported(*arguments: str) -> set[str]:
        done = project.run("python", "-X", "importtime", "-m", "pipeline.cli", *arguments)
        return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}

    assert "duckdb" not in imported("--help") | imported("predictions", "--help")
    asked = imported("predictions")
    assert "duckdb" in asked and [name for name in HEAVY if name in asked] == []


def test_a_look_writes_nothing_but_its_file_and_opens_no_connection(project, tmp_path):
    if not can_trace():
        pytest.skip("needs strace")
    home, trace, out = tmp_path / "home", tmp_path / "trace", tmp_path / "rows.csv"
    home.mkdir()
    command = ("strace", "-f", "-qq", "-o", str(trace), "-e", "trace=openat,connect,mkdir,unlink")
    command += (sys.executable, "-m", "pipeline.cli", "predictions", "--output", str(out))
    project.run(*command, env={"HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"})
    calls = trace.read_text().splitlines()
    written = [call for call in calls if re.search(r"O_(WRONLY|RDWR|CREAT)|mkdir\(", call)]
    elsewhere = [c for c in written if f'"{out.parent}/.rows.csv.' not in c and '"/dev/' not in c]
    assert len(written) > len(elsewhere) and elsewhere == []
    assert [call for call in calls if "connect(" in call and "AF_INET" in call] == []
    assert list(home.iterdir()) == []


def test_ctrl_c_leaves_the_file_of_before(project, tmp_path):
    rows = [answered(str(number)) for number in range(10_000)]
    publish(tmp_path / "predictions", "a-1", *rows)
    for batch in range(2, 6):
        part = publish(tmp_path / "predictions", f"a-{batch}", answered("a"))
        first = tmp_path / "predictions/model=digits/version=1/batch=a-1/part-00000.parquet"
        part.write_bytes(first.read_bytes())
    out = tmp_path / "out/rows.csv"
    out.parent.mkdir()
    out.write_text("before")
    child = subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", "predictions", "--output", str(out)],
        cwd=project.root,
        env=environment(project.root) | {"DARKROOM_HOME": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
    )
    while child.poll() is None and len(list(out.parent.iterdir())) == 1:
        time.sleep(0.01)
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=60)
    assert (child.returncode, said.strip()) == (1, "darkroom: interrupted")
    assert list(out.parent.iterdir()) == [out] and out.read_text() == "before"
