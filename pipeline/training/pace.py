"""How fast a training goes: one definition, for the terminal and for MLflow."""

from dataclasses import dataclass

from pipeline.training.loop import Step


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
