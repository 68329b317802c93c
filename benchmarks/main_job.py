"""How long the main job takes on this machine: `python benchmarks/main_job.py`.

Clones HEAD into an empty folder, installs, then times the demo, the demo again with nothing
changed, and `make repro`. Prints one JSON object a line for each bar.
"""

import json
import os
import platform
import subprocess
import tempfile
import time
from pathlib import Path

import pyarrow.dataset as ds
from sklearn.datasets import load_digits

ROOT = Path(__file__).parents[1]


def main() -> None:
    print(f"{os.cpu_count()} cores, {_processor()}, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory() as scratch:
        project = Path(scratch) / "darkroom"
        subprocess.run(["git", "clone", "-q", str(ROOT), str(project)], check=True)
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        environment["PREFECT_HOME"] = f"{scratch}/prefect"
        _make(project, environment, "install")
        _bar("demo, first time, s", _make(project, environment, "demo"), 180)
        _bar("demo, nothing changed, s", _make(project, environment, "demo"), 45)
        for _ in range(2):
            _bar("make repro, nothing changed, s", _make(project, environment, "repro"), 4)
        _bar("inbox images without exactly one row", _without_one_row(project), 0)
        _bar("inbox images wrong, share", _wrong(project), 0.05)


def _make(project: Path, environment: dict[str, str], target: str) -> float:
    started = time.monotonic()
    subprocess.run(
        ["make", target],
        cwd=project,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    return time.monotonic() - started


def _rows(project: Path) -> list[tuple[str, str]]:
    table = ds.dataset(project / "predictions/model=digits").to_table(columns=["path", "label"])
    return [(Path(row["path"]).stem, row["label"]) for row in table.to_pylist()]


def _without_one_row(project: Path) -> float:
    named = [number for number, _ in _rows(project)]
    inbox = [path.stem for path in (project / "data/inbox/digits").iterdir()]
    return sum(named.count(number) != 1 for number in inbox)


def _wrong(project: Path) -> float:
    truth = load_digits().target
    wrong = [label != str(truth[int(number)]) for number, label in _rows(project)]
    return sum(wrong) / len(wrong)


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    facts = {key.strip(): value for key, _, value in (line.partition(": ") for line in lines)}
    flags = set(facts.get("flags", "").split())
    return f"{facts.get('model name', 'unknown')}, " + " ".join(
        sorted(flags & {"avx2", "avx512f", "avx512_vnni", "avx_vnni"})
    )


def _bar(name: str, value: float, at_most: float) -> None:
    print(
        json.dumps(
            {"name": name, "value": round(value, 3), "bar": at_most, "met": value <= at_most}
        ),
        flush=True,
    )


if __name__ == "__main__":
    main()
