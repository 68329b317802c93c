"""params.yaml as frozen, closed models: one class for each section, every knob explained."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    field_validator,
)
from pydantic_core import PydanticCustomError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.scalarstring import ScalarString

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
    """`auto` (by the median image size), `small_cnn`, `small_resnet18`, any torchvision classifier
    by name, or any timm model as `timm/NAME`."""
    image_size: Literal["auto"] | int
    """Side of the square that the network sees, 8 to 1024 pixels, or `auto`."""
    weights: str = Field(min_length=1)
    """What the backbone starts from: `none`, `default` or a name of the library's own pretrained
    weights, or a .safetensors file (relative paths start at home)."""
    weights_sha256: str = Field(pattern=r"^([0-9a-f]{64})?$")
    """Of that file, or of the registered model's; written by `darkroom weights use`."""
    freeze: Literal["none", "backbone"] | int
    """`backbone` trains the head alone; a number keeps the backbone still until that epoch."""
    hidden: int = Field(ge=0)
    """Width of one more layer in the head; 0 is none."""
    dropout: float = Field(ge=0, lt=1)
    """Share of the embedding that is dropped before the head, in training."""
    seed: int = Field(ge=0)
    """Starting weights, the order of the images, and their augmentation."""
    epochs: int = Field(ge=1)
    """Passes over the training images, at most."""
    keep: Literal["validation_accuracy", "validation_loss"]
    """The epoch that does best by this is kept."""
    patience: int = Field(ge=0)
    """Epochs without a better one after which training stops early; 0 is never."""
    batch_size: int = Field(ge=1)
    """Images a step."""
    accumulate: int = Field(ge=1)
    """Parts in which a batch goes through the network, where memory is short."""
    optimizer: Literal["sgd", "adamw"]
    """Gradient descent with momentum, or AdamW."""
    learning_rate: float = Field(gt=0)
    """Peak of the schedule."""
    backbone_rate: float = Field(ge=0, le=1)
    """Learning rate of the backbone as a share of the head's."""
    schedule: Literal["cosine", "one_cycle"]
    """Warm-up, then a cosine to zero; or Smith's one cycle."""
    warm_up: float = Field(ge=0, lt=1)
    """Share of all steps over which the learning rate rises."""
    momentum: float = Field(ge=0, lt=1)
    """Of SGD (Nesterov); beta 1 of AdamW."""
    clip: float = Field(ge=0)
    """Largest norm of the gradient; 0 is no limit."""
    weight_decay: float = Field(ge=0)
    """L2 penalty; none on biases and norms."""
    l1: float = Field(ge=0)
    """L1 penalty; none on biases and norms."""
    label_smoothing: float = Field(ge=0, lt=1)
    """Share of each label that is spread over all classes."""
    mixup: float = Field(ge=0)
    """Alpha of the Beta distribution by which images are mixed in pairs; 0 is never."""
    ema: float = Field(ge=0, lt=1)
    """Decay of the running mean of the weights that is validated and kept; 0 is none."""
    balance: Literal["none", "loss", "sampling"]
    """Against rare classes: weigh their loss, or draw them more often."""
    flip: Literal["auto"] | float
    """Share of images that are mirrored; `auto` is half, and none of images under
    32 pixels, which are mostly digits and letters."""
    rotation: float = Field(ge=0, le=180)
    """Largest turn either way, in degrees."""
    scale: float = Field(ge=0, le=1)
    """0.25: images are shown at 1 / 1.25 to 1.25 of their size."""
    shift: float = Field(ge=0, le=0.5)
    """Largest move either way, as a share of the side."""
    colour: float = Field(ge=0, lt=1)
    """0.2: brightness, contrast and saturation times 0.8 to 1.2."""
    trivial: bool
    """TrivialAugment: one random operation of random strength an image."""
    erasing: float = Field(ge=0, le=1)
    """Share of images of which a rectangle is greyed."""
    precision: Literal["auto", "fp32", "bf16"]
    """`auto` measures once what is faster on this machine, and remembers it."""
    compile: Literal["auto", "on", "off"]
    """torch.compile; `auto` where a compiler is found, and training is long enough to gain."""
    device: Literal["auto", "cpu", "cuda"]
    """`auto` takes the GPU where there is one."""
    processes: Literal["auto"] | int
    """Of distributed training; `auto` is one for each GPU, else one."""

    @property
    def starts_from_file(self) -> bool:
        return self.weights.endswith(".safetensors")

    @field_validator("image_size", mode="before")
    @classmethod
    def _auto_or_in_range(cls, value: object) -> object:
        is_size = type(value) is int and 8 <= value <= 1024
        if value != "auto" and not is_size:
            raise ValueError("must be auto or 8 to 1024")
        return value

    @field_validator("freeze", mode="before")
    @classmethod
    def _known_or_an_epoch(cls, value: object) -> object:
        if value not in ("none", "backbone") and not (type(value) is int and value >= 1):
            raise ValueError("must be none, backbone, or an epoch from 1")
        return value

    @field_validator("flip", mode="before")
    @classmethod
    def _auto_or_a_share(cls, value: object) -> object:
        is_share = isinstance(value, int | float) and not isinstance(value, bool)
        if value != "auto" and not (is_share and 0 <= float(str(value)) <= 1):
            raise ValueError("must be auto or 0 to 1")
        return value if value == "auto" else float(str(value))

    @field_validator("processes", mode="before")
    @classmethod
    def _auto_or_a_count(cls, value: object) -> object:
        if value != "auto" and not (type(value) is int and 1 <= value <= 64):
            raise ValueError("must be auto or 1 to 64")
        return value


class Range(Section):
    low: int | float
    high: int | float
    log: bool = False
    """Whether its logarithm is drawn evenly: 0.001 to 0.01 as often as 0.01 to 0.1."""


Choice = bool | int | float | str
Choices = Annotated[
    Annotated[list[Choice], Tag("choices")] | Annotated[Range, Tag("range")],
    Discriminator(lambda value: "choices" if isinstance(value, list) else "range"),
]


class TuneParams(Section):
    trials: int = Field(ge=1)
    """Trainings that a study is made of."""
    minutes: float = Field(ge=0)
    """After which no new trial is begun; 0 is no limit."""
    epochs: int = Field(ge=0)
    """Of each trial; 0 is train.epochs."""
    seed: int = Field(ge=0)
    """Of what is tried."""
    ranges: dict[str, Choices] = Field(min_length=1)
    """Name of a parameter of `train` → a list of choices, or low, high and, perhaps, log."""

    @field_validator("ranges")
    @classmethod
    def _can_be_tried(cls, value: dict[str, list[Choice] | Range]) -> dict[str, Any]:
        for name, choices in value.items():
            if fault := _fault_of(name, choices):
                raise PydanticCustomError("range", "{fault}", {"name": name, "fault": fault})
        return value


def is_whole(name: str) -> bool:
    """Whether the parameter *name* of `train` takes whole numbers only."""
    annotation = TrainParams.model_fields[name].annotation
    return float not in (annotation, *get_args(annotation))


def _fault_of(name: str, choices: list[Choice] | Range) -> str | None:
    if name not in TrainParams.model_fields:
        return "train has no such parameter"
    if name in ("epochs", "keep", "processes"):
        return "is the same for all trials of a study"
    if isinstance(choices, list):
        return _refused(name, choices) if choices else "has no choices"
    if not choices.low < choices.high:
        return f"low must be below high, not {choices.low} and {choices.high}"
    if choices.log and choices.low <= 0:
        return f"low must be above 0 where log is true, not {choices.low}"
    return _refused(name, [choices.low, choices.high])


def _refused(name: str, values: list[Choice]) -> str | None:
    """Return why `train` would not take one of *values* for *name*."""
    for value in values:
        try:
            TrainParams.model_validate({name: value})
        except ValidationError as error:
            for fault in error.errors():
                if fault["loc"][0] == name:
                    return f"{_message(fault)}, not {value!r}"
    return None


class ExportParams(Section):
    prune: float = Field(ge=0, le=0.95)
    """Share of the floating-point operations that is cut out, channel by channel; 0: none."""
    prune_epochs: int = Field(ge=0)
    """Epochs of training that a cut network gets to recover."""
    max_accuracy_loss: float = Field(ge=0, lt=1)
    """Share of the validation images that a variant may get wrong beyond the trained network; one
    image is always allowed."""
    max_log_loss: float = Field(ge=0)
    """Nats by which a variant's validation log loss may be higher than the trained network's."""
    parity_images: int = Field(ge=1)
    """Real images on which the exported model must agree with torch."""
    parity_tolerance: float = Field(gt=0, le=1e-2)
    """Largest difference in any probability on those images."""
    coverage: float = Field(gt=0, lt=1)
    """Share of images whose set of possible classes is to hold the right one."""
    in_distribution: float = Field(gt=0, lt=1)
    """Share of validation images that are near enough to the others not to be strange."""


class EvaluateParams(Section):
    batch_size: int = Field(ge=1)
    """Images decoded and classified at once."""
    slices: tuple[str, ...] = Field(strict=False)
    """Columns of the catalogue, by whose values the figures are shown besides."""


class ServingParams(Section):
    variant: Literal["auto", "fp32", "int8"]
    """Of the model's graphs, the one that answers; `auto` is the fastest on this machine."""
    providers: Literal["auto", "cpu"]
    """`auto` takes a GPU where ONNX Runtime's CUDA build finds one, and fp16 there."""


class AtLeast(Section):
    min: float = Field(ge=0, le=1)


class AtMost(Section):
    max: float = Field(ge=0)


class ChampionGate(Section):
    metric: Literal[
        "accuracy",
        "balanced_accuracy",
        "macro_f1",
        "weighted_f1",
        "log_loss",
        "roc_auc",
        "average_precision",
    ]
    """What the two are compared by, on the same test images."""
    alpha: float = Field(gt=0, lt=0.5)
    """Largest probability that any model of all that one test set judges is promoted as better
    by chance."""
    margin: float = Field(ge=0)
    """By which a challenger that is "not worse" may be worse, in the metric's own unit."""
    promote_if: Literal["not_worse", "better"]
    """At 0 margin only the better pass, and those that answer like the champion."""


class GateParams(Section):
    """What a model must show on the test images before it serves; a gate left out is not judged."""

    accuracy: AtLeast | None = None
    """Share of right answers."""
    worst_class_recall: AtLeast | None = None
    """Of each class's images at least this share must be called so."""
    calibration_error: AtMost | None = None
    """How far confidence and accuracy may differ, 0 to 1."""
    latency_p99_ms: AtMost | None = None
    """Milliseconds that one image in a hundred may exceed."""
    champion: ChampionGate
    """Against the model that serves now."""


class RegistryParams(Section):
    model_name: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")
    """Name in MLflow's registry; `auto` takes the source's name."""


class DriftParams(Section):
    alpha: float = Field(ge=0.01, le=0.5)
    """Largest share of batches like the validation images that alarm, over all features; the
    resampled p-values end at 0.0005, too coarse for less than 0.01."""


class InferenceParams(Section):
    inbox: str = Field(min_length=1)
    """Folder of new images; `auto` is data/inbox/<model name>. A relative path starts at home."""
    batch_size: int = Field(ge=1)
    """Images that are under way at once, from the file to the answer: memory grows with it."""
    settle_seconds: float = Field(ge=0, le=86400)
    """A folder is taken when nobody has written there for so long, or it holds a file _READY."""
    on_new_champion: Literal["keep", "reclassify"]
    """What becomes of images that an earlier version has answered."""
    max_refused: float = Field(ge=0, le=1)
    """Share of a batch's files that may be refused; with more, the run fails once they all have
    their rows."""
    after: Literal["keep", "archive"]
    """`archive` moves files that have their rows to data/archive/<model name>."""
    audit: int = Field(ge=0)
    """Images of each batch that are drawn at random for people to label; 0: none."""
    drift: DriftParams
    """How a batch is held against the images that the model was validated on."""


class Params(Section):
    data: DataParams
    split: SplitParams
    train: TrainParams
    tune: TuneParams
    export: ExportParams
    evaluate: EvaluateParams
    gate: GateParams
    registry: RegistryParams
    serving: ServingParams
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
    return str(set_values(path, {"data.source": source})["data.source"])


def set_values(path: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """Write *values* ("train.epochs": 20) into *path*, comments kept; return what was there."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096  # a long path stays on its line
    document = yaml.load(path)
    before = {}
    for key, value in values.items():
        section, name = key.split(".")
        old = document[section][name]
        before[key] = old
        if old != value:
            quoted = isinstance(old, ScalarString) and isinstance(value, str)
            document[section][name] = type(old)(value) if quoted else value
    if before != dict(values):
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
        problem = getattr(error, "problem", None) or error
        if mark and (glued := _glued(path, mark.line)):
            where, problem = glued, "a space must follow the colon of a key"
        raise ParamsError(
            f"params.yaml is not YAML: {problem}", where, mend="mend that line of params.yaml"
        ) from None


def _glued(path: Path, line: int) -> str | None:
    """Return where a key has no space after its colon, which YAML notices a line, the *line*, from
    0, too late."""
    lines = path.read_text(errors="replace").splitlines()
    if 0 < line <= len(lines) and re.match(r"\s*\w+:[^\s:]", lines[line - 1]):
        return f"line {line}: {lines[line - 1].strip()[:60]}"
    return None


def _describe(fault: Any) -> str:
    key = ".".join(map(str, fault["loc"]))
    if fault["type"] == "extra_forbidden":
        return f"{key}: no such parameter"
    if fault["type"] == "missing":
        return f"{key}: missing"
    if fault["type"] == "range":
        return f"{key}.{fault['ctx']['name']}: {fault['msg']}"
    bound = {"AtLeast": "min", "AtMost": "max"}.get(fault.get("ctx", {}).get("class_name"))
    if bound and isinstance(fault["input"], int | float):
        return f"{key}: write {{{bound}: {fault['input']}}}, not {fault['input']} alone"
    return f"{key}: {_message(fault)}, not {str(fault['input'])[:40]!r}"


def _message(fault: Any) -> str:
    return str(fault["msg"]).removeprefix("Value error, ").replace("Input should be", "must be")
