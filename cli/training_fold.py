"""One fold of a training: resumed or begun, validated, stored."""

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from cli.common import progress
from cli.training_cases import Case, load_case, split_cases
from cli.training_outputs import (
    CHECKPOINT,
    LOCK,
    VALIDATION,
    Job,
    folder_name,
    is_complete,
    write_curve,
    write_log,
    write_model,
)
from pipeline.errors import SettingsError

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.segment.plan import Plan
    from pipeline.segment.training.cache import Prepared
    from pipeline.segment.training.fingerprint import Fingerprint
    from pipeline.segment.training.loop import State, Trainer

#: Seconds between two pictures of a curve while training goes on.
_DRAW_S = 60.0
_LOG = logging.getLogger(__name__)


def train_fold(job: Job, cases: Sequence[Case], fold: int | None) -> None:
    """Train, validate and store the model of one fold (None: of every subject)."""
    from pipeline.io.atomic import make_folder, refusals_told
    from pipeline.io.tensors import read_tensors
    from pipeline.runlock import claim
    from pipeline.segment.training.checkpoint import digest, unpack
    from pipeline.segment.training.loop import Trainer

    training, held_out = split_cases(cases, fold)
    found, plan = _planned(job, training)
    folder = job.out / folder_name(fold)
    make_folder(folder)
    with refusals_told(folder / LOCK):
        lock = claim(folder / LOCK)
    with lock:
        asked: dict[str, Any] = {
            "plan": plan.to_json(),
            "settings": asdict(job.settings),
            "training": _data(training),
            "validation": _data(held_out),
        }
        trainer = Trainer(plan, job.settings, job.schedule, job.device)
        if job.vgg16 is not None:
            asked["vgg16"] = _start_from(job.vgg16, trainer)
        checkpoint = folder / CHECKPOINT
        if checkpoint.exists():
            try:
                unpack(read_tensors(checkpoint), trainer, asked)
            except SettingsError as error:
                if not job.replace:
                    raise SettingsError(
                        f"{checkpoint}: {error}; use another --out, or --replace to begin anew"
                    ) from None
                _LOG.warning("%s: %s; training begins anew", checkpoint, error)
        if not trainer.can_go_on(job.max_seconds) and is_complete(folder, fold, job.mirror):
            _LOG.info("%s: nothing to do: %s", folder, trainer.state.stopped)
            return
        if trainer.can_go_on(job.max_seconds):
            _run(job, trainer, training, held_out, folder, asked)
        _LOG.info("%s: %s", folder, trainer.state.stopped)
        scores = _validated(job, trainer, held_out, fold, folder)
        write_model(job, trainer, found, training, scores, fold, folder, digest(asked))


def _start_from(path: Path, trainer: "Trainer") -> str:
    """Give the layers of VGG-16 their weights from a file; return its sha256."""
    from pipeline.io.tensors import read_tensors
    from pipeline.provenance import sha256
    from pipeline.segment.networks.psnet import load_vgg16

    weights = read_tensors(path)
    for network in (trainer.network, trainer.average):
        if network is not None:
            load_vgg16(network, weights)
    return sha256(path)


def _run(
    job: Job,
    trainer: "Trainer",
    training: Sequence[Case],
    held_out: Sequence[Case],
    folder: Path,
    asked: Mapping[str, Any],
) -> None:
    from pipeline.io.scratch import put_aside
    from pipeline.io.tensors import write_tensors
    from pipeline.segment.training.cache import Cache
    from pipeline.segment.training.checkpoint import pack

    drawn = [0.0]

    def store(state: "State") -> None:
        write_tensors(folder / CHECKPOINT, pack(trainer, asked))
        write_log(folder, state, list(trainer.plan.labels))
        if state.stopped or time.monotonic() - drawn[0] > _DRAW_S:
            write_curve(job, folder, trainer)
            drawn[0] = time.monotonic()

    if trainer.state.iteration:
        _LOG.info("%s: going on after iteration %d", folder, trainer.state.iteration)
    cache = Cache(job.memory_bytes, partial(put_aside, folder=folder))
    ready, other = (_prepared(part, trainer.plan, cache) for part in (training, held_out))
    trainer.run(ready, other, store, max_seconds=job.max_seconds)


def _prepared(cases: Sequence[Case], plan: "Plan", cache: Any) -> list["Prepared"]:
    from pipeline.segment.training.cache import prepare_case

    return [
        prepare_case(case.row.name, *load_case(case.row), plan, cache)
        for case in progress(cases, total=len(cases), what="preparing")
    ]


def _validated(
    job: Job, trainer: "Trainer", cases: Sequence[Case], fold: int | None, folder: Path
) -> "pd.DataFrame":
    """Segment the held-out images as in use, on their own grid, and write their Dice."""
    import pandas as pd

    from pipeline.evaluation.overlap import measure_overlap
    from pipeline.io import write_table
    from pipeline.segment.predict import PredictSettings, predict
    from pipeline.segment.trained import Model

    augmentation = job.settings.augmentation
    card = {"mirror_axes": list(augmentation.flip_axes) if augmentation else []}
    model = Model(trainer.plan, trainer.evaluated(), card, folder_name(fold))
    settings = PredictSettings(device=str(job.device), mirror=job.mirror)
    rows = []
    for case in progress(cases, total=len(cases), what="validating"):
        image, mask = load_case(case.row)
        found = predict(image, [model], settings).labels
        for name, value in trainer.plan.labels.items():
            overlap = measure_overlap(
                mask.data == value, found.data == value, image.grid.voxel_volume_mm3
            )
            rows.append(
                {
                    "subject": case.row.subject,
                    "image": case.row.image.name,
                    "label": name,
                    "fold": fold,
                    "dice": overlap.dice_3d,
                    "reference_ml": overlap.reference_ml,
                    "prediction_ml": overlap.prediction_ml,
                }
            )
    table = pd.DataFrame(rows)
    if rows:
        write_table(folder / VALIDATION, table)
    return table


def _planned(job: Job, training: Sequence[Case]) -> tuple["Fingerprint", "Plan"]:
    """Return fingerprint and plan; only the cases that train are looked at."""
    from pipeline.segment.training.fingerprint import combine
    from pipeline.segment.training.planning import make_plan

    found = combine([case.found for case in training], kind=cast(Any, job.kind))
    return found, make_plan(found, **job.planned)


def plan_text(job: Job, cases: Sequence[Case], wanted: Iterable[int | None]) -> str:
    """Return what would be done, with the plan of the first fold wanted."""
    from pipeline.segment.training.card import describe_plan
    from pipeline.segment.training.planning import memory_guess, on_meta, parameters

    first = next(iter(wanted))
    found, plan = _planned(job, split_cases(cases, first)[0])
    return describe_plan(
        plan,
        found,
        job.settings,
        parameters=parameters(on_meta(plan.network, plan.classes, plan.options)),
        memory_bytes=memory_guess(plan),
        folds={str(fold): sum(case.fold == fold for case in cases) for fold in job.folds},
        device=job.device.type,
    )


def _data(cases: Sequence[Case]) -> dict[str, list[str]]:
    return {case.row.name: [case.found.digest, case.found.mask_digest] for case in cases}
