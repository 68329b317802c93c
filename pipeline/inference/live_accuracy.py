"""What the audit of a batch says of the model's accuracy on live images."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pipeline.metrics import accuracy_interval


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


def measure(drawn: Mapping[str, str], decided: Mapping[str, str]) -> LiveAccuracy:
    """*drawn*: sha256 → predicted label, of the audit; *decided*: sha256 → a person's label."""
    judged = [sha256 for sha256 in drawn if sha256 in decided]
    right = sum(decided[sha256] == drawn[sha256] for sha256 in judged)
    return LiveAccuracy(right, len(judged), len(drawn))


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
