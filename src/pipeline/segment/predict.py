"""Trained networks on an image: probabilities in slabs, classes on the image's own grid."""

import contextlib
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pipeline.errors import SettingsError
from pipeline.preprocess.orientation import canonical_move, move_grid, restore
from pipeline.segment.gathering import Gathering
from pipeline.segment.label_rules import LabelRules, apply_rules
from pipeline.segment.network_grid import prepare
from pipeline.segment.plan import Shape
from pipeline.segment.shortage import is_shortage
from pipeline.segment.trained import Model
from pipeline.segment.window import Members, slab_axis, slabs
from pipeline.types import Array3D, Geometry, Volume

#: A volume of up to so many patches goes through at once: eight windows for a few voxels more than
#: a patch would cost eight times as much.
_WHOLE = 2.0


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
    window : three ints or None
        Voxels of a window, rounded up to what the networks can divide; None for the largest
        patch of the models.
    """

    device: str = "cpu"
    overlap: float = 0.5
    mirror: bool = False
    uncertainty: bool = False
    mixed_precision: bool = True
    rules: LabelRules = field(default_factory=LabelRules)
    window: Shape | None = None


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
        One, or an ensemble with the same labels and spacing. Their probabilities are averaged in
        this order. Each sees the image normalised as its own plan says.
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
    MemoryError, RuntimeError
        Memory runs out on the CPU, with half a window too; see `pipeline.segment.shortage`.
    """
    settings = settings or PredictSettings()
    _check(models)
    plan = models[0].plan
    intensities = list(dict.fromkeys(model.plan.intensity for model in models))
    prepared = [prepare(image, replace(plan, intensity=rule)) for rule in intensities]
    channels = [intensities.index(model.plan.intensity) for model in models]
    run = _Run(models, channels, _flips(models, settings), settings)
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
    channels: Sequence[int]
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
            for number, (model, channel) in enumerate(zip(self.models, self.channels, strict=True)):
                own = window[:, channel : channel + 1]
                for turn, flip in enumerate(self.flips):
                    seen = own.flip(flip) if flip else own
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
        for what in ("labels", "spacing_mm", "dimensions"):
            one, other = getattr(first.plan, what), getattr(model.plan, what)
            if one != other:
                raise SettingsError(
                    f"models {first.name} and {model.name} form no ensemble: {what} {one} and "
                    f"{other} differ; run them one by one, or train them alike (`--spacing`, "
                    "`--labels`)"
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
    run: _Run, prepared: Sequence[Volume], image: Geometry
) -> tuple[_Canonical, Shape, str, list[str]]:
    """Try the whole window, then half of it; after a GPU both on the CPU. Say what was done."""
    divisor = _divisor(run.models)
    flat = run.models[0].plan.dimensions == 2
    whole = _window(run.models, prepared[0].grid.shape, run.settings.window)
    half = _fitting(np.ceil(np.array(whole) / 2), divisor, flat)
    devices = list(dict.fromkeys([run.settings.device, "cpu"]))
    tries = [(device, patch) for device in devices for patch in dict.fromkeys([whole, half])]
    warnings: list[str] = []
    for (device, patch), following in zip(tries, [*tries[1:], None], strict=True):
        try:
            return _canonical(run, prepared, image, patch, device), patch, device, warnings
        except (MemoryError, RuntimeError) as error:
            if following is None or not is_shortage(error):
                raise
            what = f"with windows of {following[1]}"
            if following[0] != device:
                what = "on the CPU"
            warnings.append(f"{device}: out of memory with windows of {patch}; tried again {what}")
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    raise AssertionError("unreachable: the last try returns or raises")


def _window(models: Sequence[Model], shape: Shape, wanted: Shape | None) -> Shape:
    """Return the window that is asked for; else the largest patch of the models.

    All of a volume that is little larger than the patch goes through at once.
    """
    divisor, flat = _divisor(models), models[0].plan.dimensions == 2
    if wanted is not None:
        return _fitting(np.array(wanted), divisor, flat)
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
    run: _Run, prepared: Sequence[Volume], image: Geometry, patch: Shape, device: str
) -> _Canonical:
    for model in run.models:
        model.network.to(device).eval()
    passes = run.passes
    several = len(passes) > 1
    classes = run.models[0].plan.classes
    votes = torch.zeros((len(passes), classes), dtype=torch.float64) if several else None
    keep = several and run.settings.uncertainty
    canonical = move_grid(image, canonical_move(image))
    grid = prepared[0].grid
    axis = slab_axis(grid.shape, patch)
    gathering = Gathering(grid, canonical, axis, run.settings.uncertainty, keep)
    with torch.inference_mode():
        for slab in slabs(
            _stacked(prepared),
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


def _stacked(prepared: Sequence[Volume]) -> torch.Tensor:
    """Return one image (I, J, K) as it is, several in one tensor (N, I, J, K)."""
    found = [torch.from_numpy(volume.data) for volume in prepared]
    return found[0] if len(found) == 1 else torch.stack(found)


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
