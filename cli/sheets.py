"""`medpipe sheets`: the two sheets for a public data set as it was unpacked."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.errors import ReadError

if TYPE_CHECKING:
    from pipeline.studies.sheets import Sheets

app = typer.Typer(help="Write images.tsv and subjects.tsv for a public data set.")

Data = Annotated[Path, typer.Argument(help="Folder of the data set, a folder per subject.")]


@app.command()
def glioma(
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder for the sheets.")] = Path("demo/glioma"),
) -> None:
    """Gliomas with contrast T1 and a tumour mask before and after treatment.

    Example: medpipe sheets glioma ../shared/data/glioma_longitudinal
    """
    from pipeline.studies.sheets import glioma_sheets

    _write(data, out, "Pre_Scan_T1.nii.gz", glioma_sheets)


@app.command()
def breast(
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder for the sheets.")] = Path("demo/breast"),
) -> None:
    """Breast DCE-MRI as DICOM with a whole-breast DICOM segmentation.

    Example: medpipe sheets breast ../shared/data/breast_dce
    """
    from pipeline.studies.sheets import breast_sheets

    _write(data, out, "image_dce_3dfgre_orig", breast_sheets)


def _write(data: Path, out: Path, member: str, make: "Callable[[Sequence[str]], Sheets]") -> None:
    import pandas as pd

    from pipeline.io import write_table

    cases = (
        [p.name for p in sorted(data.iterdir()) if (p / member).exists()] if data.is_dir() else []
    )
    if not cases:
        raise ReadError(f"{data}: no folder in it holds {member}; give the folder of the data set")
    sheets = make(cases)
    images = pd.DataFrame([dict(row) for row in sheets.images])
    for column in ("image", "mask", "within"):
        if column in images:
            images[column] = [
                os.path.relpath(data / path, out) if path else "" for path in images[column]
            ]
    write_table(out / "images.tsv", images)
    write_table(out / "subjects.tsv", pd.DataFrame([dict(row) for row in sheets.subjects]))
    typer.echo(f"{len(cases)} subjects: {out / 'images.tsv'}")
