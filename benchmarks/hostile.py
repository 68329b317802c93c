"""What the worst pictures cost: `python benchmarks/hostile.py`.

Takes every file of the tests' hostile corpus (tests/hostile.py) in by itself: the longest time of
one, up to 12 megapixels and at the limit of 50, and the most memory, in a process of its own for
the large ones. Prints one JSON object a line for each bar.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from growth import PICTURE, PICTURE_IMPORTS, growing  # noqa: E402
from hostile import nearly_fifty_megapixels, write_corpus  # noqa: E402, it lies with the tests

from pipeline.data.appearance import appearance  # noqa: E402
from pipeline.errors import UnreadableImage  # noqa: E402
from pipeline.serving.images import Limits, inspect  # noqa: E402

GROWN = growing(PICTURE_IMPORTS, PICTURE)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        source = Path(name) / "source"
        write_corpus(source, Path(name) / "outside")
        files = [p for p in source.rglob("*") if p.is_file() and not p.is_symlink()]
        small = {p: _seconds(p) for p in files if p.stat().st_size <= Limits().bytes}
        large = {}
        for file in nearly_fifty_megapixels():
            path = Path(name) / file.name
            path.write_bytes(file.data)
            large[path] = _seconds(path)
        _bar("longest time of a file up to 12 megapixels, s", small, 1)
        _bar("longest time of a picture of 49.9 megapixels, s", large, 4)
        slowest = sorted(small, key=lambda p: small[p], reverse=True)[:20]
        _bar("most memory of the slowest of these, MB", {p: _grown(p) for p in slowest}, 300)
        _bar("most memory of a picture of 49.9 megapixels, MB", {p: _grown(p) for p in large}, 600)


def _seconds(path: Path) -> float:
    """Return the median of three: the corpus is still on its way to the disk."""
    return statistics.median(_once(path) for _ in range(3))


def _once(path: Path) -> float:
    started = time.perf_counter()
    with suppress(UnreadableImage):
        appearance(inspect(path.read_bytes(), Limits()).picture)
    return time.perf_counter() - started


def _grown(path: Path) -> float:
    done = subprocess.run(
        [sys.executable, "-c", GROWN, str(path)], cwd=ROOT, capture_output=True, text=True
    )
    return int(done.stdout or 0) / 1e6


def _bar(name: str, values: dict[Path, float], bar: float) -> None:
    worst = max(values, key=lambda path: values[path])
    told = {"name": name, "value": round(values[worst], 3), "bar": bar, "met": values[worst] <= bar}
    print(json.dumps(told | {"file": ascii(worst.name)[1:-1], "of": len(values)}))


if __name__ == "__main__":
    main()
