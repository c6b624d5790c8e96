"""What a training leaves in its folders: log, curve, model with its card, summary."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.training_cases import Case

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from pipeline.segment.losses import Schedule
    from pipeline.segment.training.fingerprint import Fingerprint
    from pipeline.segment.training.loop import State, Trainer
    from pipeline.segment.training.settings import TrainingSettings

CHECKPOINT, LOG, CURVE, VALIDATION = (
    "checkpoint.safetensors", "log.tsv", "curve.png", "validation.tsv",
)  # fmt: skip
SUMMARY, MODEL, CARD, LOCK = "summary.tsv", "model", "model_card.md", ".train.lock"


@dataclass(frozen=True, eq=False)
class Job:
    """All that the folds share."""

    sheet: Path
    out: Path
    settings: "TrainingSettings"
    schedule: "Schedule"
    device: "torch.device"
    folds: tuple[int, ...]
    max_seconds: float
    memory_bytes: int
    licence: str
    planned: Mapping[str, Any]
    kind: str | None
    vgg16: Path | None
    replace: bool
    mirror: bool


def folder_name(fold: int | None) -> str:
    """Return the folder of a fold below --out."""
    return "final" if fold is None else f"fold-{fold}"


def is_complete(folder: Path, fold: int | None, mirror: bool) -> bool:
    """Tell whether a fold has its model and, where cases are held out, their Dice as asked for."""
    from pipeline.model_folder import DOCUMENT, read_entry

    if not (folder / MODEL / DOCUMENT).exists() or fold is None:
        return (folder / MODEL / DOCUMENT).exists()
    measured = read_entry(folder / MODEL).card.get("validation", {"mirror": False})
    return (folder / VALIDATION).exists() and measured["mirror"] == mirror


def write_log(folder: Path, state: "State", labels: Sequence[str]) -> None:
    """Write a row for each validation so far."""
    import pandas as pd

    from pipeline.io import write_table

    rows = [
        {
            "iteration": record.iteration,
            "loss_name": record.loss_name,
            "loss": record.loss,
            "rate": record.rate,
            "seconds": round(record.seconds, 1),
            **{f"dice_{n}": d for n, d in zip(labels, record.dice, strict=False)},
            "dice_mean": record.score,
        }
        for record in state.history
    ]
    write_table(folder / LOG, pd.DataFrame(rows))


def write_curve(job: Job, folder: Path, trainer: "Trainer") -> None:
    """Draw loss and Dice so far."""
    from pipeline.io import write_bytes
    from pipeline.report.training_figure import training_png

    picture = training_png(
        trainer.state.history,
        list(trainer.plan.labels),
        title=f"{trainer.plan.network}, {folder.name} of {job.sheet.name}",
        best_iteration=trainer.state.best_iteration,
    )
    write_bytes(folder / CURVE, picture)


def write_model(
    job: Job,
    trainer: "Trainer",
    found: "Fingerprint",
    training: Sequence[Case],
    scores: "pd.DataFrame",
    fold: int | None,
    folder: Path,
    identity: str,
) -> None:
    """Write the model folder with its card and sidecar."""
    from pipeline.io import write_text
    from pipeline.model_folder import DOCUMENT, save_model
    from pipeline.provenance import package_versions, write_sidecars
    from pipeline.segment.training.card import card_text, make_card

    card = make_card(
        trainer.plan,
        found,
        job.settings,
        trainer.state,
        name="every subject of the sheet" if fold is None else f"fold {fold} of {len(job.folds)}",
        licence=job.licence,
        subjects=len({case.row.subject for case in training}),
        validated=metrics(scores),
        versions=package_versions(),
        identity=identity,
        mirror=job.mirror and bool(len(scores)),
    )
    write_text(folder / MODEL / CARD, card_text(card, trainer.plan))
    save_model(folder / MODEL, trainer.plan, trainer.weights(), card)
    write_sidecars(
        [folder / MODEL / DOCUMENT],
        block="segment",
        inputs=[job.sheet],
        settings={"fold": fold, **asdict(job.settings)},
        seed=job.settings.seed,
        measured={"digest": identity, "seconds": trainer.state.seconds},
    )


def metrics(scores: "pd.DataFrame") -> dict[str, dict[str, float]]:
    """Return number, mean, SD and median of the Dice of each label."""
    if scores.empty:
        return {}
    found = {}
    for name, dice in scores.dropna(subset="dice").groupby("label", sort=False)["dice"]:
        found[str(name)] = {
            "cases": len(dice),
            "dice_mean": float(dice.mean()),
            "dice_sd": float(dice.std(ddof=1)) if len(dice) > 1 else 0.0,
            "dice_median": float(dice.median()),
        }
    return found


def write_summary(job: Job) -> Path:
    """Write a row for each fold that is there and label, and for all folds together."""
    import pandas as pd

    from pipeline.io import read_table, write_table

    tables = {
        str(fold): read_table(job.out / folder_name(fold) / VALIDATION)
        for fold in job.folds
        if (job.out / folder_name(fold) / VALIDATION).exists()
    }
    if not tables:
        return job.out
    if len(tables) > 1:
        tables["all"] = pd.concat(tables.values())
    rows = [
        {"fold": fold, "label": label, **values}
        for fold, table in tables.items()
        for label, values in metrics(table).items()
    ]
    write_table(job.out / SUMMARY, pd.DataFrame(rows))
    return job.out / SUMMARY
