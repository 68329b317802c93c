"""The same review in Label Studio: tasks for it, and the decisions out of its JSON export.

A task of the audit brings no prediction, as on the page. What comes back is believed as little as
the page's own file.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal
from xml.sax.saxutils import quoteattr

from pydantic import (
    AwareDatetime,
    BaseModel,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)

from pipeline.data.thumbnails import Thumbnail
from pipeline.errors import ReviewError
from pipeline.inference.decisions import (
    FORMAT,
    Decision,
    Decisions,
    Name,
    PathText,
    Sha256,
    not_decisions,
)
from pipeline.inference.review import AUDIT, MOST, Item
from pipeline.inference.review_page import Review

_FROM, _TO = "label", "image"
_MOST_TASKS = 10_000
"""A project may hold others' tasks, or the same ones imported twice."""


class _Value(BaseModel):
    choices: list[Annotated[str, StringConstraints(min_length=1, max_length=20_000)]] = []


class _Result(BaseModel):
    type: str
    value: _Value


class _Annotation(BaseModel):
    result: list[_Result] = Field(max_length=100)
    was_cancelled: bool = False
    created_at: AwareDatetime
    updated_at: AwareDatetime | None = None

    @property
    def at(self) -> datetime:
        return self.updated_at or self.created_at

    @property
    def label(self) -> str | None:
        chosen = [c for each in self.result if each.type == "choices" for c in each.value.choices]
        return chosen[0] if len(chosen) == 1 and not self.was_cancelled else None


class _Data(BaseModel):
    batch: Name
    model_name: Name
    model_version: int
    audit: int = Field(ge=0, le=MOST)
    path: PathText
    sha256: Sha256
    because: Literal["audit", "least_certain", "strange"]


class _Task(BaseModel):
    data: _Data
    annotations: list[_Annotation] = Field(max_length=100)


_EXPORT = TypeAdapter(Annotated[list[_Task], Field(min_length=1, max_length=_MOST_TASKS)])


def config(classes: tuple[str, ...]) -> str:
    """Return the labelling interface that the tasks want."""
    choices = "\n".join(f"    <Choice value={quoteattr(name)}/>" for name in classes)
    return (
        f'<View>\n  <Image name="{_TO}" value="$image"/>\n'
        f'  <Choices name="{_FROM}" toName="{_TO}" choice="single">\n{choices}\n  </Choices>\n'
        "</View>\n"
    )


def tasks(review: Review, pictures: Mapping[str, Thumbnail]) -> list[dict[str, Any]]:
    """Return one task an image, its picture in it; *pictures*: sha256 → thumbnail."""
    return [_task(review, item, pictures[item.sha256]) for item in review.items]


def is_export(data: bytes) -> bool:
    """Whether *data* is a list, as Label Studio writes it, and no file of the page."""
    return data[:100].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")


def read(data: bytes) -> Decisions:
    """Return the decisions of a JSON export, the latest on each image; raise ReviewError."""
    try:
        found = _EXPORT.validate_json(data)
    except ValidationError as error:
        raise not_decisions(error) from None
    first = found[0].data
    batches = {(t.data.batch, t.data.model_name, t.data.model_version, t.data.audit) for t in found}
    if len(batches) > 1:
        raise ReviewError(
            "the export holds tasks of more than one batch, or of two pages of one",
            *(f"batch {name}, audit of {audit}" for name, _, _, audit in sorted(batches)[:3]),
            mend="export them one by one: a project in Label Studio for each",
        )
    made = sorted(((a.at, t.data, a.label) for t in found for a in t.annotations), key=_age)
    latest = {data.sha256: _decision(at, data, label) for at, data, label in made}
    if len(latest) > MOST:
        raise ReviewError(
            f"the export decides on {len(latest)} images; a review has at most {MOST}",
            mend="export the tasks of one review alone",
        )
    return Decisions(
        format=FORMAT,
        batch=first.batch,
        model_name=first.model_name,
        model_version=first.model_version,
        audit=first.audit,
        items=list(latest.values()),
    )


def _age(made: tuple[datetime, _Data, str | None]) -> tuple[datetime, str]:
    return made[0], made[2] or ""


def _decision(at: datetime, data: _Data, label: str | None) -> Decision:
    return Decision(
        path=data.path,
        sha256=data.sha256,
        because=data.because,
        predicted=None,
        decision=None,
        label=label,
        decided_at=at,
    )


def _task(review: Review, item: Item, picture: Thumbnail) -> dict[str, Any]:
    data = {
        "image": picture.uri,
        "batch": review.batch,
        "model_name": review.model_name,
        "model_version": review.model_version,
        "audit": review.audit,
        "path": item.path,
        "sha256": item.sha256,
        "because": item.because,
    }
    if item.because == AUDIT:
        return {"data": data}
    said = {
        "from_name": _FROM,
        "to_name": _TO,
        "type": "choices",
        "value": {"choices": [item.label]},
    }
    model = f"{review.model_name} version {review.model_version}"
    prediction = {"model_version": model, "score": item.confidence, "result": [said]}
    return {"data": data, "predictions": [prediction]}
