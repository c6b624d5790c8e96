"""How a network is trained."""

import math
import re
from dataclasses import dataclass, field
from typing import Literal

from pipeline.errors import SettingsError
from pipeline.segment.training.augment import Augmentation

Optimiser = Literal["sgd", "adam", "adamw"]
RateSchedule = Literal["cosine", "poly", "constant"]
Precision = Literal["float32", "mixed"]

OPTIMISERS: tuple[Optimiser, ...] = ("sgd", "adam", "adamw")
PRECISIONS: tuple[Precision, ...] = ("float32", "mixed")
RATE_SCHEDULES: tuple[RateSchedule, ...] = ("cosine", "poly", "constant")
#: A rate that suits each optimiser.
USUAL_RATE: dict[Optimiser, float] = {"sgd": 1e-2, "adam": 1e-3, "adamw": 2e-3}
_POLY_POWER = 0.9
_ROUND = re.compile(r"([a-z_0-9]+):(\d+)")


@dataclass(frozen=True)
class TrainingSettings:
    """Everything besides the plan and the data that the weights depend on.

    Attributes
    ----------
    iterations : int
        Steps of the optimiser; the schedule of the rate ends there.
    loss : str
        Key of `pipeline.segment.losses.LOSSES`.
    rounds : sequence of (str, int)
        Losses one after another, each for so many iterations; empty for `loss` throughout.
    repeat : int
        How often the rounds run; the last loss stays after them.
    optimiser : {"sgd", "adam", "adamw"}
    rate, weight_decay, momentum : float
        Momentum is Nesterov's, for SGD.
    schedule : {"cosine", "poly", "constant"}
        How the rate falls to 0; "poly" with the power 0.9.
    warmup : int
        Iterations in which the rate rises from 0 first.
    clip : float
        Largest norm of the gradient; 0 leaves it.
    ema : float
        Decay of the running mean of the weights that is validated and kept; 0 for none.
    precision : {"float32", "mixed"}
        Mixed: convolutions in 16 bits, float16 on CUDA and bfloat16 on the CPU.
    deep_supervision : bool
        The loss counts at coarser outputs too, where the network has them.
    foreground : float
        Share of a batch that is centred on foreground.
    augmentation : Augmentation or None
    validate_every : int
        Iterations between two validations; a checkpoint is written with each.
    validate_cases : int
        Cases of a validation at most, evenly chosen; 0 for all.
    patience : int
        Validations without a better one after which training stops; 0 for never.
    seed : int
    """

    iterations: int = 4000
    loss: str = "dice_ce"
    rounds: tuple[tuple[str, int], ...] = ()
    repeat: int = 1
    optimiser: Optimiser = "adamw"
    rate: float = 2e-3
    weight_decay: float = 1e-4
    momentum: float = 0.99
    schedule: RateSchedule = "cosine"
    warmup: int = 50
    clip: float = 12.0
    ema: float = 0.99
    precision: Precision = "float32"
    deep_supervision: bool = True
    foreground: float = 0.5
    augmentation: Augmentation | None = field(default_factory=Augmentation)
    validate_every: int = 200
    validate_cases: int = 20
    patience: int = 0
    seed: int = 20210322

    def __post_init__(self) -> None:
        for name in ("iterations", "repeat", "validate_every"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} {getattr(self, name)}: give 1 or more")
        if not 0 < self.rate < math.inf:
            raise SettingsError(f"rate {self.rate}: give a number above 0")
        for name, value in (("ema", self.ema), ("momentum", self.momentum)):
            if not 0 <= value < 1:
                raise SettingsError(f"{name} {value}: give a number from 0 to below 1")
        if not 0 <= self.foreground <= 1:
            raise SettingsError(f"foreground {self.foreground}: give a share from 0 to 1")
        for name, known in (
            ("optimiser", OPTIMISERS),
            ("schedule", RATE_SCHEDULES),
            ("precision", PRECISIONS),
        ):
            if getattr(self, name) not in known:
                raise SettingsError(
                    f"{name} {getattr(self, name)!r}: unknown; use one of {', '.join(known)}"
                )

    def rate_at(self, iteration: int) -> float:
        """Return the rate of an iteration, counted from 0."""
        warm = min(1.0, (iteration + 1) / (self.warmup + 1))
        return self.rate * warm * self._decay(iteration / self.iterations)

    def _decay(self, done: float) -> float:
        if self.schedule == "cosine":
            return 0.5 * (1.0 + math.cos(math.pi * done))
        return float((1.0 - done) ** _POLY_POWER) if self.schedule == "poly" else 1.0


def parse_rounds(text: str) -> tuple[tuple[str, int], ...]:
    """Return the rounds of a text such as ``dice:20000,focal:10000``.

    Raises
    ------
    SettingsError
        Another form, or a round of no iteration.
    """
    if not text:
        return ()
    found = [_ROUND.fullmatch(part.strip()) for part in text.split(",")]
    rounds = tuple((match.group(1), int(match.group(2))) for match in found if match)
    if len(rounds) < len(found) or min(count for _, count in rounds) < 1:
        raise SettingsError(
            f"--rounds {text}: give losses with their iterations, e.g. dice:20000,focal:10000"
        )
    return rounds
