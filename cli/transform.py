"""`medpipe transform`: carry images, labels and points through transforms; invert and compose."""

from pathlib import Path
from typing import Annotated, Any, cast

import typer

from cli import transform_files as files
from cli.common import Quiet, Threads, beside, set_up
from pipeline.errors import GeometryError, SettingsError

app = typer.Typer(
    no_args_is_help=True,
    help="Apply, invert and compose displacement fields and affine transforms.",
)

Chain = Annotated[
    list[str],
    typer.Argument(
        metavar="TRANSFORM...",
        help="Fields (.nii.gz, .mha, .nrrd) and affine transforms (.tfm, .txt, ANTs' .mat), in the "
        "order in which a point of the fixed image (the output grid) goes through them on its way "
        "to the moving image: the same order as `antsApplyTransforms -t` and `greedy -r`. "
        "NAME,-1 or [NAME,1] means the inverse.",
    ),
]
Like = Annotated[
    Path | None,
    typer.Option(help="Image on the output grid. Default: the grid of the first field."),
]


@app.command()
def apply(
    moving: Annotated[
        Path,
        typer.Argument(
            help="Image, labels, or a table (.tsv, .csv) of points with the columns x_mm, y_mm, "
            "z_mm in LPS."
        ),
    ],
    chain: Chain,
    like: Like = None,
    out: Annotated[
        Path | None, typer.Option(help="Result. Default: STEM_warped.nii.gz or STEM_moved.tsv.")
    ] = None,
    interpolation: Annotated[
        str,
        typer.Option(
            help="linear, bspline3, nearest, hamming, cosine, welch, lanczos or blackman."
        ),
    ] = "linear",
    labels: Annotated[
        bool | None,
        typer.Option(
            "--labels/--image",
            help="The numbers are labels (nearest neighbour, type kept), or surely intensities.",
        ),
    ] = None,
    outside: Annotated[
        float | None,
        typer.Option(help="Value outside the moving image. Default: its least; of labels 0."),
    ] = None,
    backwards: Annotated[
        bool,
        typer.Option("--backwards", help="Go through the chain from its end, each link inverted."),
    ] = False,
    threads: Threads = 1,
    quiet: Quiet = False,
) -> None:
    """Carry an image, labels or points through a chain of transforms.

    The field of `medpipe register` holds the affine part: it is the whole chain. An image is
    drawn onto the output grid; points of a table go with the chain, from the fixed image to the
    moving one, so that landmarks of the moving image need --backwards.

    Example, a field and an affine transform of ANTs, field first:
    medpipe transform apply moving.nii.gz 1Warp.nii.gz 0GenericAffine.mat --like fixed.nii.gz

    Example: medpipe transform apply landmarks.tsv displacement.nii.gz --backwards
    """
    set_up(threads, quiet)
    files.limit_threads(threads)
    from pipeline.io import write_volume
    from pipeline.registration import fields
    from pipeline.registration.chain import backwards as turned
    from pipeline.registration.chain import compose_chain

    links = files.read_chain(chain)
    if backwards:
        links = turned(links)
    settings: dict[str, Any] = {"chain": files.described(links)}
    inputs = [moving, *files.paths(links)]
    if moving.suffix.lower() in (".tsv", ".csv"):
        target, found = files.move_points(moving, links, out)
        files.record(target, inputs, settings, found)
        typer.echo(str(target))
        return
    if interpolation not in fields.INTERPOLATIONS:
        known = ", ".join(fields.INTERPOLATIONS)
        raise SettingsError(f"--interpolation {interpolation} is unknown; choose one of {known}")
    kind = "nearest" if labels else interpolation
    image = files.read_image(moving, kind, labels)
    whole = compose_chain(links, files.output_grid(like, links))
    if not fields.reaches(whole.field, image.grid).any():
        raise GeometryError(
            f"{moving}: the chain sends no point of the output grid into this image; check the "
            "order of the chain, what is inverted (NAME,-1), and the output grid (--like)"
        )
    if outside is None:
        outside = 0.0 if labels else float(image.data.min())
    warped = fields.warp(image, whole.field, interpolation=cast(Any, kind), outside=outside)
    files.warn_of(whole, links)
    if labels:
        files.warn_lost_labels(image, warped)
    target = out or beside(moving, "_warped.nii.gz")
    write_volume(target, warped)
    settings |= {"interpolation": kind, "labels": bool(labels), "outside": outside}
    files.record(target, [*inputs, *files.given(like)], settings, files.measured(whole))
    typer.echo(str(target))


@app.command()
def invert(
    transform: Annotated[Path, typer.Argument(help="Displacement field or affine transform.")],
    like: Annotated[
        Path | None,
        typer.Option(help="Image on the grid of the inverse, the moving image. Default: its own."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Result. Default: STEM_inverse.nii.gz or .tfm.")
    ] = None,
    allow_folds: Annotated[
        bool, typer.Option("--allow-folds", help="Invert a folding field where that is possible.")
    ] = False,
    threads: Threads = 1,
    quiet: Quiet = False,
) -> None:
    """Write the transform that undoes another one, and say how well it does.

    Example: medpipe transform invert displacement.nii.gz --like followup.nii.gz
    """
    set_up(threads, quiet)
    files.limit_threads(threads)
    from pipeline.io import read_series, write_affine, write_field
    from pipeline.registration.chain import as_matrix
    from pipeline.registration.inverse import invert as invert_field
    from pipeline.types import DisplacementField

    link = files.read_chain([f"{transform},-1"])[0]
    matrix = as_matrix([link])
    if matrix is not None:
        target = out or beside(transform, "_inverse.tfm")
        write_affine(target, matrix)
        files.record(target, [transform], {}, {})
        typer.echo(str(target))
        return
    field = cast(DisplacementField, link.map)
    folds = files.check_folds(transform, field, allow_folds)
    found = invert_field(field, None if like is None else read_series(like).grid)
    if not found.inside.any():
        raise GeometryError(
            f"{transform}: the field sends no point onto the grid of {like or 'its own'}; give the "
            "moving image of the registration with --like"
        )
    inside = found.residual_mm[found.inside]
    measured = {
        "inverse_residual_mean_mm": float(inside.mean()),
        "inverse_residual_max_mm": float(inside.max()),
        "covered_fraction": float(found.inside.mean()),
        "not_inverted_voxels": files.warn_not_inverted(
            found.residual_mm * found.inside, found.field.grid
        ),
        "folding_voxels": folds,
    }
    target = out or beside(transform, "_inverse.nii.gz")
    write_field(target, found.field)
    inputs = [transform, *files.given(like)]
    files.record(target, inputs, {"allow_folds": allow_folds}, measured)
    typer.echo(
        f"error mean {inside.mean():.2g} mm, largest {inside.max():.2g} mm, where the field gives "
        f"an inverse ({found.inside.mean():.1%} of the points): {target}"
    )


@app.command()
def compose(
    chain: Chain,
    like: Like = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Result. Default: FIRST_composed.nii.gz; .tfm for an affine chain."),
    ] = None,
    threads: Threads = 1,
    quiet: Quiet = False,
) -> None:
    """Write a chain as one field, or an affine chain as one .tfm; say what is lost.

    Example: medpipe transform compose v2_to_v1.nii.gz v3_to_v2.nii.gz --out v3_to_v1.nii.gz
    """
    set_up(threads, quiet)
    from pipeline.io import write_affine, write_field
    from pipeline.registration.chain import as_matrix, compose_chain

    links = files.read_chain(chain)
    matrix = as_matrix(links)
    first = files.paths(links)[0]
    wants_affine = out is not None and out.suffix.lower() in (".tfm", ".txt")
    if wants_affine and matrix is None:
        raise SettingsError(f"--out {out}: a chain with a field in it is no affine; use .nii.gz")
    settings = {"chain": files.described(links)}
    inputs = [*files.paths(links), *files.given(like)]
    if matrix is not None and (wants_affine or out is None):
        target = out or beside(first, "_composed.tfm")
        write_affine(target, matrix)
        files.record(target, inputs, settings, {})
        typer.echo(str(target))
        return
    found = compose_chain(links, files.output_grid(like, links))
    files.warn_of(found, links)
    target = out or beside(first, "_composed.nii.gz")
    write_field(target, found.field)
    files.record(target, inputs, settings, files.measured(found))
    typer.echo(
        f"exact at the voxels; between them off by {found.between_mean_mm:.2g} mm in the mean, "
        f"{found.between_max_mm:.2g} mm at most: {target}"
    )
