"""From a version in the registry to files on this disk that are what its tags say, and its code.

The tags are what is trusted; the store of the artefacts is not. So nothing of a model is imported,
nor is its MLmodel read, before every file agrees with the tags. (`mlflow.pyfunc.load_model` knows
no tags: it imports whatever the store holds.)
"""

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import mlflow
from filelock import FileLock
from ruamel.yaml import YAML

from pipeline.errors import ArtefactError, RegistryError
from pipeline.export.artefact import SealedClassifier, check_digest, hash_files, open_artefact
from pipeline.serving.choice import AUTO
from pipeline.tracking.packaging import FILES, SERVING, package
from pipeline.tracking.pickles import find_pickles
from pipeline.tracking.registry import Version
from pipeline.workspace import Home, fresh

_LOADER = "mlflow.pyfunc.loaders.code_model"
_CLIENTS_OWN = "registered_model_meta"
"""What MLflow's client adds to what it downloads."""
_FETCH_SECONDS = 600
"""How long a run waits for another that fetches the same model."""
_MEND = "register it again (darkroom register), or put that file of the artefact back"


def open_version(
    home: Home,
    version: Version,
    *,
    variant: str = AUTO,
    memory: Path | None = None,
    providers: str = AUTO,
) -> SealedClassifier:
    """Load *version* by its own code, once every file of it agrees with the version's tags: the
    *variant* asked for, or the fastest here, remembered in *memory*, a folder.

    A copy at home that was damaged is fetched again. Raises ArtefactError where the registry's
    own is not what the tags say, before anything of it is imported; RegistryError without tags.
    """
    serving = fetch_sealed(home, version)
    digest = version.serving_digest
    return open_artefact(serving, digest, variant=variant, memory=memory, providers=providers)


def fetch_sealed(home: Home, version: Version) -> Path:
    """Return *version*'s sealed model on this disk, checked. Raises as open_version does."""
    _refuse_unstated(version)
    if _states_files(version):
        return _fetch_whole(home, version) / SERVING
    return _fetch_serving(home, version)


def fetch_version(home: Home, version: Version) -> Path:
    """Return *version* as a checked MLflow model on this disk, for `mlflow models serve`.

    Of a version of an older Darkroom, which states the digest of its sealed model alone, that model
    is taken, and put into a shell of our own. Raises as open_version does.
    """
    _refuse_unstated(version)
    if _states_files(version):
        return _fetch_whole(home, version)
    serving = _fetch_serving(home, version)
    folder = fresh(serving.with_name("shell"))
    package(folder, serving)
    return folder


def _refuse_unstated(version: Version) -> None:
    if not re.fullmatch("[0-9a-f]{64}", version.serving_digest):
        raise RegistryError(
            f"{version.name} version {version.number} was not registered by Darkroom",
            "it states no serving digest, so that nothing vouches for its files",
            mend="darkroom register; or move the alias to a version that states one",
        )


def _states_files(version: Version) -> bool:
    return FILES in version.tags


def _fetch_whole(home: Home, version: Version) -> Path:
    tag = version.tags[FILES]
    folder = home.private / "models" / hashlib.sha256(tag.encode()).hexdigest()
    return _fetch(version.uri, folder, lambda got: _check_whole(got, version))


def _fetch_serving(home: Home, version: Version) -> Path:
    def check(got: Path) -> None:
        _refuse_pickles(got, version)
        check_digest(got, version.serving_digest)

    folder = home.private / "models" / version.serving_digest / "serving"
    return _fetch(f"{version.uri}/{SERVING}", folder, check)


def _fetch(uri: str, folder: Path, check: Callable[[Path], None]) -> Path:
    """Return *folder*, where it passes *check*; else what the registry holds, moved there.

    One process at a time: another's check would find a folder that is being taken away.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f"{folder.name}.lock"), timeout=_FETCH_SECONDS):
        try:
            check(folder)
        except ArtefactError:
            shutil.rmtree(folder, ignore_errors=True)
            _download(uri, folder, check)
    return folder


def _download(uri: str, folder: Path, check: Callable[[Path], None]) -> None:
    scratch = fresh(folder.with_name(f"{folder.name}.part"))  # a killed run may have left one
    try:
        got = Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(scratch)))
        (got / _CLIENTS_OWN).unlink(missing_ok=True)
        check(got)
        got.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _check_whole(folder: Path, version: Version) -> None:
    """Raise ArtefactError where the MLflow model in *folder* is not the one that *version* states;
    or where the version vouches for what no Darkroom has made."""
    _refuse_pickles(folder, version)
    found, stated = hash_files(folder), _stated_files(version)
    if found != stated:
        named = {
            "changed": [n for n in found.keys() & stated.keys() if found[n] != stated[n]],
            "added": [*found.keys() - stated.keys()],
            "missing": [*stated.keys() - found.keys()],
        }
        raise ArtefactError(
            f"{version.name} version {version.number} is not what was registered",
            *(f"{how}: {', '.join(sorted(names))}"[:200] for how, names in named.items() if names),
            mend=_MEND,
        )
    _refuse_other_loader(folder, version)
    check_digest(folder / SERVING, version.serving_digest)


def _stated_files(version: Version) -> dict[str, str]:
    try:
        stated = json.loads(version.tags[FILES])
    except ValueError:
        stated = None
    if not isinstance(stated, dict) or "MLmodel" not in stated:  # of no file at all, all agree
        raise ArtefactError(
            f"{version.name} version {version.number} does not say what its files are",
            f"its tag {FILES} is damaged",
            mend="register it again: darkroom register",
        )
    return stated


def _refuse_pickles(folder: Path, version: Version) -> None:
    if pickles := find_pickles(folder):
        raise ArtefactError(
            f"{version.name} version {version.number} holds a pickle, which is code in disguise",
            ", ".join(pickles)[:200],
            mend=_MEND,
        )


def _refuse_other_loader(folder: Path, version: Version) -> None:
    """MLflow imports what MLmodel names, from the folder `code` that it names."""
    model = YAML(typ="safe").load((folder / "MLmodel").read_text(encoding="utf-8"))
    flavors = model.get("flavors", {})
    ours = flavors.get("python_function", {})
    expected = {"loader_module": _LOADER, "code": None, "python_model": None, "data": None}
    wrong = [f"{key}: {ours.get(key)}" for key, value in expected.items() if ours.get(key) != value]
    wrong += [f"flavor: {name}" for name in flavors if name != "python_function"]
    if Path(str(ours.get("model_code_path"))).name != "served_model.py":
        wrong.append(f"model_code_path: {ours.get('model_code_path')}")
    if wrong:
        raise ArtefactError(
            f"{version.name} version {version.number} asks MLflow for another loader than ours",
            f"MLmodel, {'; '.join(wrong)}"[:200],
            mend=_MEND,
        )
