"""The sealed model: a folder that names every file of its own and brings its own code.

    models/serving/
      card.json                       what it is: classes, size, limits, temperature
      fp32.onnx  int8.onnx            the network, in each variant that may serve
      selftest.npz                    some pixels, and what fp32 answered to them
      thresholds.json embeddings.npy  what answers are held against (serving/abstention.py)
      reference.json                  what later batches are compared with (inference/reference.py)
      int8.thresholds.json ...        the same three for int8's own answers
      code/darkroom_served_<hash>/    the decoder and classifier that it was sealed with
      digests.json                    sha256 of each file above

The hash of all of them together is the model's `serving_digest`: equal content, equal digest.
"""

import hashlib
import importlib
import inspect
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from pipeline import errors, serving
from pipeline.cards import read_json, write_card
from pipeline.errors import ArtefactError
from pipeline.serving.choice import AUTO, SELF_TEST, SelfTest
from pipeline.serving.variants import FP32, INT8

DIGESTS = "digests.json"
_INTERFACES = (1,)
"""Numbers of `serving.classifier.INTERFACE` that this Darkroom can drive."""


class SealedPrediction(Protocol):
    """One image's answer; see Prediction in pipeline/serving/classifier.py. Its later fields
    (conformal_set and on) are not here: a model of an older Darkroom has none of them."""

    @property
    def label(self) -> str | None: ...
    @property
    def confidence(self) -> float | None: ...
    @property
    def probabilities(self) -> tuple[float, ...] | None: ...
    @property
    def reason(self) -> str | None: ...
    @property
    def detail(self) -> str | None: ...


class SealedClassifier(Protocol):
    """Interface 1 of a sealed model's own code; see pipeline/serving/classifier.py."""

    classes: tuple[str, ...]
    variant: str

    def classify(self, images: Sequence[bytes]) -> Sequence[SealedPrediction]: ...


def seal(
    folder: Path,
    graph: bytes,
    card: dict[str, Any],
    files: Mapping[str, bytes] | None = None,
    *,
    int8: bytes | None = None,
    self_test: SelfTest | None = None,
) -> str:
    """Write a whole artefact into *folder*, a new one; return its serving digest.

    *graph* is the fp32 variant, *int8* perhaps another; two variants need a *self_test*. *files*
    are sealed beside them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    graphs = {FP32: graph} | ({INT8: int8} if int8 is not None else {})
    for name, data in graphs.items():
        (folder / f"{name}.onnx").write_bytes(data)
    card = card | {"variants": list(graphs)}
    if self_test is not None:
        np.savez(folder / SELF_TEST, pixels=self_test.pixels, probabilities=self_test.probabilities)
        card |= {"self_test": dict(self_test.bounds)}
    write_card(folder / "card.json", card)
    for name, content in (files or {}).items():
        (folder / name).write_bytes(content)
    _seal_code(folder / "code")
    write_card(folder / DIGESTS, _hash_sealed(folder))
    return serving_digest(folder)


def serving_digest(folder: Path) -> str:
    """Return the digest of the artefact in *folder*, each file checked against digests.json.

    Raises ArtefactError where a file is missing, changed, or not named there.
    """
    found = _hash_sealed(folder)
    try:
        stated = read_json(folder / DIGESTS)
    except ValueError:
        stated = None
    if found != stated:
        names = stated if isinstance(stated, dict) else {DIGESTS: None}
        wrong = sorted(n for n in {*found, *names} if found.get(n) != names.get(n))
        raise ArtefactError(
            "the model is not what it was when it was sealed",
            f"in {folder}",
            f"missing, changed or added: {', '.join(wrong)}"[:200],
            mend="seal it again: dvc repro --force export; or register a new version",
        )
    return digest_of(found)


def digest_of(hashes: Mapping[str, str]) -> str:
    """Return the serving digest of the files that *hashes*, name → sha256, are of."""
    return hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()


def check_digest(folder: Path, expected: str) -> None:
    """Raise ArtefactError where the artefact in *folder* is damaged, or not the expected one."""
    digest = serving_digest(folder)
    if digest != expected:
        raise ArtefactError(
            "the model is not the one that was registered",
            f"in {folder}",
            f"its digest is {digest[:12]}..., the registry says {expected[:12]}...",
            mend="register a model of your own again: darkroom register",
        )


def open_artefact(
    folder: Path,
    expected_digest: str | None = None,
    *,
    variant: str = AUTO,
    memory: Path | None = None,
    providers: str = AUTO,
) -> SealedClassifier:
    """Load the model in *folder* by its own code, after every file of it was checked: the *variant*
    asked for, or the fastest here, remembered in *memory*, a folder, where one is given; on a GPU
    where there is one, unless *providers* is cpu.

    Raises ArtefactError before anything is imported where the digest is not *expected_digest*.
    """
    if expected_digest is None:
        serving_digest(folder)
    else:
        check_digest(folder, expected_digest)
    classifier = _import_sealed(folder / "code")
    if classifier.INTERFACE not in _INTERFACES:
        raise ArtefactError(
            f"the model speaks interface {classifier.INTERFACE}, which this Darkroom does not know",
            f"known: {', '.join(map(str, _INTERFACES))}",
            mend="update Darkroom, or register a model of this version",
        )
    understood = inspect.signature(classifier.Classifier).parameters
    if "variant" not in understood:
        _refuse_all_but_fp32(variant)
    wanted = {"variant": variant, "memory": memory, "providers": providers}
    asked = {name: value for name, value in wanted.items() if name in understood}
    with _named_here(classifier):
        loaded: SealedClassifier = classifier.Classifier(folder, **asked)
    return loaded


@contextmanager
def _named_here(classifier: Any) -> Iterator[None]:
    """Turn the ArtefactError of the model's own code, another class than ours, into ours."""
    package = classifier.__name__.partition(".")[0]
    try:
        yield
    except sys.modules[f"{package}.errors"].DarkroomError as error:
        raise ArtefactError(error.what, *error.where, mend=error.mend) from None


def _refuse_all_but_fp32(variant: str) -> None:
    """The first models had one graph, and nothing to ask for."""
    if variant not in (AUTO, FP32):
        raise ArtefactError(
            f"the model has no variant {variant}",
            "it has fp32",
            mend="set serving.variant in params.yaml to auto or fp32",
        )


def _import_sealed(code: Path) -> Any:
    """Import the artefact's classifier without leaving bytecode beside it, which would be an
    added file (and which Python would run unread the next time)."""
    package = next(code.glob("darkroom_served_*/serving/classifier.py")).parents[1].name
    before = sys.dont_write_bytecode
    sys.path.insert(0, str(code))
    sys.dont_write_bytecode = True
    try:
        return importlib.import_module(f"{package}.serving.classifier")
    except ImportError as error:
        raise ArtefactError(
            "the model's own code cannot be imported here",
            f"{type(error).__name__}: {error}"[:200],
            f"in {code}",
            mend="install the library that it names; or register a model of this Darkroom",
        ) from None
    finally:
        sys.dont_write_bytecode = before
        sys.path.remove(str(code))


def _seal_code(target: Path) -> None:
    """Copy `serving/` and errors.py as a package named by its own content."""
    home = Path(str(errors.__file__)).parent
    files = {
        f"serving/{path.name}": path.read_bytes()
        for path in sorted(Path(serving.__path__[0]).glob("*.py"))
    }
    files["errors.py"] = (home / "errors.py").read_bytes()
    files["__init__.py"] = b""
    content = json.dumps({name: data.decode() for name, data in files.items()}, sort_keys=True)
    package = target / f"darkroom_served_{hashlib.sha256(content.encode()).hexdigest()[:16]}"
    for name, data in files.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_bytes(data)


def hash_files(folder: Path) -> dict[str, str]:
    """Return the sha256 of each file under *folder*, by its path there.

    A link has none: what it points to could change without a trace here.
    """
    return {
        path.relative_to(folder).as_posix(): "link" if path.is_symlink() else _sha256(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() or path.is_symlink()
    }


def _hash_sealed(folder: Path) -> dict[str, str]:
    return {name: digest for name, digest in hash_files(folder).items() if name != DIGESTS}


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
