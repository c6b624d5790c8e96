"""What a training will do, and the card of the model that it made, in words."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pipeline.segment.plan import Plan
from pipeline.segment.training.fingerprint import Fingerprint
from pipeline.segment.training.loop import State
from pipeline.segment.training.settings import TrainingSettings


def describe_plan(
    plan: Plan,
    found: Fingerprint,
    settings: TrainingSettings,
    *,
    parameters: int,
    memory_bytes: int,
    folds: Mapping[str, int],
    device: str,
) -> str:
    """Return a plan as lines of "name: value".

    Parameters
    ----------
    folds : mapping of str to int
        Validation cases of each fold.
    """
    sizes = [" x ".join(map(str, edge)) for edge in _extremes(found)]
    lines = {
        "cases": f"{found.cases}, {sizes[0]} to {sizes[1]} voxels",
        "kind": f"{found.kind}, foreground {found.low:.4g} to {found.high:.4g}",
        "labels": ", ".join(
            f"{name}={value} (in {found.present[name]}, {found.volumes_mm3[name]:.4g} mm3)"
            for name, value in plan.labels.items()
        ),
        "folds": ", ".join(f"{name}: {n}" for name, n in folds.items()) or "none",
        "network": f"{plan.network}, {parameters:,} parameters, {_options(plan.options)}",
        "spacing": " x ".join(f"{s:g}" for s in plan.spacing_mm) + " mm",
        "patch": " x ".join(map(str, plan.patch)) + f" voxels, {plan.batch} a step",
        "intensity": _intensity(plan),
        "training": f"{settings.iterations:,} iterations of {settings.optimiser}, rate "
        f"{settings.rate:g} {settings.schedule}, loss {_loss(settings)}",
        "memory": f"about {memory_bytes / 1e9:.2g} GB on {device}",
    }
    width = max(map(len, lines))
    return "\n".join(f"{name:<{width}}  {text}" for name, text in lines.items())


def make_card(
    plan: Plan,
    found: Fingerprint,
    settings: TrainingSettings,
    state: State,
    *,
    name: str,
    licence: str,
    subjects: int,
    validated: Mapping[str, Any],
    versions: Mapping[str, str],
    identity: str,
    mirror: bool = False,
) -> dict[str, Any]:
    """Return the card of a model as JSON values.

    Parameters
    ----------
    plan, found, settings, state
        What was trained, on what, how, and how it went. `found` is of the training cases alone.
    name : str
        Of the training: its fold, or that all subjects trained.
    licence : str
        Of the training data, as the user states it.
    subjects : int
        That trained.
    validated : mapping
        Metrics on the validation cases; empty when there were none.
    versions : mapping of str to str
        Of the software.
    identity : str
        sha256 of plan, settings and data.
    mirror : bool
        Whether the metrics are of predictions averaged over mirrored images.
    """
    last = state.history[-1]
    augmentation = settings.augmentation
    return {
        "description": f"{plan.network} for {', '.join(plan.labels)}: {name}",
        "modality": found.kind,
        "licence": licence,
        "training_data": {
            "subjects": subjects,
            "images": found.cases,
            "median_volume_mm3": dict(found.volumes_mm3),
            "images_with": dict(found.present),
            "spacing_mm": [list(edge) for edge in _extremes_mm(found)],
            "extent_mm": [list(edge) for edge in _extents_mm(found)],
        },
        "metrics": dict(validated),
        "validation": {"mirror": mirror},
        "mirror_axes": list(augmentation.flip_axes) if augmentation else [],
        "settings": asdict(settings),
        "training": {
            "iterations": state.iteration,
            "minutes": round(state.seconds / 60, 1),
            "stopped": state.stopped,
            "kept_iteration": state.best_iteration or state.iteration,
            "kept": "best validation" if state.best_iteration else "last weights",
            "last_loss": last.loss,
            "digest": identity,
        },
        "versions": dict(versions),
    }


def card_text(card: Mapping[str, Any], plan: Plan) -> str:
    """Return the model card, Markdown."""
    data, training, settings = card["training_data"], card["training"], card["settings"]
    lines = [
        f"# {card['description']}",
        "",
        f"- Labels: {', '.join(f'{n} = {v}' for n, v in plan.labels.items())}",
        f"- Input: {card['modality']}, {' x '.join(f'{s:g}' for s in plan.spacing_mm)} mm, patch "
        f"{' x '.join(map(str, plan.patch))}; {_intensity(plan)}",
        f"- Licence: {card['licence']}",
        "",
        "## Training data",
        "",
        f"{data['subjects']} subjects, {data['images']} images, voxels of "
        f"{_between(data['spacing_mm'])} mm, {_between(data['extent_mm'])} mm wide. Median volume: "
        + ", ".join(f"{n} {v:.4g} mm³" for n, v in data["median_volume_mm3"].items())
        + ".",
        "",
        "## Training",
        "",
        f"{training['iterations']:,} iterations of {plan.batch} patches in "
        f"{training['minutes']:g} minutes ({training['stopped']}); {settings['optimiser']}, rate "
        f"{settings['rate']:g}{_momentum(settings)}, {settings['schedule']}, seed "
        f"{settings['seed']}. Kept: {training['kept']}, iteration {training['kept_iteration']:,}.",
        "",
        "## Metrics",
        "",
        *_metric_lines(card),
        "",
        "## Limits",
        "",
        "Not a medical device. It knows what it was trained on: other scanners, protocols, ages "
        "and diseases have to be validated first.",
        "",
        "## Software",
        "",
        ", ".join(f"{name} {version}" for name, version in card["versions"].items()),
    ]
    return "\n".join(lines) + "\n"


def _metric_lines(card: Mapping[str, Any]) -> list[str]:
    metrics = card["metrics"]
    if not metrics:
        return [
            "None: every subject of the sheet trained, so nobody in it was left to measure on. What"
            " the folds of the same sheet, or subjects kept out of it, gave says how good it is."
        ]
    mirrored = " Each is the mean over mirrored images." if card["validation"]["mirror"] else ""
    rows = [
        f"| {label} | {m['cases']} | {m['dice_mean']:.3f} | {m['dice_sd']:.3f} "
        f"| {m['dice_median']:.3f} |"
        for label, m in metrics.items()
    ]
    return [
        "| label | cases | Dice, mean | SD | median |",
        "|---|---|---|---|---|",
        *rows,
        "",
        f"On the validation cases of the fold, in full images on their own grid.{mirrored} The "
        "same cases chose the iteration that is kept, which flatters the numbers a little.",
    ]


def _momentum(settings: Mapping[str, Any]) -> str:
    return f", momentum {settings['momentum']:g}" if settings["optimiser"] == "sgd" else ""


def _loss(settings: TrainingSettings) -> str:
    if not settings.rounds:
        return settings.loss
    return ", ".join(f"{n} x {name}" for name, n in settings.rounds) + f", {settings.repeat} times"


def _options(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in options.items()) or "as published"


def _intensity(plan: Plan) -> str:
    rule = plan.intensity
    if rule.kind == "image":
        return f"clipped at {rule.low:g} and {rule.high:g} % of the image, its own mean and SD"
    return f"clipped at {rule.low:.4g} and {rule.high:.4g}, mean {rule.mean:.4g}, SD {rule.sd:.4g}"


def _extremes(found: Fingerprint) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the least and the most voxels along each axis."""
    axes = list(zip(*found.shapes, strict=True))
    return tuple(map(min, axes)), tuple(map(max, axes))


def _extremes_mm(found: Fingerprint) -> tuple[tuple[float, ...], tuple[float, ...]]:
    axes = list(zip(*found.spacings_mm, strict=True))
    return tuple(map(min, axes)), tuple(map(max, axes))


def _extents_mm(found: Fingerprint) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the least and the most mm that an image covers along each axis."""
    axes = [
        [count * step for count, step in zip(counts, steps, strict=True)]
        for counts, steps in zip(
            zip(*found.shapes, strict=True), zip(*found.spacings_mm, strict=True), strict=True
        )
    ]
    return tuple(map(min, axes)), tuple(map(max, axes))


def _between(edges: Sequence[Sequence[float]]) -> str:
    low, high = (" x ".join(f"{s:.4g}" for s in edge) for edge in edges)
    return low if low == high else f"{low} to {high}"
