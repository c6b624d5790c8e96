"""What is varied: the map, the grid, the noise, the contrast. One table."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Variant:
    """One way to change the lesion and the images.

    Attributes
    ----------
    name : str
    strength : float
        a of the map: above 0 the lesion shrinks, below 0 it grows.
    noise : float
        SD of the noise of both images, as a part of the range from air to the 99th percentile.
    shift_mm, turn_deg : floats
        Rigid motion besides; engines then start with an affine stage.
    spacing_mm : three floats, optional
        Another grid over the same box; slices thicker than 3 mm are averages.
    lesion_gain : float
        Brightness of the lesion in the moving image over that in the fixed one.
    gamma : float
        Exponent on the whole moving image's intensities, between air and bright end.
    """

    name: str
    strength: float = 0.3
    noise: float = 0.02
    shift_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    turn_deg: float = 0.0
    spacing_mm: tuple[float, float, float] | None = None
    lesion_gain: float = 1.0
    gamma: float = 1.0

    @property
    def moved(self) -> bool:
        """Whether the images are out of place, so that an affine stage is due."""
        return any(self.shift_mm) or self.turn_deg != 0


VARIANTS: dict[str, Variant] = {
    variant.name: variant
    for variant in (
        Variant("shrink"),
        Variant("growth", strength=-0.3),
        Variant("moved", shift_mm=(4.0, -3.0, 2.0), turn_deg=3.0),
        Variant("thick", spacing_mm=(0.9, 0.9, 6.0)),
        Variant("noise0", noise=0.0),
        Variant("noise1", noise=0.01),
        Variant("noise5", noise=0.05),
        Variant("noise10", noise=0.10),
        Variant("gain", lesion_gain=1.3),
        Variant("gamma", gamma=0.7),
    )
}
