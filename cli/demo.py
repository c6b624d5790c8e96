"""`medpipe demo`: make simulated cohorts, and score a study against their truth."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.common import Quiet, Seed, progress, set_up
from pipeline.errors import ReadError, SettingsError

if TYPE_CHECKING:
    from pipeline.demo.faults import Fault
    from pipeline.demo.plan import SubjectPlan
    from pipeline.demo.score import Found, Truth

app = typer.Typer(
    help="Simulated cohorts whose truth is known, and the score of a study on them.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


@app.command()
def nact(
    out: Annotated[Path, typer.Option(help="Folder of the cohort.")] = Path("demo/nact"),
    subjects: Annotated[
        str, typer.Option(help="Number of subjects (2 to 114), or `full` for the study's 61 + 53.")
    ] = "40",
    seed: Seed = 20210322,
    faults: Annotated[
        bool, typer.Option("--faults", help="Add ten subjects with one defect each.")
    ] = False,
    full_resolution: Annotated[
        bool, typer.Option("--full-resolution", help="The study's voxels in place of coarser ones.")
    ] = False,
    jobs: Annotated[
        int, typer.Option(min=1, help="Subjects made at the same time; same bytes.")
    ] = 2,
    quiet: Quiet = False,
) -> None:
    """Generate longitudinal breast DCE-MRI with true masks, fields and Jacobians.

    The same seed gives the same bytes; a cohort that is already there is left alone.

    Example: `medpipe demo nact --out demo/nact --subjects 40`
    """
    set_up(1, quiet)
    from pipeline.demo.cohort import README, dataset_record, subjects_frame
    from pipeline.demo.faults import fault_plans
    from pipeline.demo.plan import FULL_SIZE, draw_plan
    from pipeline.io import write_json, write_text

    size = FULL_SIZE if subjects == "full" else _whole_number(subjects)
    plans = draw_plan(seed, size=size)
    defects = fault_plans(plans) if faults else []
    record = dataset_record(plans, seed=seed, full_resolution=full_resolution)
    record["faults"] = len(defects)
    if _is_complete(out, record):
        typer.echo(f"{out / 'images.tsv'} (already there)")
        return
    (out / "dataset.json").unlink(missing_ok=True)
    tasks = [(out, plan, fault, seed, full_resolution)
             for plan, fault in [*((plan, None) for plan in plans), *defects]]  # fmt: skip
    written = list(progress(_write_all(tasks, jobs), total=len(tasks), what="simulating"))
    _write_sheets(out, subjects_frame([task[1] for task in tasks]), written, seed, record)
    write_text(out / "README.txt", README)
    write_json(out / "dataset.json", record)  # last: its presence says that all is there
    typer.echo(f"{out / 'images.tsv'}")


@app.command()
def crc(
    out: Annotated[Path, typer.Option(help="Folder of the cohort.")] = Path("demo/crc"),
    subjects: Annotated[int, typer.Option(help="Number of subjects (30 to 900).")] = 120,
    seed: Seed = 20210322,
    quiet: Quiet = False,
) -> None:
    """Generate colorectal cancers on CT with survival from known coefficients.

    The same seed gives the same bytes; a cohort that is already there is left alone.

    Example: `medpipe demo crc --out demo/crc --subjects 120`
    """
    set_up(1, quiet)
    import pandas as pd

    from pipeline.demo import crc as simulation
    from pipeline.io import (
        read_json,
        read_mask,
        read_volume,
        write_json,
        write_table,
        write_text,
        write_volume,
    )
    from pipeline.provenance import write_sidecars
    from pipeline.radiomics.extract import extract

    patients = simulation.draw_patients(seed, subjects)
    record = simulation.dataset_record(subjects, seed=seed)
    done = out / "dataset.json"
    files = [out / name for p in patients for name in simulation.image_paths(p.subject)]
    if done.is_file() and read_json(done) == record and all(f.is_file() for f in files):
        typer.echo(f"{out / 'images.tsv'} (already there)")
        return
    done.unlink(missing_ok=True)
    measured = []
    for number, patient in enumerate(progress(patients, total=subjects, what="simulating")):
        image, mask = (out / name for name in simulation.image_paths(patient.subject))
        for path, volume in zip((image, mask), simulation.draw_image(seed, number), strict=True):
            write_volume(path, volume)
        # From the files, whose spacing is rounded to 32 bits: what a study will measure.
        row = extract(read_volume(image), read_mask(mask), kind="ct",
                      bin_width=simulation.BIN_WIDTH_HU, spacing_mm=simulation.SPACING_MM,
                      classes=simulation.FEATURE_CLASSES)  # fmt: skip
        measured.append(row.values)
    survival = simulation.draw_survival(patients, pd.DataFrame(measured), seed)
    sheets = {
        "images": simulation.images_frame(patients),
        "subjects": simulation.subjects_frame(patients, survival),
        "truth": simulation.truth_frame(patients, survival),
    }
    for name, frame in sheets.items():
        write_table(out / f"{name}.tsv", frame)
    write_json(out / "truth.json", dict(survival.truth))
    write_sidecars([out / f"{name}.tsv" for name in sheets], block="demo", inputs=[],
                   settings=record, seed=seed)  # fmt: skip
    write_text(out / "README.txt", simulation.README)
    write_json(done, record)  # last: its presence says that all is there
    typer.echo(f"{out / 'images.tsv'}")


@app.command()
def prostate(
    out: Annotated[Path, typer.Option(help="Folder of the cohort.")] = Path("demo/prostate"),
    subjects: Annotated[int, typer.Option(help="Number of subjects (5 to 500).")] = 20,
    seed: Seed = 20210322,
    quiet: Quiet = False,
) -> None:
    """Generate prostates on T2-weighted MRI with their true masks.

    The same seed gives the same bytes; a cohort that is already there is left alone.

    Example: `medpipe demo prostate --out demo/prostate`
    """
    set_up(1, quiet)
    from pipeline.demo import prostate as simulation
    from pipeline.io import read_json, write_json, write_table, write_text, write_volume
    from pipeline.provenance import write_sidecars

    names = simulation.subject_ids(subjects)
    record = simulation.dataset_record(subjects, seed=seed)
    done = out / "dataset.json"
    files = [out / path for name in names for path in simulation.image_paths(name)]
    if done.is_file() and read_json(done) == record and all(f.is_file() for f in files):
        typer.echo(f"{out / 'images.tsv'} (already there)")
        return
    done.unlink(missing_ok=True)
    for number, name in enumerate(progress(names, total=subjects, what="simulating")):
        volumes = simulation.draw_image(seed, number)
        for path, volume in zip(simulation.image_paths(name), volumes, strict=True):
            write_volume(out / path, volume)
    write_table(out / "images.tsv", simulation.images_frame(names))
    write_table(out / "subjects.tsv", simulation.subjects_frame(names))
    write_sidecars([out / "images.tsv", out / "subjects.tsv"], block="demo", inputs=[],
                   settings=record, seed=seed)  # fmt: skip
    write_text(out / "README.txt", simulation.README)
    write_json(done, record)  # last: its presence says that all is there
    typer.echo(f"{out / 'images.tsv'}")


@app.command()
def score(
    truth: Annotated[Path, typer.Option(help="truth.tsv of the simulated cohort.")],
    study: Annotated[Path, typer.Option(help="Results folder of the study, e.g. results/nact.")],
    out: Annotated[
        Path | None, typer.Option(help="Table to write; default STUDY/cohort/truth.tsv.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Compare the masks, Jacobians and fields of a study with the truth of its simulation.

    Example: `medpipe demo score --truth demo/nact/truth.tsv --study results/nact`
    """
    set_up(1, quiet)
    import dataclasses

    import pandas as pd

    from pipeline.demo.score import Score, score_subject, summarise
    from pipeline.io import read_table, write_table
    from pipeline.provenance import write_sidecars

    sheet = read_table(truth)
    target = out or study / "cohort" / "truth.tsv"
    rows: list[dict[str, Any]] = []
    for record in progress(sheet.to_dict("records"), total=len(sheet), what="scoring"):
        found = _read_found(study, record["subject"])
        values = (
            dict.fromkeys((f.name for f in dataclasses.fields(Score)), float("nan"))
            if found is None
            else dataclasses.asdict(score_subject(_read_truth(truth.parent, record), found))
        )
        values["true_mean_jacobian"] = record["true_mean_jacobian"]
        status = "no result" if found is None else "scored"
        head = {"subject": record["subject"], "response": record["response"], "status": status}
        rows.append(head | values)
    table = pd.DataFrame(rows)
    summary = summarise(table)
    write_table(target, table)
    write_sidecars([target], block="demo", inputs=[truth], settings={"study": study.name},
                   measured=summary)  # fmt: skip
    typer.echo(
        f"{target}: {summary['subjects']} subjects, mean Jacobian within 5 % in "
        f"{summary['share_within_5_percent']:.0%}, median Dice "
        f"{summary['median_dice_baseline']:.3f} at baseline"
    )


def _whole_number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise SettingsError(f"--subjects {text}: give a number from 2 to 114, or `full`") from None


def _is_complete(out: Path, record: dict[str, Any]) -> bool:
    """Tell whether the same cohort is already in the folder, every file of it."""
    from pipeline.demo.cohort import TRUTH_FILES
    from pipeline.io import read_json, read_table

    sheets = [out / name for name in ("images.tsv", "subjects.tsv", "truth.tsv", "README.txt")]
    if not (out / "dataset.json").is_file() or not all(sheet.is_file() for sheet in sheets):
        return False
    if read_json(out / "dataset.json") != record:
        return False
    truth = read_table(out / "truth.tsv")
    names = [*read_table(out / "images.tsv")["image"], *(truth[list(TRUTH_FILES)].to_numpy().flat)]
    return all((out / name).is_file() for name in names)


def _write_all(tasks: list[tuple[Any, ...]], jobs: int) -> Any:
    """Yield what each subject adds to the sheets, in order, whatever the number of processes."""
    if jobs == 1:
        yield from map(_write_subject, tasks)
        return
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        yield from pool.map(_write_subject, tasks)


def _write_subject(
    task: "tuple[Path, SubjectPlan, Fault | None, int, bool]",
) -> dict[str, list[dict[str, Any]]]:
    """Simulate one subject, write its files and return its rows of images, truth and faults."""
    out, plan, fault, seed, full_resolution = task
    import numpy as np

    from pipeline.demo.cohort import SESSIONS, image_path, image_rows, truth_path, truth_row
    from pipeline.demo.subject import simulate_subject
    from pipeline.io import write_field, write_volume
    from pipeline.types import Volume

    simulated = simulate_subject(plan, seed=seed, full_resolution=full_resolution)
    rows: list[dict[str, Any]] = []
    for session, visit in zip(SESSIONS, (simulated.baseline, simulated.followup), strict=True):
        for phase in range(len(visit.series.time_s)):
            write_volume(out / image_path(plan.subject, session, phase), visit.series.image(phase))
        rows += image_rows(plan.subject, session, visit)
    if fault is not None:
        return {"images": _spoil(out, rows, fault, simulated.baseline.mask), "truth": [],
                "faults": [{"subject": plan.subject, "fault": fault.name,
                            "reason_class": fault.reason_class}]}  # fmt: skip
    masks = {"mask_baseline": simulated.baseline.mask, "mask_followup": simulated.followup.mask}
    for name, mask in masks.items():
        write_volume(out / truth_path(plan.subject, name),
                     Volume(mask.data.astype(np.uint8), mask.grid))  # fmt: skip
    write_volume(out / truth_path(plan.subject, "jacobian"), simulated.jacobian)
    write_field(out / truth_path(plan.subject, "displacement"), simulated.displacement)
    return {"images": rows, "truth": [truth_row(simulated)], "faults": []}


def _spoil(
    out: Path, rows: list[dict[str, Any]], fault: "Fault", mask: Any
) -> list[dict[str, Any]]:
    """Put the defect into the files of a subject and return its rows."""
    from pipeline.io import write_bytes, write_volume

    if fault.corrupt is not None:
        victim = out / rows[-1]["image"]
        write_bytes(victim, fault.corrupt(victim.read_bytes()))
    if fault.mask is not None:
        name = f"images/sub-{rows[0]['subject']}/ses-baseline/mask.nii.gz"
        write_volume(out / name, fault.mask(mask))
        rows = [row | {"mask": name} if row["session"] == "baseline" else row for row in rows]
    if fault.drops_followup:
        rows = [row for row in rows if row["session"] != "followup"]
    return rows


def _write_sheets(
    out: Path, subjects: Any, written: list[dict[str, list[dict[str, Any]]]], seed: int,
    record: dict[str, Any],
) -> None:  # fmt: skip
    import pandas as pd

    from pipeline.io import write_table
    from pipeline.provenance import write_sidecars

    sheets = {"subjects": subjects}
    for name in ("images", "truth", "faults"):
        rows = [row for part in written for row in part[name]]
        if rows:
            sheets[name] = pd.DataFrame(rows)
    for name, frame in sheets.items():
        write_table(out / f"{name}.tsv", frame)
    paths = [out / f"{name}.tsv" for name in sheets]
    write_sidecars(paths, block="demo", inputs=[], settings=record, seed=seed)


def _read_truth(folder: Path, record: dict[str, Any]) -> "Truth":
    from pipeline.demo.score import Truth
    from pipeline.io import read_field, read_mask

    return Truth(
        mean_jacobian=float(record["true_mean_jacobian"]),
        mask_baseline=read_mask(folder / record["mask_baseline"]),
        mask_followup=read_mask(folder / record["mask_followup"]),
        displacement=read_field(folder / record["displacement"]),
    )


def _read_found(study: Path, subject: str) -> "Found | None":
    """Return the results of a subject, or None when the study has none (it was excluded)."""
    from pipeline.demo.score import Found
    from pipeline.io import read_field, read_mask, read_volume

    if not study.is_dir():
        raise ReadError(f"{study}: no such results folder; run the study first")
    base, later = (study / f"sub-{subject}" / f"ses-{s}" for s in ("baseline", "followup"))
    files = (later / "register/jacobian.nii.gz", base / "segment/dce.nii.gz",
             later / "segment/dce.nii.gz", later / "register/displacement.nii.gz")  # fmt: skip
    if not all(path.is_file() for path in files):
        return None
    jacobian, mask_baseline, mask_followup, displacement = files
    return Found(
        jacobian=read_volume(jacobian),
        mask_baseline=read_mask(mask_baseline),
        mask_followup=read_mask(mask_followup),
        displacement=read_field(displacement),
    )
