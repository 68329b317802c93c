"""Whether a challenger may serve."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    promoted: bool
    reason: str


def judge(challenger: dict[str, float], champion: dict[str, float] | None) -> Verdict:
    """Compare figures measured on the same test images: accuracy first, log loss among equals."""
    if champion is None:
        return Verdict(True, "there was no champion")
    ours, theirs = challenger["accuracy"], champion["accuracy"]
    if ours != theirs:
        word = "above" if ours > theirs else "below"
        return Verdict(ours > theirs, f"accuracy {ours:.4f}, {word} the champion's {theirs:.4f}")
    ours, theirs = challenger["log_loss"], champion["log_loss"]
    word = "below" if ours < theirs else "not below"
    return Verdict(
        ours < theirs, f"equal accuracy; log loss {ours:.4f}, {word} the champion's {theirs:.4f}"
    )
