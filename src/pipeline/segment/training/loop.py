"""The training loop: steps, validations, the best weights, and a state that can be resumed.

Whatever is random in an iteration comes from the seed and the number of the iteration. A run that
goes on from a checkpoint therefore draws what an uninterrupted one would have drawn.
"""

import copy
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from pipeline.errors import ConvergenceError
from pipeline.segment.losses import Schedule, deep
from pipeline.segment.networks import Network, build
from pipeline.segment.plan import Plan
from pipeline.segment.training.augment import make_batch
from pipeline.segment.training.cache import Prepared
from pipeline.segment.training.sampling import draw_patches
from pipeline.segment.training.settings import TrainingSettings
from pipeline.segment.training.validate import dice_per_class, predict_classes

_LOG = logging.getLogger(__name__)

#: How the reason begins that a longer time lifts.
_TIME = "time"
#: Seconds between two lines of progress.
_TELL_S = 20.0
#: Batches that are made ahead for a GPU.
_AHEAD = 3

Batch = tuple[torch.Tensor, torch.Tensor]
Weights = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Record:
    """What a validation found.

    Attributes
    ----------
    iteration : int
        Steps taken before it.
    loss_name : str
        The loss of the last step.
    loss : float
        Mean over the steps since the last validation.
    rate : float
        Of the last step.
    seconds : float
        Training time so far.
    dice : tuple of float
        Mean over cases of each foreground class; empty without validation cases.
    """

    iteration: int
    loss_name: str
    loss: float
    rate: float
    seconds: float
    dice: tuple[float, ...]

    @property
    def score(self) -> float:
        """Mean Dice over the foreground classes that occur; NaN without any."""
        known = [value for value in self.dice if not math.isnan(value)]
        return sum(known) / len(known) if known else math.nan


@dataclass
class State:
    """Where training stands, apart from network and optimiser.

    Attributes
    ----------
    iteration : int
        Steps taken.
    seconds : float
        Training time of all runs.
    history : list of Record
    best, best_iteration, best_score
        Weights of the best validation; None before the first.
    stopped : str
        Why training ended; empty while it may go on.
    """

    iteration: int = 0
    seconds: float = 0.0
    history: list[Record] = field(default_factory=list)
    best: Weights | None = None
    best_iteration: int = 0
    best_score: float = -math.inf
    stopped: str = ""


class Trainer:
    """A network in training.

    Parameters
    ----------
    plan : Plan
    settings : TrainingSettings
    schedule : Schedule
        The loss of each iteration.
    device : torch.device
    """

    def __init__(
        self,
        plan: Plan,
        settings: TrainingSettings,
        schedule: Schedule,
        device: torch.device,
    ) -> None:
        self.plan, self.settings, self.schedule = plan, settings, schedule
        self.device = device
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            network = build(plan.network, channels=1, classes=plan.classes, options=plan.options)
        self.network: Network = network.to(device)
        self.average: Network | None = copy.deepcopy(self.network) if settings.ema else None
        self.optimiser = make_optimiser(self.network, settings)
        self._mixed = settings.precision == "mixed"
        self.scaler = torch.amp.GradScaler(
            device.type, enabled=self._mixed and device.type == "cuda"
        )
        self.state = State()

    def run(
        self,
        cases: Sequence[Prepared],
        validation: Sequence[Prepared],
        on_validation: Callable[[State], None],
        *,
        max_seconds: float = math.inf,
    ) -> State:
        """Train until the iterations, the patience or the time is used up.

        Parameters
        ----------
        cases, validation : sequences of Prepared
            Cases to learn from, and to validate on (may be empty).
        on_validation : callable
            Called after each validation, when the state can be stored and resumed.
        max_seconds : float
            Training time of all runs together.

        Returns
        -------
        State
            `stopped` says why.

        Raises
        ------
        ConvergenceError
            When the loss is no number any more.
        """
        state, settings = self.state, self.settings
        if self.can_go_on(max_seconds):
            state.stopped = ""
        before, start = state.seconds, time.monotonic()
        teller = _Teller(settings.iterations, state.iteration)
        losses: list[torch.Tensor] = []
        last_name = ""
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            for image, target in self._batches(cases):
                if state.stopped:
                    break
                name, loss = self._step(image, target)
                if name != last_name:  # losses of two kinds have no common mean
                    losses.clear()
                last_name = name
                losses.append(loss)
                state.iteration += 1
                state.seconds = before + time.monotonic() - start
                state.stopped = self._why_stop(max_seconds)
                if teller.is_due():
                    rate = settings.rate_at(state.iteration - 1)
                    teller.tell(state.iteration, name, _mean(losses), rate)
                if state.stopped or state.iteration % settings.validate_every == 0:
                    self._validate(validation, name, _mean(losses))
                    losses.clear()
                    state.seconds = before + time.monotonic() - start
                    state.stopped = state.stopped or self._why_patience()
                    on_validation(state)
        return state

    def can_go_on(self, max_seconds: float) -> bool:
        """Tell whether iterations are left, the time allowed."""
        state = self.state
        return not state.stopped or (
            state.stopped.startswith(_TIME) and state.seconds < max_seconds
        )

    def weights(self) -> Weights:
        """Return the weights to keep: of the best validation, else the last ones."""
        if self.state.best is not None:
            return self.state.best
        return _copied((self.average or self.network).state_dict())

    def evaluated(self) -> Network:
        """Return a network with `weights`, ready to be used."""
        network = copy.deepcopy(self.network)
        network.load_state_dict(self.weights())
        network.eval()
        return network

    def _batches(self, cases: Sequence[Prepared]) -> Iterator[Batch]:
        """Yield the batch of each iteration that is left; for a GPU some are made ahead."""
        left = range(self.state.iteration, self.settings.iterations)
        if self.device.type != "cuda":
            yield from (self._batch(cases, number) for number in left)
            return
        with ThreadPoolExecutor(_AHEAD) as pool:
            made = [pool.submit(self._batch, cases, number) for number in left[:_AHEAD]]
            for number in left:
                if number + _AHEAD < left.stop:
                    made.append(pool.submit(self._batch, cases, number + _AHEAD))
                yield made.pop(0).result()

    def _batch(self, cases: Sequence[Prepared], iteration: int) -> Batch:
        rng = np.random.default_rng([self.settings.seed, iteration])
        generator = torch.Generator()
        generator.manual_seed(int(rng.integers(2**62)))
        draws = draw_patches(
            cases,
            self.plan.patch,
            batch=self.plan.batch,
            foreground=self.settings.foreground,
            rng=rng,
        )
        augmentation = self.settings.augmentation
        return make_batch(cases, draws, self.plan, augmentation, generator, self.device)

    def _step(self, image: torch.Tensor, target: torch.Tensor) -> tuple[str, torch.Tensor]:
        """Take one step of the optimiser; return the loss's name and value."""
        settings, number = self.settings, self.state.iteration
        torch.manual_seed(settings.seed + 1 + number)  # drop-out; the caller forked the generator
        for group in self.optimiser.param_groups:
            group["lr"] = settings.rate_at(number)
        name, loss_of = self.schedule.at(number)
        self.network.train()
        self.optimiser.zero_grad(set_to_none=True)
        half = torch.float16 if self.device.type == "cuda" else torch.bfloat16
        with torch.autocast(self.device.type, dtype=half, enabled=self._mixed):
            if settings.deep_supervision:
                outputs = self.network.forward_all(image)
            else:
                outputs = [self.network(image)]
        loss = deep(loss_of, [output.float() for output in outputs], target)
        self.scaler.scale(loss).backward()
        if settings.clip:
            self.scaler.unscale_(self.optimiser)
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), settings.clip)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        if self.average is not None:
            update_average(self.average, self.network, settings.ema, number)
        return name, loss.detach()

    def _validate(self, cases: Sequence[Prepared], loss_name: str, loss: float) -> None:
        """Add a record to the history and keep the weights if they are the best so far."""
        state = self.state
        if not math.isfinite(loss):
            raise ConvergenceError(
                f"the loss is {loss} before iteration {state.iteration}: training ran away; lower "
                "--rate or choose another --loss, with another --out"
            )
        dice: tuple[float, ...] = ()
        used = self.average or self.network
        if cases:
            scores = self.dice(used, _thinned(cases, self.settings.validate_cases))
            dice = tuple(_column_means(scores))
        rate = self.settings.rate_at(state.iteration - 1)
        record = Record(state.iteration, loss_name, loss, rate, state.seconds, dice)
        state.history.append(record)
        if cases and not record.score <= state.best_score:
            state.best = _copied(used.state_dict())
            state.best_iteration, state.best_score = state.iteration, record.score
        told = " ".join(f"{n} {d:.3f}" for n, d in zip(self.plan.labels, dice, strict=False))
        _LOG.info("iteration %d: loss %.4f; Dice %s", state.iteration, loss, told or "not measured")

    def dice(self, network: Network, cases: Sequence[Prepared]) -> list[tuple[float, ...]]:
        """Return the Dice of each case and foreground class on the network's grid."""
        network.eval()
        found = []
        for case in cases:
            classes = predict_classes(network, case.image, self.plan, self.device)
            found.append(dice_per_class(classes, case.classes, self.plan.classes))
        return found

    def _why_stop(self, max_seconds: float) -> str:
        state = self.state
        if state.iteration >= self.settings.iterations:
            return f"all {state.iteration} iterations done"
        if state.seconds >= max_seconds:
            return (
                f"{_TIME} used up after {state.iteration} of {self.settings.iterations} iterations,"
                f" at a rate of {self.settings.rate_at(state.iteration):.2g}"
            )
        return ""

    def _why_patience(self) -> str:
        state, patience = self.state, self.settings.patience
        if not patience or state.best is None:
            return ""
        since = sum(record.iteration > state.best_iteration for record in state.history)
        return f"no better validation in the last {since}" if since >= patience else ""


def make_optimiser(network: torch.nn.Module, settings: TrainingSettings) -> Any:
    """Return the optimiser of what can be trained in the network."""
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    rate, decay = settings.rate, settings.weight_decay
    if settings.optimiser == "sgd":
        momentum = settings.momentum
        return torch.optim.SGD(
            weights, rate, momentum=momentum, weight_decay=decay, nesterov=momentum > 0
        )
    kind = torch.optim.Adam if settings.optimiser == "adam" else torch.optim.AdamW
    return kind(weights, rate, weight_decay=decay)


def update_average(
    average: torch.nn.Module, network: torch.nn.Module, decay: float, iteration: int
) -> None:
    """Move the running mean of the weights one step on; early on it follows more closely."""
    share = 1.0 - min(decay, (1.0 + iteration) / (10.0 + iteration))
    current = network.state_dict()
    with torch.no_grad():
        for name, value in average.state_dict().items():
            if value.is_floating_point():
                value.lerp_(current[name], share)
            else:
                value.copy_(current[name])


class _Teller:
    """Lines of progress, at most one in so many seconds."""

    def __init__(self, total: int, done: int) -> None:
        self._total, self._first, self._last = total, done, done
        self._start = self._told = time.monotonic()

    def is_due(self) -> bool:
        return time.monotonic() - self._told >= _TELL_S

    def tell(self, done: int, name: str, loss: float, rate: float) -> None:
        now = time.monotonic()
        each = (now - self._told) / max(done - self._last, 1)
        left = (now - self._start) / max(done - self._first, 1) * (self._total - done)
        _LOG.info(
            "iteration %d of %d: %s %.4f, rate %.2g, %.3g s each, %s left",
            done, self._total, name, loss, rate, each, _clock(left),
        )  # fmt: skip
        self._told, self._last = now, done


def _clock(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"


def _mean(losses: Sequence[torch.Tensor]) -> float:
    return float(torch.stack(list(losses)).mean()) if losses else math.nan


def _column_means(scores: Sequence[tuple[float, ...]]) -> list[float]:
    """Return the mean of each column over its numbers; NaN where there is none."""
    columns = zip(*scores, strict=True)
    known = [[value for value in column if not math.isnan(value)] for column in columns]
    return [sum(values) / len(values) if values else math.nan for values in known]


def _thinned(cases: Sequence[Prepared], most: int) -> Sequence[Prepared]:
    """Return at most so many cases, evenly chosen."""
    if not most or len(cases) <= most:
        return cases
    return [cases[round(i * (len(cases) - 1) / max(most - 1, 1))] for i in range(most)]


def _copied(weights: Mapping[str, torch.Tensor]) -> Weights:
    return {name: value.detach().cpu().clone() for name, value in weights.items()}
