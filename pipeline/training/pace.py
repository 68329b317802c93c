"""How fast a training goes, and how long it will: one definition, for the terminal and MLflow."""

from dataclasses import dataclass

from pipeline.training.loop import Step

_SURE_SECONDS = 10.0
"""Of steps, after which the rest can be estimated."""
_LONG_SECONDS = 600.0
_SHORT_SECONDS = 60.0
"""Nobody needs to be told of less."""


@dataclass
class Pace:
    """How fast images go through the network, validation apart."""

    images: int = 0
    seconds: float = 0.0
    before: Step | None = None
    at: float = 0.0

    def see(self, step: Step, now: float) -> None:
        """The first step of an epoch has waited for the validation of the one before."""
        if self.before is not None and self.before.epoch == step.epoch:
            self.images += step.images - self.before.images
            self.seconds += now - self.at
        self.before, self.at = step, now

    @property
    def images_per_second(self) -> float:
        return self.images / self.seconds if self.seconds else 0.0

    def estimate(self, epochs: int, device: str) -> str | None:
        """Return how long the rest of *epochs* will take, and what is shorter, in a line; None
        while that cannot be told, or is not worth it."""
        if self.before is None or self.seconds < _SURE_SECONDS:
            return None
        epoch = self.before.images / self.before.number * self.before.of
        left = (epochs - self.before.epoch + 1) * epoch - self.before.images
        seconds = left / self.images_per_second
        if seconds < _SHORT_SECONDS:
            return None
        line = f"about {duration(seconds)} for the {epochs} epochs, validation apart"
        if device == "cpu" and seconds > _LONG_SECONDS:
            line += (
                "; on a processor, train.model: small_cnn or a smaller train.image_size "
                "in params.yaml takes a fraction of that"
            )
        return line


def duration(seconds: float) -> str:
    """Return *seconds* in words: 45 s, 23 min 10 s, 4 h 12 min."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
