"""The project that a verb or a flow is called in."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.params import Params, load_params
from pipeline.workspace import Home, Workspace, find_home, find_workspace


@dataclass(frozen=True)
class Project:
    workspace: Workspace
    home: Home
    params: Params


def open_project(start: Path, environ: Mapping[str, str]) -> Project:
    """Return the project that *start* lies in.

    Raises ProjectError where there is none, ParamsError where its params.yaml is wrong.
    """
    workspace = find_workspace(start)
    return Project(workspace, find_home(workspace, environ), load_params(workspace.params))
