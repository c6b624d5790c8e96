"""`medpipe sheets`: the sheets of a study for a public data set as it was unpacked."""

import math
import os
from collections.abc import Callable, Mapping, Sequence
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


@app.command()
def nsclc(
    data: Annotated[Path, typer.Argument(help="Folder with subjects.tsv, images/ and masks/.")],
    out: Annotated[Path, typer.Option(help="Folder for the sheets.")] = Path("demo/nsclc"),
) -> None:
    """Lung cancers of two centres: survival, published features, CT and masks of some.

    Writes images.tsv (who has a scan), subjects.tsv and features.tsv (the published table).

    Example: medpipe sheets nsclc ../shared/data/nsclc
    """
    from pipeline.studies.sheets import nsclc_sheets

    sheets = nsclc_sheets(
        _text_rows(data / "subjects.tsv"),
        _text_rows(data / "published_radiomics.tsv"),
        scans=_subjects_in(data / "images"),
        masks=_subjects_in(data / "masks"),
    )
    _write_sheets(sheets, data, out)
    if all(row["split"] == "test" for row in sheets.subjects):
        typer.echo("nobody is of centre lung1, so all are test rows; to develop, edit column split")


@app.command()
def ispy2(
    data: Annotated[Path, typer.Argument(help="Folder with subjects.tsv.")],
    out: Annotated[Path, typer.Option(help="Folder for the sheet.")] = Path("demo/ispy2"),
) -> None:
    """Women of the I-SPY 2 trial: pathologic complete response and clinical data, no images.

    Example: medpipe sheets ispy2 ../shared/data/ispy2
    """
    from pipeline.studies.sheets import ispy2_sheets

    _write_sheets(ispy2_sheets(_text_rows(data / "subjects.tsv")), data, out)


def _write(data: Path, out: Path, member: str, make: "Callable[[Sequence[str]], Sheets]") -> None:
    cases = (
        [p.name for p in sorted(data.iterdir()) if (p / member).exists()] if data.is_dir() else []
    )
    if not cases:
        raise ReadError(f"{data}: no folder in it holds {member}; give the folder of the data set")
    _write_sheets(make(cases), data, out)


def _write_sheets(sheets: "Sheets", data: Path, out: Path) -> None:
    """Write the sheets, paths relative to the folder they go to."""
    import pandas as pd

    from pipeline.io import write_table

    if sheets.images:
        images = pd.DataFrame([dict(row) for row in sheets.images])
        for column in ("image", "mask", "within"):
            if column in images:
                images[column] = [
                    os.path.relpath(data / path, out) if path else "" for path in images[column]
                ]
        write_table(out / "images.tsv", images)
    if sheets.features:
        write_table(out / "features.tsv", pd.DataFrame([dict(row) for row in sheets.features]))
    write_table(out / "subjects.tsv", pd.DataFrame([dict(row) for row in sheets.subjects]))
    if sheets.left_out:
        typer.echo(f"left out, outcome unknown: {', '.join(sheets.left_out)}")
    scanned = len({row["subject"] for row in sheets.images})
    typer.echo(f"{len(sheets.subjects)} subjects, {scanned} with images: {out / 'subjects.tsv'}")


def _text_rows(path: Path) -> list[Mapping[str, str]]:
    """Read a table with every cell as text: a missing one is empty, 3.0 is 3."""
    from pipeline.io import read_table

    return [
        {str(name): _cell_text(value) for name, value in row.items()}
        for row in read_table(path).to_dict("records")
    ]


def _cell_text(value: object) -> str:
    if isinstance(value, float):
        if math.isnan(value):
            return ""
        exact = value.is_integer() and abs(value) < 2**53
        return str(int(value)) if exact else repr(float(value))
    return str(value)


def _subjects_in(folder: Path) -> set[str]:
    """Return who has a file ``{subject}.nii.gz`` in the folder."""
    ending = ".nii.gz"
    return {p.name.removesuffix(ending) for p in folder.glob(f"*{ending}")}
