"""The table of versions keeps what decides, however narrow the terminal is."""

import io

import pytest
from rich.console import Console

from pipeline.cli.models import _table
from pipeline.operations.models import Listed

VERDICT = "BEWARE, may be guessing; not promoted: worst_class_recall; cannot tell"
LISTED = Listed(
    12, ("challenger", "champion"), "2026-01-02 03:04", "0.9882 (0.9659 to 0.9960)", VERDICT,
    "01234567", "0123456789ab",
)  # fmt: skip


@pytest.mark.parametrize(("width", "digest"), [(80, False), (110, False), (150, True)])
def test_the_table_never_cuts_aliases_accuracy_or_verdict(width, digest):
    out = io.StringIO()
    Console(file=out, width=width).print(_table([LISTED], width))
    shown = out.getvalue()
    words = " ".join(shown.replace("│", " ").split())
    assert "…" not in shown and all(len(line) <= width for line in shown.splitlines())
    for word in ("challenger", "champion", "0.9882", "(0.9659 to 0.9960)", *VERDICT.split()):
        assert word in words
    assert (LISTED.digest in words) is digest
