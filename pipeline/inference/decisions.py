"""What a person decided about images of a batch: a file from elsewhere, believed in nothing.

Whoever wrote it names images; what is taken are those rows of the batch that have the same path
and content. What is audited follows from the batch alone, never from the file.
"""

from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from pipeline.data.folders import printable
from pipeline.data.reviewed import is_class_name
from pipeline.errors import ReviewError
from pipeline.inference.review import AUDIT, MOST, audit

FORMAT: Final = "darkroom decisions 1"
_MEND = "save the decisions anew from the review page; or export them as JSON from Label Studio"
_AHEAD = timedelta(days=1)
"""By which a clock may be wrong."""

Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
PathText = Annotated[str, StringConstraints(min_length=1, max_length=20_000)]


def _utc(time: datetime) -> datetime:
    try:
        return time.astimezone(UTC)
    except OverflowError:
        raise ValueError("no such time") from None


class Decision(BaseModel):
    """One image, as the page saves it."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    path: PathText
    sha256: Sha256
    because: Literal["audit", "least_certain", "strange"]
    predicted: Annotated[str, StringConstraints(max_length=20_000)] | None
    """None, as `decision`, where the person's tool did not know it."""
    decision: Literal["accept", "correct", "skip"] | None
    label: Annotated[str, StringConstraints(min_length=1, max_length=20_000)] | None
    """None for skip."""
    decided_at: Annotated[AwareDatetime, AfterValidator(_utc)]


class Decisions(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    format: Literal["darkroom decisions 1"]
    batch: Name
    model_name: Name
    model_version: int
    audit: int = Field(ge=0, le=MOST)
    """Images that were drawn for the audit."""
    items: list[Decision] = Field(max_length=MOST)


@dataclass(frozen=True)
class Decided:
    """An image of the batch on which somebody has decided."""

    row: Mapping[str, Any]
    label: str
    because: str
    decided_at: datetime


def read(data: bytes) -> Decisions:
    """Read a file of the page; raise ReviewError naming at most three faults."""
    try:
        return Decisions.model_validate_json(data.removeprefix(BOM_UTF8))
    except ValidationError as error:
        raise not_decisions(error) from None


def not_decisions(error: ValidationError) -> ReviewError:
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    return ReviewError(
        "the file does not hold decisions",
        *(_describe(fault) for fault in faults[:3]),
        mend=_MEND,
    )


def drawn(decisions: Decisions, rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return sha256 → predicted label of the audit that these decisions were made on.

    Raises ReviewError where the file calls other images audited: the accuracy would be biased.
    """
    sample = {row["sha256"]: row["label"] for row in audit(decisions.batch, rows, decisions.audit)}
    for item in decisions.items:
        if (item.because == AUDIT) != (item.sha256 in sample):
            raise _wrong(
                f"an image was shown as {item.because}, and the audit drew otherwise",
                shown(item.path),
            )
    return sample


def decided(
    decisions: Decisions, rows: Sequence[Mapping[str, Any]], classes: Sequence[str]
) -> list[Decided]:
    """Return the decisions with a label, each with the row that it is about; raise ReviewError
    where one does not fit the batch."""
    by_content = {(row["path"], row["sha256"]): row for row in rows if row["label"] is not None}
    twice = [k for k, n in Counter(item.sha256 for item in decisions.items).items() if n > 1]
    if twice:
        raise _wrong("an image is decided on twice", f"sha256 {twice[0]}")
    found = []
    for item in decisions.items:
        row = by_content.get((item.path, item.sha256))
        if row is None:
            raise _wrong("an image is not one of the batch's", shown(item.path), item.sha256)
        _refuse_contradiction(item, row["label"])
        if item.label is None:
            continue
        if item.label not in classes and not is_class_name(item.label):
            raise _wrong("a label is no name for a class", shown(item.label))
        found.append(Decided(row, item.label, item.because, item.decided_at))
    return found


def _refuse_contradiction(item: Decision, predicted: str) -> None:
    if item.predicted not in (None, predicted):
        raise _wrong(
            "an image has another prediction in the batch",
            shown(item.path),
            f"in the file: {shown(item.predicted or '')}; in the batch: {shown(predicted)}",
        )
    kind = "skip" if item.label is None else "accept" if item.label == predicted else "correct"
    if item.decision not in (None, kind):
        raise _wrong(
            f"a decision contradicts its label: it says {item.decision} and is {kind}",
            shown(item.path),
        )
    if item.decided_at > datetime.now(UTC) + _AHEAD:
        raise _wrong("a decision is dated in the future", shown(item.path), str(item.decided_at))


def _wrong(what: str, *where: str) -> ReviewError:
    return ReviewError(f"{what}: nothing of the file is taken", *where, mend=_MEND)


def _describe(fault: Any) -> str:
    place = ".".join(map(str, fault["loc"])) or "the file"
    message = str(fault["msg"]).replace("Input should be", "must be")
    return f"{shown(place)}: {shown(message)}"


def shown(text: str) -> str:
    return printable(text[:120])
