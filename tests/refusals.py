"""How a command fails that fails well."""

import subprocess


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """The command failed with an error of at most five lines that holds *words*."""
    assert done.returncode != 0
    everything = done.stdout + done.stderr
    assert "Traceback" not in everything
    error = everything[everything.rindex("darkroom: ") :].strip()
    lines = error.splitlines()
    assert len(lines) <= 5, error
    assert lines[-1].startswith("  mend: "), error
    for word in words:
        assert word in error
