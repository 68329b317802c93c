"""params.yaml as frozen, closed models: one class for each section, every knob explained."""

import os
import re
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.errors import ParamsError


class Section(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


class DataParams(Section):
    source: str = Field(min_length=1)
    """`digits` (1,797 handwritten digits from scikit-learn), a folder of class folders, or a
    .csv or .parquet list with the columns path and label. A relative path starts at the
    project's home."""
    min_per_class: int = Field(ge=1)
    """Readable images that a class needs before it can be split."""
    max_refused: float = Field(ge=0, le=1)
    """Share of the source's files that may be unreadable before `ingest` gives up."""
    max_lost: float = Field(ge=0, le=1)
    """Share of the last version's images by which a source may shrink before `ingest` gives up."""
    max_megabytes: float = Field(gt=0, le=1024)
    """Largest file that is read, in MiB."""
    max_megapixels: float = Field(gt=0, le=500)
    """Largest image that is decoded, in millions of pixels."""
    near_duplicate_distance: int = Field(ge=0, le=8)
    """Bits by which the perceptual hashes (64 bits) of two near-duplicates differ at most."""


class SplitParams(Section):
    seed: int
    """Salt of the hash. Changing it reshuffles every split."""
    validation: float = Field(gt=0, lt=0.5)
    """Share of images that training is watched on, 0 to 0.5."""
    test: float = Field(gt=0, lt=0.5)
    """Share of images held out until a model is registered, 0 to 0.5."""
    group_by: str
    """What keeps images in one split: `auto` (the list's column `group` where there is one),
    `column:NAME`, or `path:REGEX`, a regular expression over the original path whose first group,
    or whole match, names the group. Each image is its own group otherwise."""

    @field_validator("group_by")
    @classmethod
    def _known_kind(cls, value: str) -> str:
        kind, _, what = value.partition(":")
        if value != "auto" and (kind not in ("column", "path") or not what):
            raise ValueError("must be auto, column:NAME or path:REGEX")
        if kind == "path":
            try:
                re.compile(what)
            except re.error as error:
                raise ValueError(f"must be a regular expression: {error}") from None
        return value


class TrainParams(Section):
    model: str = Field(min_length=1)
    """`auto` (by the median image size), `small_cnn`, or any torchvision classifier by name."""
    image_size: Literal["auto"] | int
    """Side of the square that the network sees, 8 to 1024 pixels, or `auto`."""
    seed: int = Field(ge=0)
    """Starting weights and the order of the images."""
    epochs: int = Field(ge=1)
    """Passes over the training images; the epoch with the best validation accuracy is kept."""
    batch_size: int = Field(ge=1)
    """Images a step."""
    learning_rate: float = Field(gt=0)
    """Peak of the schedule: warm-up over the first tenth, then a cosine to zero."""
    momentum: float = Field(ge=0, lt=1)
    """Of stochastic gradient descent (Nesterov)."""
    weight_decay: float = Field(ge=0)
    """L2 penalty; none on biases and norms."""
    device: Literal["auto", "cpu", "cuda"]
    """`auto` takes the GPU where there is one."""

    @field_validator("image_size", mode="before")
    @classmethod
    def _auto_or_in_range(cls, value: object) -> object:
        is_size = type(value) is int and 8 <= value <= 1024
        if value != "auto" and not is_size:
            raise ValueError("must be auto or 8 to 1024")
        return value


class ExportParams(Section):
    parity_images: int = Field(ge=1)
    """Real images on which the exported model must agree with torch."""
    parity_tolerance: float = Field(gt=0, le=1e-2)
    """Largest difference in any probability on those images."""


class EvaluateParams(Section):
    batch_size: int = Field(ge=1)
    """Images decoded and classified at once."""


class RegistryParams(Section):
    model_name: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")
    """Name in MLflow's registry; `auto` takes the source's name."""


class InferenceParams(Section):
    inbox: str = Field(min_length=1)
    """Folder of new images; `auto` is data/inbox/<model name>. A relative path starts at home."""
    batch_size: int = Field(ge=1)
    """Images decoded and classified at once."""


class Params(Section):
    data: DataParams
    split: SplitParams
    train: TrainParams
    export: ExportParams
    evaluate: EvaluateParams
    registry: RegistryParams
    inference: InferenceParams

    @property
    def model_name(self) -> str:
        """Name under which models of this source are registered."""
        if self.registry.model_name != "auto":
            return self.registry.model_name
        return slug(Path(self.data.source).name) or "images"


def slug(text: str) -> str:
    """Return *text* with everything but letters, digits, `_`, `.` and `-` replaced by `-`."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-.")


def load_params(path: Path) -> Params:
    """Read and check *path*; raise ParamsError naming at most three faults."""
    try:
        return Params.model_validate(_sections(path))
    except ValidationError as error:
        faults = [_describe(fault) for fault in error.errors()]
        raise ParamsError(
            f"{path.name} has {len(faults)} {'fault' if len(faults) == 1 else 'faults'}",
            *faults,
            mend=f"edit {path.name}; every key is explained there",
        ) from None


def set_source(path: Path, source: str) -> str:
    """Write `data.source` into *path*, comments kept; return what it was before.

    Raises ParamsError for a source whose name is no text, which YAML cannot hold.
    """
    try:
        source.encode()
    except UnicodeEncodeError:
        raise ParamsError(
            "the source's name is not UTF-8, so that params.yaml cannot hold it",
            ascii(source),
            mend="rename the folder",
        ) from None
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096  # a long path stays on its line
    document = yaml.load(path)
    before = str(document["data"]["source"])
    if before != source:
        document["data"]["source"] = source
        scratch = path.with_name(f".{path.name}.{os.getpid()}")
        yaml.dump(document, scratch)
        scratch.replace(path)
    return before


def _sections(path: Path) -> dict[str, Any]:
    document = _parse(path)
    if not isinstance(document, dict):
        raise ParamsError(
            "params.yaml holds no sections",
            f"it must have {', '.join(Params.model_fields)}",
            mend="git checkout -- params.yaml",
        )
    return document


def _parse(path: Path) -> Any:
    try:
        return YAML(typ="safe").load(path)
    except FileNotFoundError:
        raise ParamsError(
            "params.yaml is missing", f"looked for {path}", mend="git checkout -- params.yaml"
        ) from None
    except (YAMLError, ValueError) as error:
        if "\n<<<<<<< " in "\n" + path.read_text(errors="replace"):
            raise ParamsError(
                "params.yaml holds the marks of an unfinished merge",
                str(path),
                mend="settle the merge: git status names the files",
            ) from None
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else str(path)
        raise ParamsError(
            f"params.yaml is not YAML: {getattr(error, 'problem', None) or error}",
            where,
            mend="mend that line of params.yaml",
        ) from None


def _describe(fault: Any) -> str:
    key = ".".join(map(str, fault["loc"]))
    if fault["type"] == "extra_forbidden":
        return f"{key}: no such parameter"
    if fault["type"] == "missing":
        return f"{key}: missing"
    message = fault["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    return f"{key}: {message}, not {str(fault['input'])[:40]!r}"
