"""The verb that answers over HTTP."""

import errno
import os
import socket
import sys
from pathlib import Path

import click

from pipeline.cli.here import project_here, say
from pipeline.errors import Busy
from pipeline.params import ServingParams

_HOST = "127.0.0.1"
_PATIENCE = 5
"""Seconds that requests at work are waited for, once the server is to end."""


@click.command()
@click.argument("version", default="champion", metavar="[VERSION|ALIAS]")
@click.option(
    "--port",
    default=5001,
    type=click.IntRange(1, 65535),
    show_default=True,
    help="Port on 127.0.0.1.",
)
def serve(version: str, port: int) -> None:
    """Check a registered model, the champion by default, and serve it by `mlflow models serve`."""
    from pipeline.operations.serve import fetch

    project = project_here()
    found, folder = fetch(project.home, project.params, version)
    _refuse_taken(port)
    say(f"{found.name} version {found.number}, checked: http://{_HOST}:{port} (Ctrl-C ends it)")
    server = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", str(folder)]
    server += ["--env-manager", "local", "--host", _HOST, "--port", str(port)]
    environment = _environment(project.params.serving)
    os.execve(server[0], server, environment)  # noqa: S606, so that ending this ends the server


def _environment(how: ServingParams) -> dict[str, str]:
    bin_folder = str(Path(sys.executable).parent)  # MLflow looks for uvicorn on PATH
    return os.environ | {
        "PATH": os.pathsep.join([bin_folder, os.environ.get("PATH", os.defpath)]),
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "PYTHONDONTWRITEBYTECODE": "1",  # a cached .pyc would be a file that nobody registered
        "UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN": str(_PATIENCE),  # for ever, else
        "SERVING_MODEL_CONFIG": how.model_dump_json(),  # MLflow hands it to the model
    }


def _refuse_taken(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError as error:
            is_taken = error.errno == errno.EADDRINUSE
            why = (
                "is taken: another program listens there"
                if is_taken
                else (f"cannot be used: {error.strerror}")
            )
            raise Busy(f"port {port} {why}", mend=f"choose another: --port {port + 1}") from None
