"""From a version in the registry to files on this disk that are what its tags say, and its code.

The tags are what is trusted; the store of the artefacts is not. So nothing is fetched that they do
not name; and nothing of a model is imported, nor is its MLmodel read, nor a file looked at for
pickles, before every file agrees with the tags. (`mlflow.pyfunc.load_model` knows no tags: it
imports whatever the store holds.)
"""

import hashlib
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from filelock import FileLock
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from ruamel.yaml import YAML

from pipeline.errors import ArtefactError, RegistryError
from pipeline.export.artefact import (
    DIGESTS,
    SealedClassifier,
    check_digest,
    hash_files,
    open_artefact,
)
from pipeline.serving.choice import AUTO
from pipeline.tracking.fetching import differences, fetch, open_store
from pipeline.tracking.packaging import FILES, SERVING, package
from pipeline.tracking.pickles import find_pickles
from pipeline.tracking.registry import Version
from pipeline.tracking.stated import MEND, sealed_files, stated_files, stated_sizes
from pipeline.workspace import Home, fresh

_LOADER = "mlflow.pyfunc.loaders.code_model"
_LOCK_SECONDS = 600
"""For somebody else's fetch."""


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
    stated = stated_files(version)
    sizes = stated_sizes(version)

    def bring(place: Path) -> None:
        store = open_store(version.uri)
        _refuse_other(version, differences(store, {name: sizes.get(name) for name in stated}))
        for name in stated:
            fetch(store, name, place / name)

    folder = home.private / "models" / hashlib.sha256(version.tags[FILES].encode()).hexdigest()
    return _fetch(home, folder, bring, lambda got: _check_whole(got, version, stated))


def _fetch_serving(home: Home, version: Version) -> Path:
    """Its digests.json, whose own digest the version states, names all files."""

    def bring(place: Path) -> None:
        store = open_store(version.uri)
        fetch_digests(store, place)
        names = [*sealed_files(place, version), DIGESTS]
        wanted = {f"{SERVING}/{name}": None for name in names}
        _refuse_other(version, differences(store, wanted, SERVING))
        for name in names:
            fetch(store, f"{SERVING}/{name}", place / name)

    def fetch_digests(store: ArtifactRepository, place: Path) -> None:
        name = f"{SERVING}/{DIGESTS}"
        wrong = differences(store, {name: None}, SERVING)
        _refuse_other(version, {how: [name] for how, names in wrong.items() if name in names})
        fetch(store, name, place / DIGESTS)

    def check(got: Path) -> None:
        check_digest(got, version.serving_digest)
        _refuse_pickles(got, version)

    folder = home.private / "models" / version.serving_digest / "serving"
    return _fetch(home, folder, bring, check)


def _fetch(
    home: Home, folder: Path, bring: Callable[[Path], None], check: Callable[[Path], None]
) -> Path:
    """Return *folder*, where it passes *check*; else what the registry holds, moved there."""
    if _passes(folder, check):
        return folder
    with FileLock(home.private / "models.lock", timeout=_LOCK_SECONDS):
        if _passes(folder, check):  # somebody else has just brought it
            return folder
        scratch = fresh(home.private / "models/fetching")  # of a killed fetch, too
        try:
            bring(scratch)
            check(scratch)
            shutil.rmtree(folder, ignore_errors=True)
            folder.parent.mkdir(parents=True, exist_ok=True)
            scratch.rename(folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return folder


def _passes(folder: Path, check: Callable[[Path], None]) -> bool:
    try:
        check(folder)
    except (ArtefactError, OSError):  # it is missing; or another run is replacing a damaged one
        return False
    return True


def _check_whole(folder: Path, version: Version, stated: Mapping[str, str]) -> None:
    """Raise ArtefactError where the MLflow model in *folder* is not the one that *version* states;
    or where the version vouches for what no Darkroom has made.

    Names first, then hashes; only what both vouch for is read.
    """
    names = {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_symlink() or not path.is_dir()
    }
    found = hash_files(folder) if names == stated.keys() else dict.fromkeys(names, "")
    wrong = {
        "changed": [n for n in found.keys() & stated.keys() if found[n] and found[n] != stated[n]],
        "added": [*found.keys() - stated.keys()],
        "missing": [*stated.keys() - found.keys()],
    }
    _refuse_other(version, wrong)
    _refuse_pickles(folder, version)
    _refuse_other_loader(folder, version)
    check_digest(folder / SERVING, version.serving_digest)


def _refuse_other(version: Version, wrong: Mapping[str, list[str]]) -> None:
    if any(wrong.values()):
        raise ArtefactError(
            f"{version.name} version {version.number} is not what was registered",
            *(f"{how}: {', '.join(sorted(names))}"[:200] for how, names in wrong.items() if names),
            mend=MEND,
        )


def _refuse_pickles(folder: Path, version: Version) -> None:
    if pickles := find_pickles(folder):
        raise ArtefactError(
            f"{version.name} version {version.number} holds a pickle, which is code in disguise",
            ", ".join(pickles)[:200],
            mend=MEND,
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
            mend=MEND,
        )
