"""Trained networks on an image: probabilities in slabs, classes on the image's own grid."""

import contextlib
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pipeline.errors import SettingsError
from pipeline.preprocess.kernels import AxisWeights
from pipeline.preprocess.orientation import canonical_move, move_grid, restore
from pipeline.segment.label_rules import LabelRules, apply_rules
from pipeline.segment.network_grid import Steps, axis_weights, linear_weights, prepare
from pipeline.segment.plan import Shape
from pipeline.segment.trained import Model
from pipeline.segment.window import Members, Slab, slab_axis, slabs, winner
from pipeline.types import Array3D, Geometry, Volume

#: A volume of up to so many patches goes through at once: eight windows for a few voxels more than
#: a patch would cost eight times as much.
_WHOLE = 2.0

#: Values held at once while a slab is brought onto the image's grid (64 MiB).
_CHUNK = 1 << 24


@dataclass(frozen=True)
class PredictSettings:
    """How networks are applied.

    Attributes
    ----------
    device : str
        "cpu", "cuda", "cuda:1" ...
    overlap : float
        Part of a window that the next one covers again.
    mirror : bool
        Average over the image mirrored along every set of axes that the models' cards allow
        ("mirror_axes"; all, where a card is silent).
    uncertainty : bool
        Also make maps of entropy and, with several members, of their spread.
    mixed_precision : bool
        16-bit arithmetic on CUDA; the CPU always computes in float32.
    rules : LabelRules
        Pieces and holes.
    """

    device: str = "cpu"
    overlap: float = 0.5
    mirror: bool = False
    uncertainty: bool = False
    mixed_precision: bool = True
    rules: LabelRules = field(default_factory=LabelRules)


@dataclass(frozen=True, eq=False)
class Prediction:
    """What networks make of an image.

    Attributes
    ----------
    labels : Volume
        Values of the plan's labels, on the image's own grid.
    volume_mm3 : mapping
        Volume of each label after the rules.
    volume_cv : mapping
        Standard deviation over mean of the volume that each member gives a label (before the
        rules): members are the models, or the mirrors of a single model. Empty for one member;
        NaN where no member finds the label.
    entropy : Volume or None
        Entropy of the mean probabilities in nats: 0 to log(classes).
    spread : Volume or None
        Standard deviation over members of the probability of the class that won.
    warnings : texts
        What a reader of the result must know.
    device : str
        Where it was computed in the end.
    patch : three ints
        The window that was used.
    """

    labels: Volume
    volume_mm3: dict[str, float]
    volume_cv: dict[str, float]
    entropy: Volume | None
    spread: Volume | None
    warnings: tuple[str, ...]
    device: str
    patch: Shape


def predict(
    image: Volume, models: Sequence[Model], settings: PredictSettings | None = None
) -> Prediction:
    """Segment an image by one network or the mean of several.

    Parameters
    ----------
    image : Volume
        In any orientation and spacing.
    models : sequence of Model
        One, or an ensemble with the same labels, spacing and intensities. Their probabilities
        are averaged in this order.
    settings : PredictSettings, optional
        How.

    Returns
    -------
    Prediction
        Same inputs and threads, same bytes on the CPU.

    Raises
    ------
    SettingsError
        No model, models that do not fit together, a setting without meaning.
    ImageError
        The image is not finite or constant.
    """
    settings = settings or PredictSettings()
    _check(models)
    plan = models[0].plan
    prepared = prepare(image, plan)
    run = _Run(models, _flips(models, settings), settings)
    canonical, patch, device, warnings = _with_less_memory(run, prepared, image.grid)
    values = np.array(plan.values, dtype=np.uint8 if max(plan.values) < 256 else np.uint16)
    labels = _own(values[canonical.classes], image.grid)
    labels = Volume(
        apply_rules(labels.data, image.grid.voxel_volume_mm3, settings.rules), image.grid
    )
    volumes = {
        name: float(np.count_nonzero(labels.data == value)) * image.grid.voxel_volume_mm3
        for name, value in plan.labels.items()
    }
    absent = [name for name, volume in volumes.items() if not volume]
    if absent:
        warnings.append(f"no voxel of {', '.join(absent)} was found")
    return Prediction(
        labels=labels,
        volume_mm3=volumes,
        volume_cv=_variation(canonical.votes, tuple(plan.labels)),
        entropy=None if canonical.entropy is None else _own(canonical.entropy, image.grid),
        spread=None if canonical.spread is None else _own(canonical.spread, image.grid),
        warnings=tuple(warnings),
        device=device,
        patch=patch,
    )


@dataclass(frozen=True, eq=False)
class _Canonical:
    """Maps on the image's grid with its axes nearest to L, P, S; votes (members, classes)."""

    classes: npt.NDArray[np.uint8]
    entropy: Array3D | None
    spread: Array3D | None
    votes: npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Run:
    """Models, mirrors and settings: all that does not change when memory runs out."""

    models: Sequence[Model]
    flips: Sequence[tuple[int, ...]]
    settings: PredictSettings

    @property
    def passes(self) -> list[int]:
        """How often each member answers; mirrors are the members of a single model."""
        if len(self.models) > 1:
            return [len(self.flips)] * len(self.models)
        return [1] * len(self.flips)

    def members(self, device: torch.device) -> Members:
        """Return what gives each member's probabilities of a window."""
        flat = self.models[0].plan.dimensions == 2
        mixed = self.settings.mixed_precision and device.type == "cuda"

        def answer(window: torch.Tensor) -> Iterator[tuple[int, torch.Tensor]]:
            for number, model in enumerate(self.models):
                for turn, flip in enumerate(self.flips):
                    seen = window.flip(flip) if flip else window
                    logits = _logits(model, seen, flat=flat, mixed=mixed)
                    found = torch.softmax(logits.float(), dim=1)
                    back = found.flip(flip) if flip else found
                    yield number if len(self.models) > 1 else turn, back[0]

        return answer


def _logits(model: Model, window: torch.Tensor, *, flat: bool, mixed: bool) -> torch.Tensor:
    with _half() if mixed else contextlib.nullcontext():
        if flat:
            return torch.as_tensor(model.network(window[..., 0]))[..., None]
        return torch.as_tensor(model.network(window))


def _half() -> Any:
    good = torch.cuda.is_bf16_supported()
    return torch.autocast("cuda", dtype=torch.bfloat16 if good else torch.float16)


def _check(models: Sequence[Model]) -> None:
    if not models:
        raise SettingsError("no model given; see `medpipe models`")
    first = models[0]
    for model in models[1:]:
        for what in ("labels", "spacing_mm", "intensity", "dimensions"):
            one, other = getattr(first.plan, what), getattr(model.plan, what)
            if one != other:
                raise SettingsError(
                    f"models {first.name} and {model.name} form no ensemble: {what} {one} and "
                    f"{other} differ; run them one by one"
                )


def _flips(models: Sequence[Model], settings: PredictSettings) -> list[tuple[int, ...]]:
    """Return the sets of tensor axes (of N, C, I, J, K) to mirror along, none first."""
    if not settings.mirror:
        return [()]
    allowed = set(range(models[0].plan.dimensions))
    for model in models:
        allowed &= {int(axis) for axis in model.card.get("mirror_axes", allowed)}
    axes = [axis + 2 for axis in sorted(allowed)]
    return [
        chosen for count in range(len(axes) + 1) for chosen in itertools.combinations(axes, count)
    ]


def _with_less_memory(
    run: _Run, prepared: Volume, image: Geometry
) -> tuple[_Canonical, Shape, str, list[str]]:
    """Try the whole window, then half of it, then the CPU; say what was done."""
    divisor = _divisor(run.models)
    flat = run.models[0].plan.dimensions == 2
    whole = _window(run.models, prepared.grid.shape)
    half = _fitting(np.ceil(np.array(whole) / 2), divisor, flat)
    wanted = run.settings.device
    tries = [(wanted, whole)]
    if torch.device(wanted).type == "cuda":
        tries += [(wanted, half)] * (half != whole) + [("cpu", whole)]
    warnings: list[str] = []
    for (device, patch), following in zip(tries, [*tries[1:], None], strict=True):
        try:
            return _canonical(run, prepared, image, patch, device), patch, device, warnings
        except torch.cuda.OutOfMemoryError:
            if following is None:
                raise
            what = "on the CPU" if following[0] == "cpu" else f"with windows of {following[1]}"
            warnings.append(f"{device}: out of memory with windows of {patch}; tried again {what}")
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    raise AssertionError("unreachable: the last try returns or raises")


def _window(models: Sequence[Model], shape: Shape) -> Shape:
    """Return the largest patch of the models; all of a volume that is little larger than it."""
    divisor, flat = _divisor(models), models[0].plan.dimensions == 2
    patch = _fitting(np.max([model.plan.patch for model in models], axis=0), divisor, flat)
    around = _fitting(np.maximum(patch, shape), divisor, flat)
    return around if not flat and math.prod(around) <= _WHOLE * math.prod(patch) else patch


def _divisor(models: Sequence[Model]) -> Shape:
    a, b, c = (
        math.lcm(*(int(model.network.divisor[axis]) for model in models)) for axis in range(3)
    )
    return a, b, c


def _fitting(patch: npt.NDArray[Any], divisor: Shape, flat: bool) -> Shape:
    """Return the patch rounded up to what the networks can divide; one plane for slices."""
    a, b, c = (math.ceil(int(p) / d) * d for p, d in zip(patch, divisor, strict=True))
    return (a, b, 1) if flat else (a, b, c)


def _canonical(
    run: _Run, prepared: Volume, image: Geometry, patch: Shape, device: str
) -> _Canonical:
    for model in run.models:
        model.network.to(device).eval()
    passes = run.passes
    several = len(passes) > 1
    classes = run.models[0].plan.classes
    votes = torch.zeros((len(passes), classes), dtype=torch.float64) if several else None
    keep = several and run.settings.uncertainty
    canonical = move_grid(image, canonical_move(image))
    axis = slab_axis(prepared.grid.shape, patch)
    gathering = _Gathering(prepared.grid, canonical, axis, run.settings.uncertainty, keep)
    with torch.inference_mode():
        for slab in slabs(
            torch.from_numpy(prepared.data),
            run.members(torch.device(device)),
            patch,
            passes=passes,
            classes=classes,
            overlap=run.settings.overlap,
            keep_members=keep,
            votes=votes,
            device=device,
        ):
            gathering.add(slab)
    counted = np.zeros((0, classes)) if votes is None else votes.numpy()
    return _Canonical(gathering.classes, gathering.entropy, gathering.spread, counted)


class _Gathering:
    """Turns slabs of probabilities into maps on the image's grid as soon as it can."""

    def __init__(
        self, source: Geometry, target: Geometry, axis: int, entropy: bool, spread: bool
    ) -> None:
        self.steps: Steps = axis_weights(source, target, linear_weights)
        self.axis = axis
        self.along = self.steps[axis] or _staying(target.shape[axis])
        self.classes = np.zeros(target.shape, dtype=np.uint8)
        self.entropy = np.zeros(target.shape, dtype=np.float32) if entropy else None
        self.spread = np.zeros(target.shape, dtype=np.float32) if spread else None
        self._made = 0
        self._first = 0
        self._waiting: torch.Tensor | None = None

    def add(self, slab: Slab) -> None:
        """Take finished planes; make what they allow; keep those that are still needed."""
        dim = self.axis + 2
        parts = [slab.data] if self._waiting is None else [self._waiting, slab.data]
        there = torch.cat(parts, dim=dim) if len(parts) > 1 else slab.data
        end = self._first + there.shape[dim]
        ready = int(np.searchsorted(self.along.index.max(axis=1), end))
        while self._made < ready:
            stop = min(ready, self._made + self._thickness(there))
            self._make(there, self._made, stop)
            self._made = stop
        count = len(self.along.index)
        needed = int(self.along.index[self._made].min()) if self._made < count else end
        needed = min(needed, end)
        left = there.narrow(dim, needed - self._first, end - needed)
        self._waiting = left.clone() if end > needed else None
        self._first = needed

    def _thickness(self, there: torch.Tensor) -> int:
        shape = list(self.classes.shape)
        del shape[self.axis]
        plane = int(there.shape[0]) * int(there.shape[1]) * math.prod(shape)
        return max(1, _CHUNK // plane)

    def _make(self, there: torch.Tensor, start: int, stop: int) -> None:
        index = self.along.index[start:stop]
        low, high = int(index.min()), int(index.max()) + 1
        found = there.narrow(self.axis + 2, low - self._first, high - low)
        local = AxisWeights(index - low, self.along.weight[start:stop])
        if self.steps[self.axis] is not None:
            found = _interpolate(found, local, self.axis + 2)
        for axis, weights in enumerate(self.steps):
            if weights is not None and axis != self.axis:
                found = _interpolate(found, weights, axis + 2)
        place = tuple(slice(start, stop) if a == self.axis else slice(None) for a in range(3))
        mean = found.mean(dim=0) if len(found) > 1 else found[0]
        best = winner(mean)
        self.classes[place] = best.cpu().numpy()
        if self.entropy is not None:
            self.entropy[place] = torch.special.entr(mean).sum(dim=0).cpu().numpy()
        if self.spread is not None:
            chosen = found.gather(1, best.long().expand(len(found), 1, *best.shape))[:, 0]
            self.spread[place] = chosen.std(dim=0, correction=0).cpu().numpy()


def _staying(count: int) -> AxisWeights:
    return AxisWeights(np.arange(count, dtype=np.intp)[:, None], np.ones((count, 1)))


def _interpolate(data: torch.Tensor, weights: AxisWeights, dim: int) -> torch.Tensor:
    """Return the tensor with one axis interpolated; sums in a fixed order."""
    index = torch.from_numpy(np.ascontiguousarray(weights.index.T)).to(data.device)
    factor = torch.from_numpy(np.ascontiguousarray(weights.weight.T, dtype=np.float32))
    shape = [1] * data.ndim
    shape[dim] = -1
    out: torch.Tensor | None = None
    for taps, share in zip(index, factor.to(data.device), strict=True):
        term = data.index_select(dim, taps).mul_(share.view(shape))
        out = term if out is None else out.add_(term)
    return data if out is None else out


def _own(data: Array3D, image: Geometry) -> Volume:
    canonical = move_grid(image, canonical_move(image))
    return Volume(restore(data, canonical, image)[0], image)


def _variation(votes: npt.NDArray[np.float64], names: tuple[str, ...]) -> dict[str, float]:
    """Return the coefficient of variation over members of the volume of each label."""
    if not len(votes):
        return {}
    with np.errstate(invalid="ignore"):
        ratio = votes.std(axis=0, ddof=1) / votes.mean(axis=0)
    return dict(zip(names, (float(v) for v in ratio[1:]), strict=True))
