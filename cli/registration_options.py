"""Options of the verbs that register images, and the settings that they make.

Parameters are in mm. An option that only one engine reads says so.
"""

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pipeline.registration.engine import RegistrationSettings

PhaseTime = Annotated[
    float, typer.Option(help="Of a 4-D series, the phase nearest to this time is used.")
]
Engine = Annotated[
    str, typer.Option(help="torch, or simpleitk: the reference that torch is measured against.")
]
Deformable = Annotated[
    str,
    typer.Option(
        help="After the affine stage: diffeomorphic (torch), bspline or demons (simpleitk), none; "
        "auto is the engine's own."
    ),
]
Metric = Annotated[
    str,
    typer.Option(
        help="torch only: compare by lncc (in a window), ssd (same scanner and contrast) or mi "
        "(other contrast)."
    ),
]
Device = Annotated[str, typer.Option(help="torch only: auto, cpu or cuda.")]
AffineMetric = Annotated[
    str, typer.Option(help="Of the affine stage: correlation or mutual-information.")
]
GridMm = Annotated[
    float | None,
    typer.Option(
        help="Distance of the spline's coefficients. Default: 6 or 3 voxels (torch), 8 (simpleitk)."
    ),
]
BendingMm = Annotated[
    float | None,
    typer.Option(
        help="Weight of bending, as a length; more gives a smoother map. "
        "Default: 1 (torch), 0.55 (simpleitk)."
    ),
]
RobustPerMm = Annotated[
    float,
    typer.Option(help="torch only: bending, per mm, from which on more of it costs hardly more."),
]
MatchWindowMm = Annotated[
    float, typer.Option(help="SD of the window in which intensities are matched.")
]
ReachMm = Annotated[
    float,
    typer.Option(help="How far the map reaches into matter without contrast."),
]
CompareWithin = Annotated[
    str,
    typer.Option(help="Compare the images everywhere (image) or near the fixed mask (mask)."),
]
MaskMarginMm = Annotated[float, typer.Option(help="For --compare-within mask: how near.")]
AlignCentres = Annotated[
    bool,
    typer.Option("--align-centres", help="Accept images that lie apart; start from their centres."),
]
InverseConsistency = Annotated[
    bool, typer.Option(help="Also register the other way round and measure the difference.")
]
Pictures = Annotated[
    bool, typer.Option(help="Draw checkerboard.png, grid.png and convergence.png.")
]
Seed = Annotated[
    int,
    typer.Option(min=0, help="simpleitk only: of the affine stage's points. torch draws nothing."),
]


def limit_threads(threads: int, engine: str) -> None:
    """Limit the threads of ITK, and of torch where it is the engine."""
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
    if engine == "torch":
        import torch

        torch.set_num_threads(threads)


def settings_from(**options: Any) -> "RegistrationSettings":
    """Return the settings of options named like the fields of `RegistrationSettings`.

    Raises
    ------
    SettingsError
        A value has no meaning; names what is allowed.
    """
    from pipeline.registration.engine import RegistrationSettings

    return RegistrationSettings(**options)
