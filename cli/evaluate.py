"""`medpipe evaluate`: segmentations against references, one case or a cohort."""

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cli.common import EXIT_FAILED_CASES, Quiet, Seed, Threads, beside, progress, set_up
from cli.evaluation_pairs import Pair, find_pairs, read_pair
from pipeline.errors import GeometryError, ImageError, ReadError

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.evaluation.structures import Structure
    from pipeline.evaluation.tables import CaseResult
    from pipeline.report.evaluation_page import ShownCase

#: Key of the block's version in the sidecars.
_BLOCK = "evaluate"

_LOG = logging.getLogger(__name__)


def evaluate(
    reference: Annotated[
        Path | None,
        typer.Argument(help="Reference labels: a file (image or DICOM SEG), or a folder of them."),
    ] = None,
    prediction: Annotated[
        Path | None, typer.Argument(help="Predicted labels: a file, or a folder of equal names.")
    ] = None,
    sheet: Annotated[
        Path | None,
        typer.Option(
            help="Table of cases instead: subject, reference, prediction, perhaps image; paths "
            "relative to the table."
        ),
    ] = None,
    image: Annotated[
        Path | None,
        typer.Option(help="Scan (or folder of them), for pictures and the grid of DICOM SEG."),
    ] = None,
    labels: Annotated[
        str,
        typer.Option(
            help="What to measure: anterior=1,posterior=2,whole=1+2,all=any. Default: every "
            "label of the references."
        ),
    ] = "",
    out: Annotated[
        Path | None, typer.Option(help="Folder. Default: STEM_evaluation beside the prediction.")
    ] = None,
    tolerance_mm: Annotated[float, typer.Option(min=0, help="Of the surface Dice.")] = 2.0,
    plane: Annotated[
        Literal["axial", "coronal", "sagittal"], typer.Option(help="Slices of the Dice by slice.")
    ] = "axial",
    pictures: Annotated[int, typer.Option(min=0, max=24, help="Worst cases to show.")] = 8,
    draws: Annotated[int, typer.Option(min=100, help="Resamples of the intervals.")] = 2000,
    seed: Seed = 20180117,
    threads: Threads = 1,
    quiet: Quiet = False,
) -> None:
    """Measure overlap, surface distances and slices of segmentations, in mm on any grid.

    Writes cases.tsv (a row per case and structure), slices.tsv, summary.tsv (mean, SD, median,
    quartiles, 95 % bootstrap intervals), volumes.tsv (Bland-Altman) and report.html, worst cases
    first. A DICOM SEG is put on the grid of the other mask (or of the scan), and its labels are
    the numbers of its segments. A case that cannot be measured keeps its row, with the reason;
    the others go on, and the exit code is 3.

    Example: medpipe evaluate references predictions --labels anterior=1,posterior=2
    """
    set_up(threads, quiet)
    from pipeline.evaluation.structures import parse_structures
    from pipeline.evaluation.summary import summary_table, volume_agreement, volume_table
    from pipeline.evaluation.tables import case_table, slice_table, structures_found
    from pipeline.io import write_table, write_text
    from pipeline.provenance import write_sidecars
    from pipeline.report.evaluation_page import EvaluationResults, evaluation_page
    from pipeline.report.page import render_page

    asked = parse_structures(labels) if labels else None
    pairs = find_pairs(reference, prediction, sheet, image)
    folder = out or beside(sheet or prediction or Path(), "_evaluation")
    with ThreadPoolExecutor(max_workers=threads) as pool:
        done = pool.map(lambda pair: _measured(pair, asked, tolerance_mm, plane), pairs)
        results = list(progress(done, total=len(pairs), what="cases"))
    structures = asked or structures_found(results)
    cases = case_table(results, structures, tolerance_mm=tolerance_mm)
    slices = slice_table(results, structures)
    settings = {
        "labels": {s.name: s.label for s in structures},
        "tolerance_mm": tolerance_mm,
        "plane": plane,
        "draws": draws,
        "pictures": pictures,
    }
    summary = summary_table(cases, slices, draws=draws, seed=seed)
    agreement = volume_agreement(cases)
    page = evaluation_page(
        EvaluationResults(
            cases=cases,
            summary=summary,
            agreement=agreement,
            settings=settings | {"seed": seed},
            worst=worst_cases(cases, pairs, structures, pictures),
            notes=_label_notes(results, structures),
        )
    )
    tables = {
        "cases.tsv": cases,
        "slices.tsv": slices,
        "summary.tsv": summary,
        "volumes.tsv": volume_table(agreement),
    }
    for name, frame in tables.items():
        write_table(folder / name, frame)
    write_text(folder / "report.html", render_page(page))
    used = [p for pair in pairs for p in (pair.reference, pair.prediction, pair.image) if p]
    write_sidecars(
        [*(folder / name for name in tables), folder / "report.html"],
        block=_BLOCK,
        inputs=[*([sheet] if sheet else []), *used],
        settings=settings,
        seed=seed,
        measured={"cases": len(pairs), "failed": sum(r.measures is None for r in results)},
    )
    typer.echo(str(folder / "report.html"))
    failed = [case for case in results if case.measures is None]
    for case in failed:
        typer.echo(f"not evaluated: {case.subject}: {case.reason}", err=True)
    if failed:
        typer.echo(f"{len(failed)} of {len(results)} cases were not evaluated", err=True)
        raise typer.Exit(EXIT_FAILED_CASES)


def _measured(
    pair: Pair,
    structures: "Sequence[Structure] | None",
    tolerance_mm: float,
    plane: Literal["axial", "coronal", "sagittal"],
) -> "CaseResult":
    """Measure one case; what is wrong with its files becomes the reason of its row."""
    from pipeline.evaluation.case import measure_case
    from pipeline.evaluation.tables import CaseResult

    names = (pair.reference.name, pair.prediction.name if pair.prediction else "")
    if pair.prediction is None:
        reason = f"{pair.reference}: no prediction of this name; segment the case, or remove it"
        return CaseResult(pair.subject, *names, None, reason)
    try:
        measures = measure_case(
            *read_pair(pair),
            structures,
            tolerance_mm=tolerance_mm,
            plane=plane,
            names=(str(pair.reference), str(pair.prediction)),
        )
    except (ReadError, GeometryError, ImageError) as error:
        return CaseResult(pair.subject, *names, None, str(error))
    return CaseResult(pair.subject, *names, measures)


def _label_notes(results: "Sequence[CaseResult]", structures: "Sequence[Structure]") -> list[str]:
    """Return what a reader has to know of labels that were asked for and not found, or not."""
    measured = [case.measures for case in results if case.measures is not None]
    if not measured:
        return []
    references = frozenset().union(*(m.reference_labels for m in measured))
    predictions = frozenset().union(*(m.prediction_labels for m in measured))
    notes = []
    for structure in structures:
        wanted = set(structure.values or references | predictions)
        lacking = [
            whose
            for whose, there in (("reference", references), ("prediction", predictions))
            if not wanted & there
        ]
        notes += [f"{structure.name} (label {structure.label}) is in no {w}." for w in lacking]
    named = {value for structure in structures for value in structure.values}
    unused = sorted((references | predictions) - named)
    if unused and all(structure.values for structure in structures):
        notes.append(f"Labels that were not measured: {', '.join(map(str, unused))}.")
    for note in notes:
        _LOG.warning("%s", note)
    return notes


def worst_cases(
    cases: "pd.DataFrame", pairs: Sequence[Pair], structures: "Sequence[Structure]", most: int
) -> "list[ShownCase]":
    """Return pictures of the cases that agree least, which are read again for it."""
    from pipeline.evaluation.summary import worst_first

    by_subject = {p.subject: p for p in pairs if p.prediction is not None}
    by_name = {structure.name: structure for structure in structures}
    # One picture per case, of its worst structure: one bad case must not fill the page.
    rows = worst_first(cases).drop_duplicates("subject").head(most)
    return [
        _picture(by_subject[row["subject"]], by_name[row["structure"]])
        for _, row in rows.iterrows()
    ]


def _picture(pair: Pair, structure: "Structure") -> "ShownCase":
    from pipeline.io import read_volume
    from pipeline.report.evaluation_page import WORST_PX, ShownCase
    from pipeline.report.evaluation_pictures import disagreement_sheet
    from pipeline.report.panels import sheet_png
    from pipeline.types import Volume

    reference, prediction = read_pair(pair)
    scan, reason = None, "" if pair.image else "No scan was given."
    if pair.image is not None:
        try:
            scan = read_volume(pair.image)
        except (ReadError, GeometryError) as error:
            reason = f"The scan could not be shown: {error}"
            _LOG.warning("%s", error)
    sheet = disagreement_sheet(
        Volume(structure.of(reference.data), reference.grid),
        Volume(structure.of(prediction.data), reference.grid),
        scan,
    )
    return ShownCase(pair.subject, structure.name, sheet_png(sheet, width_px=WORST_PX), reason)
