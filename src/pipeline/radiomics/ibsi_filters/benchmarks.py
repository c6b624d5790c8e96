"""The IBSI's benchmark configurations of the filters: phase 1 (maps) and phase 2 (features).

Where a setting comes from: phase 1, tests 1 to 8, and phase 2, tests 1 to 9, were read from the
published test suites of three programs that took part in or were checked against the benchmark
(MIRP, KCL-IBSI-2, Z-Rad), which agree; tests 9.a, 9.b.1 and 10.b.1 from Z-Rad's. Tests 9.b.2, 10.a
and 10.b.2 of phase 1 have no reference map: their boundary is that of their neighbours, their
scale of steering (1 mm) a guess. Tests 10.A and 10.B of phase 2 reached no consensus either: 10.A
is the closest of some forty combinations to statistics that Z-Rad's authors quote (the extremes
agree, mean and median do not), so it proves nothing about the Riesz transform; 10.B is its 3D
likeness.
"""

from dataclasses import dataclass, replace
from typing import Literal

from pipeline.radiomics.ibsi_filters.settings import (
    Boundary,
    FilterSettings,
    GaborSettings,
    LawsSettings,
    LogSettings,
    MeanSettings,
    NonSeparableSettings,
    RieszSettings,
    WaveletSettings,
)

#: "published": read from public test suites; "reconstructed": partly from the manual's text.
Source = Literal["published", "reconstructed"]


@dataclass(frozen=True)
class FilterTest:
    """A benchmark: which image is filtered how.

    Attributes
    ----------
    image : str
        Name of the digital phantom; ``ct`` for the chest CT of phase 2.
    settings : FilterSettings or None
        The filter; None leaves the image as it is.
    source : Source
        Where the settings come from.
    has_reference : bool
        The IBSI reached consensus and gives a reference.
    """

    image: str
    settings: FilterSettings | None
    source: Source = "published"
    has_reference: bool = True


def _phase1() -> dict[str, FilterTest]:
    board = {
        **_mean_tests(),
        "2.b": LogSettings(sigma_mm=5.0, boundary="mirror"),
        "2.c": LogSettings(sigma_mm=5.0, boundary="mirror", by_slice=True),
        **_laws_tests("b", LawsSettings(kernels="E3W5R5", boundary="mirror")),
        **_laws_tests("c", LawsSettings(kernels="L5S5", boundary="mirror", by_slice=True)),
        "7.a.1": _haar("LLL"),
        "7.a.2": _haar("HHH"),
        **{
            f"8.a.{level}": NonSeparableSettings(level=level, boundary="periodic")
            for level in (1, 2, 3)
        },
    }
    impulse = {
        "1.b.1": MeanSettings(support=15, boundary="zero", by_slice=True),
        "2.a": LogSettings(sigma_mm=3.0, boundary="zero"),
        **_laws_tests("a", LawsSettings(kernels="E5L5S5", boundary="zero")),
        **_gabor_tests(
            "a", GaborSettings(sigma_mm=10.0, lambda_mm=4.0, gamma=0.5, boundary="zero"), 60.0, 45.0
        ),
        **_wavelet_tests("5", WaveletSettings(family="db2", subband="LHL", boundary="zero")),
    }
    sphere = {
        **_gabor_tests(
            "b",
            GaborSettings(sigma_mm=20.0, lambda_mm=8.0, gamma=2.5, boundary="mirror"),
            225.0,
            22.5,
        ),
        **_wavelet_tests("6", WaveletSettings(family="coif1", subband="HHL", boundary="periodic")),
    }
    named = {"checkerboard": board, "impulse": impulse, "sphere": sphere}
    tests = {
        name: FilterTest(image, settings)
        for image, group in named.items()
        for name, settings in group.items()
    }
    return dict(sorted((tests | _riesz_tests()).items(), key=_in_order))


def _in_order(item: tuple[str, FilterTest]) -> tuple[int, str]:
    number, rest = item[0].split(".", 1)
    return int(number), rest


def _mean_tests() -> dict[str, FilterSettings]:
    boundaries: tuple[Boundary, ...] = ("zero", "nearest", "periodic", "mirror")
    return {
        f"1.a.{number}": MeanSettings(support=15, boundary=boundary)
        for number, boundary in enumerate(boundaries, start=1)
    }


def _laws_tests(letter: str, plain: LawsSettings) -> dict[str, FilterSettings]:
    turned = replace(plain, rotation_invariant=True, pooling="max")
    energy = replace(turned, energy_distance=7)
    return {f"3.{letter}.1": plain, f"3.{letter}.2": turned, f"3.{letter}.3": energy}


def _gabor_tests(
    letter: str, base: GaborSettings, theta_deg: float, step_deg: float
) -> dict[str, FilterSettings]:
    return {
        f"4.{letter}.1": replace(base, theta_deg=theta_deg, by_slice=True),
        f"4.{letter}.2": replace(base, delta_theta_deg=step_deg),
    }


def _wavelet_tests(number: str, plain: WaveletSettings) -> dict[str, FilterSettings]:
    turned = replace(plain, rotation_invariant=True, pooling="mean")
    return {f"{number}.a.1": plain, f"{number}.a.2": turned}


def _haar(subband: str) -> WaveletSettings:
    return WaveletSettings(
        family="haar", subband=subband, level=2, boundary="mirror", rotation_invariant=True
    )


def _riesz_tests() -> dict[str, FilterTest]:
    scale, wave = LogSettings(sigma_mm=3.0), NonSeparableSettings(level=1)
    along_i, along_j = (1, 0, 0), (0, 2, 0)
    log_i = RieszSettings(of=scale, order=along_i, boundary="zero")
    log_j = RieszSettings(of=scale, order=along_j, boundary="zero")
    wave_i = RieszSettings(of=wave, order=along_i, boundary="zero")
    wave_j = RieszSettings(of=wave, order=along_j, boundary="nearest")
    guessed: tuple[Source, bool] = ("reconstructed", False)
    return {
        "9.a": FilterTest("impulse", log_i),
        "9.b.1": FilterTest("sphere", log_j),
        "9.b.2": FilterTest("sphere", replace(log_j, tensor_sigma_mm=1.0), *guessed),
        "10.a": FilterTest("impulse", wave_i, *guessed),
        "10.b.1": FilterTest("pattern_1", wave_j),
        "10.b.2": FilterTest("pattern_1", replace(wave_j, tensor_sigma_mm=1.0), *guessed),
    }


def _phase2(by_slice: bool) -> tuple[FilterSettings | None, ...]:
    """Return filters 1 to 9 of configuration A (by slice) or B (3D, 1 mm voxels)."""
    laws = LawsSettings(
        kernels="L5E5" if by_slice else "L5E5E5",
        rotation_invariant=True,
        energy_distance=7,
        by_slice=by_slice,
    )
    gabor = GaborSettings(
        sigma_mm=5.0, lambda_mm=2.0, gamma=1.5, delta_theta_deg=22.5, by_slice=by_slice
    )
    fine = WaveletSettings(
        family="db3",
        subband="LH" if by_slice else "LLH",
        rotation_invariant=True,
        by_slice=by_slice,
    )
    wave = NonSeparableSettings(boundary="periodic", by_slice=by_slice)
    return (
        None,
        MeanSettings(support=5, by_slice=by_slice),
        LogSettings(sigma_mm=1.5, by_slice=by_slice),
        laws,
        gabor,
        fine,
        replace(fine, subband="HH" if by_slice else "HHH", level=2),
        wave,
        replace(wave, level=2),
    )


def _phase2_riesz(by_slice: bool) -> RieszSettings:
    """Return filter 10: no consensus, settings found by matching one participant's statistics."""
    order = (0, 2) if by_slice else (0, 2, 0)
    return RieszSettings(
        of=NonSeparableSettings(level=1), order=order, boundary="nearest", by_slice=by_slice
    )


#: Test of phase 1 ("3.a.1") -> digital phantom and filter.
PHASE1: dict[str, FilterTest] = _phase1()

#: Test of phase 2 ("4.B") -> filter of the chest CT; boundary mirror (Simoncelli: periodic).
#: A: the CT as it is, by slice. B: image and mask resampled to 1 mm (cubic spline, linear),
#: intensities rounded, 3D. Both: intensity statistics inside the mask where the unfiltered image
#: is within -1000 and 400 HU.
PHASE2: dict[str, FilterTest] = {
    **{
        f"{number}.{letter}": FilterTest("ct", settings)
        for letter, by_slice in (("A", True), ("B", False))
        for number, settings in enumerate(_phase2(by_slice), start=1)
    },
    "10.A": FilterTest("ct", _phase2_riesz(True), "reconstructed", has_reference=False),
    "10.B": FilterTest("ct", _phase2_riesz(False), "reconstructed", has_reference=False),
}
