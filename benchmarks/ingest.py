"""How `darkroom ingest` scales: `DARKROOM_TEST_DATA=... python benchmarks/ingest.py`.

Takes 10,000 and then 60,000 CIFAR-10 images (cifar10.tar.xz) in, each into a fresh clone of HEAD:
cold, again with nothing changed (the median of three), and with 1% new files. Prints one JSON
object a line for each bar; "own" time leaves DVC's out.
"""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
MEASURED = """
import json, os, resource, sys, time
from pathlib import Path
import pyarrow as pa
import pipeline.operations.ingest as ingest
from pipeline.project import open_project

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

def timed(*arguments, real=ingest.dvc):
    started = time.monotonic()
    try:
        return real(*arguments)
    finally:
        spent.append(time.monotonic() - started)

def written(*arguments, real=ingest.write_known):
    tables.append(pa.total_allocated_bytes())
    real(*arguments)

spent, tables = [], []
ingest.dvc, ingest.write_known = timed, written
project = open_project(Path.cwd(), os.environ)
before, started = peak(), time.monotonic()
done = ingest.run(project.workspace, project.home, project.params, lambda line: None)
seconds = time.monotonic() - started
print(json.dumps({
    "files": done.images + sum(done.refused.values()), "read": done.read,
    "own": seconds - sum(spent), "dvc": sum(spent), "before": before, "peak": peak(),
    "tables": max(tables, default=0),
}))
"""


@dataclass(frozen=True)
class Measured:
    files: int
    read: int
    own: float
    """Seconds without DVC's."""
    dvc: float
    before: int
    """Most memory before the ingest began, in bytes."""
    peak: int
    tables: int
    """Bytes of the source's, the records' and the catalogue's tables, in memory."""


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        with tarfile.open(Path(os.environ["DARKROOM_TEST_DATA"]) / "cifar10.tar.xz") as tar:
            tar.extractall(scratch, filter="data")
        small = _measure(scratch, _source(scratch / "small", scratch / "cifar10", ("test",)))
        large_source = _source(scratch / "large", scratch / "cifar10", ("train", "test"))
        large = _measure(scratch, large_source)
        project = scratch / "large-project"
        again = sorted((_ingest(project) for _ in range(3)), key=lambda each: each.own)[1]
        _bar("60,000 files, cold, files/s", large.files / large.own, 1000, at_least=True)
        _bar("unchanged, files/s", again.files / again.own, 20_000, at_least=True)
        _bar("own time, 60,000 / 10,000 files", large.own / small.own, 6.6)
        grown = (large.peak - (large.tables - small.tables)) / small.peak
        _bar("peak memory less the tables, 60,000 / 10,000 files", grown, 1.1)
        print(f"  own {small.own:.1f}, {large.own:.1f} s; DVC {small.dvc:.1f}, {large.dvc:.1f} s")
        print(
            f"  peak {_mib(small.peak)} and {_mib(large.peak)}, tables {_mib(small.tables)} and "
            f"{_mib(large.tables)}, before {_mib(large.before)}"
        )
        _new_files(large_source, 600)
        more = _ingest(project)
        _bar("1% new files: files read beyond them", more.read - 600, 0)
        _bar("1% new files: own time, share of the cold run's", more.own / large.own, 0.08)
        print(f"  own {more.own:.1f} s, DVC {more.dvc:.1f} s")
        copies = _disk(project / "data/dataset", project / ".dvc/cache") / _disk(large_source)
        _bar("snapshot and cache on the disk, in copies of a source of 1 KB files", copies, 1.2)


def _source(folder: Path, unpacked: Path, parts: tuple[str, ...]) -> Path:
    for part in parts:
        for label in (unpacked / part).iterdir():
            target = folder / label.name
            target.mkdir(parents=True, exist_ok=True)
            for image in label.iterdir():
                shutil.copyfile(image, target / f"{part}-{image.name}")
    return folder


def _new_files(source: Path, count: int) -> None:
    """Lay new images down: the old ones, each with a comment of its own at its end."""
    images = sorted(source.glob("*/*"))[:: len(list(source.glob("*/*"))) // count][:count]
    for image in images:
        image.with_name(f"new-{image.name}").write_bytes(image.read_bytes() + b"\nnew")


def _measure(scratch: Path, source: Path) -> Measured:
    project = scratch / f"{source.name}-project"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(project)], check=True)
    params = project / "params.yaml"
    params.write_text(params.read_text().replace("source: digits", f"source: {source}"))
    return _ingest(project)


def _ingest(project: Path) -> Measured:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "DARKROOM_H"))}
    done = subprocess.run(
        [sys.executable, "-c", MEASURED],
        cwd=project,
        env=environment | {"PYTHONPATH": str(project), "ARROW_DEFAULT_MEMORY_POOL": "system"},
        stdout=subprocess.PIPE,
        check=True,
    )
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


def _disk(*folders: Path) -> int:
    told = subprocess.run(["du", "-sc", *folders], stdout=subprocess.PIPE, check=True, text=True)
    return int(told.stdout.splitlines()[-1].split()[0])


def _mib(size: int) -> str:
    return f"{size / 2**20:.0f} MiB"


def _bar(name: str, value: float, bar: float, at_least: bool = False) -> None:
    met = value >= bar if at_least else value <= bar
    print(json.dumps({"name": name, "value": round(value, 3), "bar": bar, "met": met}))


if __name__ == "__main__":
    print(f"{os.cpu_count()} cores")
    main()
