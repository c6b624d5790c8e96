"""What the options of the radiomics verbs mean: labels, image types, a profile."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from cli.common import numbers
from cli.radiomics_case import Labels
from pipeline.errors import SettingsError

if TYPE_CHECKING:
    from pipeline.radiomics.profile import ExtractionProfile


def parse_labels(text: str, where: str = "--labels") -> Labels:
    """Return the labels that a text names.

    "" is every voxel that is not 0, as one region; "all" each label there is; "1,2" those;
    "tumour=1,node=2" those, with names.
    """
    text = text.strip()
    if not text:
        return None
    if text.lower() == "all":
        return {}
    found: dict[str, int] = {}
    for part in text.split(","):
        name, _, number = (piece.strip() for piece in part.rpartition("="))
        if not number.isdigit() or int(number) == 0:
            raise SettingsError(
                f"{where} {text}: {part!r} names no label; write all, 1,2 or tumour=1,node=2"
            )
        if (name or number) in found:
            raise SettingsError(f"{where} {text}: {name or number} is there twice; name it once")
        found[name or number] = int(number)
    return found


def profile_from_options(
    *,
    kind: str,
    bin_width: float | None,
    bin_count: int | None,
    intensity_shift: float,
    classes: str,
    spacing_mm: float,
    interpolation: str,
    min_voxels: int,
    min_dimensions: int,
    images: str = "original",
    log_sigma: str = "",
) -> "ExtractionProfile":
    """Return the profile that the options of a verb ask for.

    Raises
    ------
    SettingsError
        An image type or class that does not exist, sigma without log, width and count together.
    """
    from pipeline.radiomics.calculate import TextureSettings
    from pipeline.radiomics.extract import DISCRETISATION, check_settings
    from pipeline.radiomics.profile import ExtractionProfile, ImageType, Resampling

    check_settings(bin_width, bin_count, min_dimensions)
    preset = DISCRETISATION[cast(Any, kind)]
    texture = TextureSettings(
        bin_width=bin_width or preset.bin_width,
        bin_count=bin_count,
        intensity_shift=intensity_shift,
    )
    kinds = [part.strip().lower() for part in images.split(",") if part.strip()]
    sigma_mm = numbers(log_sigma, "--log-sigma") if log_sigma else ()
    if sigma_mm and "log" not in kinds:
        raise SettingsError("--log-sigma is for the image type log; add it to --images")
    spacing = (spacing_mm, spacing_mm, spacing_mm)
    return ExtractionProfile(
        images=tuple(
            ImageType(cast(Any, name), texture, sigma_mm if name == "log" else ()) for name in kinds
        ),
        classes=cast(Any, tuple(part.strip() for part in classes.split(","))),
        clip=preset.clip,
        resampling=Resampling(spacing, interpolation=interpolation) if spacing_mm else None,
        min_voxels=min_voxels,
        min_dimensions=min_dimensions,
    )


def profile_from_file(path: Path) -> "tuple[ExtractionProfile, Labels]":
    """Return the profile of a PyRadiomics parameter file, and the label it names."""
    from pipeline.io.yaml_documents import read_yaml
    from pipeline.radiomics.parameters import profile_from_parameters

    profile, label = profile_from_parameters(read_yaml(path), where=path.name)
    return profile, None if label is None else {str(label): label}


def refuse_beside_params(given: Sequence[tuple[str, bool]]) -> None:
    """Refuse options that a parameter file decides."""
    named = [flag for flag, is_given in given if is_given]
    if named:
        raise SettingsError(f"{', '.join(named)} beside --params; write it into the file instead")
