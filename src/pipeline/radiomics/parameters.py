"""PyRadiomics' parameter files (setting, imageType, featureClass) as an extraction profile."""

import logging
from collections.abc import Mapping
from typing import Any, get_args

from pipeline.errors import SettingsError
from pipeline.radiomics.calculate import TextureSettings
from pipeline.radiomics.dictionary import CLASS_COUNTS, FeatureClass, features_of
from pipeline.radiomics.profile import (
    SHAPE_2D,
    ExtractionProfile,
    ImageKind,
    ImageType,
    Normalisation,
    Resampling,
    Resegmentation,
)

_LOG = logging.getLogger(__name__)

#: PyRadiomics' image types -> ours.
_KINDS: Mapping[str, ImageKind] = {
    "Original": "original", "Wavelet": "wavelet", "LoG": "log", "Square": "square",
    "SquareRoot": "squareroot", "Logarithm": "logarithm", "Exponential": "exponential",
    "Gradient": "gradient", "LBP2D": "lbp2d", "LBP3D": "lbp3d",
}  # fmt: skip
#: Settings of a filter -> fields of `ImageType`.
_FILTER_FIELDS = {
    "wavelet": "wavelet", "level": "level", "start_level": "start_level",
    "gradientUseSpacing": "gradient_uses_spacing", "lbp2DRadius": "lbp_2d_radius",
    "lbp2DSamples": "lbp_2d_samples", "lbp2DMethod": "lbp_2d_method",
    "lbp3DLevels": "lbp_3d_levels", "lbp3DIcosphereRadius": "lbp_3d_radius",
    "lbp3DIcosphereSubdivision": "lbp_3d_subdivision",
}  # fmt: skip
#: Settings that say how grey levels are made -> fields of `TextureSettings`.
_TEXTURE_FIELDS = {
    "binWidth": "bin_width", "binCount": "bin_count", "voxelArrayShift": "intensity_shift",
    "force2D": "force_2d", "symmetricalGLCM": "symmetrical_glcm", "gldm_a": "gldm_alpha",
}  # fmt: skip
_OTHER = {
    "sigma", "distances", "force2Ddimension", "weightingNorm", "normalize", "normalizeScale",
    "removeOutliers", "resampledPixelSpacing", "interpolator", "padDistance", "resegmentRange",
    "resegmentMode", "resegmentShape", "preCrop", "minimumROIDimensions", "minimumROISize",
    "label",
}  # fmt: skip
#: Read and left aside: they change no value here.
_UNUSED = {"additionalInfo", "geometryTolerance", "correctMask", "label_channel"}
_SETTINGS = {*_FILTER_FIELDS, *_TEXTURE_FIELDS, *_OTHER, *_UNUSED}
#: PyRadiomics computes these only when named: each repeats another feature.
_DEPRECATED = {
    "StandardDeviation", "Compactness1", "Compactness2", "SphericalDisproportion", "Volume",
    "SumVariance", "Homogeneity1", "Homogeneity2", "Dissimilarity",
    "GrayLevelNonUniformityNormalized", "DependencePercentage",
}  # fmt: skip


def profile_from_parameters(document: Any, *, where: str) -> tuple[ExtractionProfile, int | None]:
    """Return the profile that a PyRadiomics parameter file asks for, and its label if it has one.

    Defaults are PyRadiomics' own: the original image, every class, bin width 25, regions of two
    dimensions and two voxels.

    Parameters
    ----------
    document : mapping
        The parsed file, with any of `setting`, `imageType`, `featureClass`, `voxelSetting`.
    where : str
        File, to begin an error with.

    Raises
    ------
    SettingsError
        A name that PyRadiomics does not know, or a value without meaning.
    """
    parts = _mapping(document or {}, where)
    _known(parts, {"setting", "imageType", "featureClass", "voxelSetting"}, where)
    settings = _mapping(parts.get("setting") or {}, f"{where}: setting")
    _known(settings, _SETTINGS, f"{where}: setting")
    for name in sorted(set(settings) & {"geometryTolerance", "correctMask", "label_channel"}):
        _LOG.warning("%s: %s is not used: masks must lie on the grid of their image", where, name)
    image_types = _mapping(parts.get("imageType") or {"Original": {}}, f"{where}: imageType")
    _known(image_types, set(_KINDS), f"{where}: imageType")
    images = tuple(
        _image(name, settings, options or {}, f"{where}: imageType.{name}")
        for name, options in image_types.items()
    )
    asked = _mapping(parts.get("featureClass") or _all_classes(), f"{where}: featureClass")
    classes, features = _features(asked, f"{where}: featureClass")
    resampling = _resampling(settings)
    pad = int(settings.get("padDistance", 5))
    profile = ExtractionProfile(
        images=images,
        classes=classes,
        features=features,
        shape_2d=_wants_shape_2d(asked, settings, where),
        normalisation=_normalisation(settings),
        resampling=resampling,
        resegmentation=_resegmentation(settings),
        crop_pad_voxels=pad if settings.get("preCrop") and not resampling else None,
        min_voxels=int(settings.get("minimumROISize") or 1) + 1,
        min_dimensions=int(settings.get("minimumROIDimensions", 2)),
    )
    label = settings.get("label")
    return profile, None if label is None else int(label)


def _wants_shape_2d(asked: Mapping[str, Any], settings: Mapping[str, Any], where: str) -> bool:
    if "shape2D" not in asked or settings.get("force2D"):
        return "shape2D" in asked
    _LOG.warning("%s: shape2D is left out, as by PyRadiomics: it needs force2D: true", where)
    return False


def _all_classes() -> dict[str, None]:
    return {name: None for name in get_args(FeatureClass) if name in (*CLASS_COUNTS, "ngtdm")}


def _image(
    name: str, settings: Mapping[str, Any], options: Mapping[str, Any], where: str
) -> ImageType:
    _known(_mapping(options, where), _SETTINGS, where)
    merged = {**settings, **options}
    texture: dict[str, Any] = {
        field: merged[theirs]
        for theirs, field in _TEXTURE_FIELDS.items()
        if merged.get(theirs) is not None
    }
    if merged.get("distances"):
        texture["distances"] = tuple(int(d) for d in merged["distances"])
    # PyRadiomics counts (z, y, x), we count (i, j, k).
    texture["force_2d_axis"] = 2 - int(merged.get("force2Ddimension", 0))
    texture["weighting"] = merged.get("weightingNorm") or "none"
    fields = {field: merged[theirs] for theirs, field in _FILTER_FIELDS.items() if theirs in merged}
    return ImageType(
        kind=_KINDS[name],
        texture=TextureSettings(**texture),
        sigma_mm=tuple(merged.get("sigma") or ()),
        **fields,
    )


def _features(
    asked: Mapping[str, Any], where: str
) -> tuple[tuple[FeatureClass, ...], dict[str, tuple[str, ...]]]:
    known = set(get_args(FeatureClass))
    _known(asked, {*known, "shape2D"}, where)
    classes = tuple(name for name in get_args(FeatureClass) if name in asked)
    features = {}
    for name, wanted in asked.items():
        if not wanted:
            continue
        offered = (
            tuple(SHAPE_2D)
            if name == "shape2D"
            else tuple(f.pyradiomics for f in features_of((name,)))
        )
        repeated = sorted(set(wanted) & _DEPRECATED - set(offered))
        if repeated:
            _LOG.warning("%s.%s: left out, they repeat others: %s", where, name, repeated)
        _known(dict.fromkeys(wanted), {*offered, *repeated}, f"{where}.{name}")
        features[name] = tuple(one for one in offered if one in wanted)
    return classes, features


def _normalisation(settings: Mapping[str, Any]) -> Normalisation | None:
    if not settings.get("normalize"):
        return None
    return Normalisation(settings.get("normalizeScale", 1), settings.get("removeOutliers"))


def _resampling(settings: Mapping[str, Any]) -> Resampling | None:
    spacing = settings.get("resampledPixelSpacing")
    interpolator = settings.get("interpolator", "sitkBSpline")
    if spacing is None or interpolator is None:
        return None
    if len(spacing) != 3:
        raise SettingsError(f"resampledPixelSpacing {spacing}; give three numbers, in mm")
    i, j, k = (float(value) for value in spacing)
    return Resampling((i, j, k), "pyradiomics", interpolator, int(settings.get("padDistance", 5)))


def _resegmentation(settings: Mapping[str, Any]) -> Resegmentation | None:
    limits = settings.get("resegmentRange")
    if limits is None:
        return None
    return Resegmentation(
        tuple(limits),
        settings.get("resegmentMode", "absolute"),
        bool(settings.get("resegmentShape", False)),
    )


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise SettingsError(f"{where}: {value!r} is no mapping of names to values; see PyRadiomics")
    return value


def _known(given: Mapping[str, Any], known: set[str], where: str) -> None:
    unknown = sorted(str(name) for name in given if name not in known)
    if unknown:
        raise SettingsError(
            f"{where}: {unknown[0]} is unknown; known are {', '.join(sorted(known))}"
        )
