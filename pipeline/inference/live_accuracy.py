"""What the audits of a batch say of the model's accuracy on live images.

Several files of decisions may be applied to a batch, in any order and more than once; what they
say of images that were drawn blindly adds up in a file beside its rows.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from pipeline.data.tables import scratch_beside
from pipeline.inference.decisions import Decided
from pipeline.inference.review import AUDIT
from pipeline.metrics import accuracy_interval

LIVE = "_live_accuracy.json"
"""In a batch's folder."""


@dataclass(frozen=True)
class LiveAccuracy:
    """Of the images that were drawn blindly; those nobody decided on are no evidence."""

    right: int
    judged: int
    drawn: int

    @property
    def undecided(self) -> int:
        return self.drawn - self.judged

    @property
    def accuracy(self) -> float:
        return self.right / self.judged

    @property
    def interval(self) -> tuple[float, float]:
        """95%, Wilson's."""
        return accuracy_interval(self.accuracy, self.judged)

    def figures(self) -> dict[str, float]:
        """By name, for a series over batches; none where nobody has decided."""
        if not self.judged:
            return {}
        low, high = self.interval
        return {
            "live_accuracy": self.accuracy,
            "live_accuracy_low": low,
            "live_accuracy_high": high,
            "live_accuracy_images": float(self.judged),
        }


class Judgement(BaseModel):
    """What the model said of an image, and what a person did who had not been told."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    predicted: str
    label: str
    decided_at: AwareDatetime


class Audit(BaseModel):
    """All that was decided on the blindly drawn images of one batch."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    drawn: int
    """The largest sample: smaller ones lie within it."""
    changed_at: AwareDatetime
    """When a decision was last added."""
    judged: dict[str, Judgement]
    """By sha256."""

    @property
    def live(self) -> LiveAccuracy:
        right = sum(each.label == each.predicted for each in self.judged.values())
        return LiveAccuracy(right, len(self.judged), self.drawn)


def add(before: Audit | None, drawn: Mapping[str, str], decided: Iterable[Decided]) -> Audit:
    """Return *before* with what was *decided* on the images *drawn* (sha256 → predicted label);
    of two decisions on one image the later counts. A skip takes nothing back."""
    judged = dict(before.judged) if before else {}
    for each in decided:
        sha256 = each.row["sha256"]
        if each.because != AUDIT or sha256 not in drawn:
            continue
        if sha256 not in judged or each.decided_at > judged[sha256].decided_at:
            judged[sha256] = Judgement(
                predicted=drawn[sha256], label=each.label, decided_at=each.decided_at
            )
    count = max(len(drawn), before.drawn if before else 0)
    if before and (before.drawn, before.judged) == (count, judged):
        return before
    return Audit(drawn=count, changed_at=datetime.now(UTC), judged=judged)


def read_audit(batch: Path) -> Audit | None:
    """Return what was decided on a published batch; None where nobody has, or the file is
    damaged: then the files of decisions are applied again."""
    try:
        return Audit.model_validate_json((batch / LIVE).read_bytes())
    except (OSError, ValidationError):
        return None


def write_audit(batch: Path, audit: Audit) -> None:
    scratch = scratch_beside(batch / LIVE)
    scratch.write_text(audit.model_dump_json(indent=1), encoding="utf-8")
    scratch.replace(batch / LIVE)


def describe(live: LiveAccuracy) -> Iterator[str]:
    """Say it in plain lines, with what was left out: the hard ones are skipped most easily."""
    if not live.judged:
        yield f"audit: none of {live.drawn} images decided; it says nothing of live accuracy"
        return
    low, high = live.interval
    yield (
        f"audit: {live.right} of {live.judged} right, "
        f"{live.accuracy:.2f} [{low:.2f}, {high:.2f}] (95% interval)"
    )
    if live.undecided:
        yield (
            f"audit: {live.undecided} of {live.drawn} skipped or open: a bias, if those are the "
            f"hard ones; with all of them wrong it is {live.right / live.drawn:.2f}"
        )
