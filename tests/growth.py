"""A script that prints by how many bytes its process grew at most while it did one thing.

Its children are not counted. (Linux counts into `ru_maxrss` what started a process: pytest.)
"""

_SCRIPT = """
import sys
from pathlib import Path
{imports}

def kilobytes(name):
    return int(Path("/proc/self/status").read_text().split(name + ":")[1].split()[0])

{before}
before = kilobytes("VmRSS")
{work}
print((kilobytes("VmHWM") - before) * 1024)
"""

PICTURE_IMPORTS = """
from pipeline.data.appearance import appearance
from pipeline.serving.images import Limits, inspect
"""
PICTURE = "appearance(inspect(Path(sys.argv[1]).read_bytes(), Limits()).picture)"
"""What ingest does with one picture."""


def growing(imports: str, work: str, before: str = "") -> str:
    """*before* is done, and what it needed counts as there already; its growth is the last line."""
    return _SCRIPT.format(imports=imports, before=before, work=work)
