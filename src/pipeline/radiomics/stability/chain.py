"""Which perturbations an image goes through: the steps, their levels, and a draw of them."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np

from pipeline.errors import SettingsError
from pipeline.radiomics.stability.placement import Axis, Placement

Step = Literal["noise", "translate", "rotate", "grow", "contour"]

#: In the order in which they are applied.
STEPS: tuple[Step, ...] = get_args(Step)

#: The letters of Zwanenburg et al. 2019 (V: volume adaptation), and A for the same.
_LETTERS: dict[str, Step] = {
    "N": "noise", "T": "translate", "R": "rotate", "V": "grow", "A": "grow", "C": "contour",
}  # fmt: skip


@dataclass(frozen=True)
class Chain:
    """Steps and levels; the numbers are our choice within those of Zwanenburg et al. 2019.

    Attributes
    ----------
    steps : tuple of Step
        Which perturbations are applied, always in the order of `STEPS`: noise on the image as
        acquired, translation and rotation in one interpolation, then the outline.
    noise_sd : float, optional
        Of the added noise, in intensity units; estimated from the image when None.
    translations_voxels : tuple of floats
        Along each of the three axes; all triples occur.
    angles_deg : tuple of floats
        Of the rotation.
    rotation : "in_plane" or "3d"
        Round the axis of the slices, or round a random direction for each perturbation.
    volume_fractions : tuple of floats
        Change of the volume: -0.1 is a tenth less.
    supervoxel_mm3 : float
        Volume of the supervoxels that make the outline.
    """

    steps: tuple[Step, ...] = ("noise", "translate", "grow", "contour")
    noise_sd: float | None = None
    translations_voxels: tuple[float, ...] = (0.25, 0.75)
    angles_deg: tuple[float, ...] = (-12.0, -8.0, -4.0, 4.0, 8.0, 12.0)
    rotation: Literal["in_plane", "3d"] = "in_plane"
    volume_fractions: tuple[float, ...] = (-0.2, -0.1, 0.1, 0.2)
    supervoxel_mm3: float = 250.0

    def __post_init__(self) -> None:
        """Refuse what has no meaning, and bring the steps into order."""
        unknown = [step for step in self.steps if step not in STEPS]
        if unknown or not self.steps or len(set(self.steps)) < len(self.steps):
            what = f"step {unknown[0]!r} is unknown" if unknown else "each step once, at least one"
            raise SettingsError(f"chain {','.join(self.steps)!r}: {what}; of {', '.join(STEPS)}")
        object.__setattr__(self, "steps", tuple(step for step in STEPS if step in self.steps))
        if self.rotation not in ("in_plane", "3d"):
            raise SettingsError(f"rotation {self.rotation!r} is neither in_plane nor 3d")
        if self.noise_sd is not None and not 0 <= self.noise_sd < np.inf:
            raise SettingsError(f"noise of standard deviation {self.noise_sd:g}: give 0 or more")
        if not all(-1 < fraction < np.inf for fraction in self.volume_fractions):
            raise SettingsError(f"volume fractions {self.volume_fractions}: each must be above -1")

    @property
    def letters(self) -> str:
        """Return the chain in letters, e.g. NTVC."""
        return "".join(next(c for c, s in _LETTERS.items() if s == step) for step in self.steps)


@dataclass(frozen=True)
class Perturbation:
    """One combination of levels.

    Attributes
    ----------
    number : int
        From 1.
    placement : Placement
        Translation and rotation.
    volume_fraction : float
        0 without growth.
    seed : int
        Of noise, of voxels at equal distance, and of the supervoxels.
    """

    number: int
    placement: Placement = field(default_factory=Placement)
    volume_fraction: float = 0.0
    seed: int = 0


def parse_steps(text: str) -> tuple[Step, ...]:
    """Return the steps of ``noise,translate,grow`` or of letters such as ``NTVC``.

    Raises
    ------
    SettingsError
        A word or letter without meaning.
    """
    names: Sequence[Any] = [word.strip() for word in text.split(",") if word.strip()]
    if len(names) == 1 and names[0].isupper():
        names = [_LETTERS.get(letter, letter) for letter in names[0]]
    return Chain(steps=tuple(names)).steps


def perturbations(chain: Chain, *, repeats: int | None = None, seed: int) -> list[Perturbation]:
    """Return the perturbations of a chain.

    Parameters
    ----------
    chain : Chain
        Steps and levels.
    repeats : int, optional
        How many. Up to the number of combinations of levels they are drawn without replacement;
        beyond it, which noise or contours allow, all occur equally often, give or take one. None
        gives every combination once.
    seed : int
        Of the draw and of what is random in a perturbation. Same seed, same list; a longer list
        begins otherwise.

    Raises
    ------
    SettingsError
        More repeats than combinations where nothing else differs, or fewer than two.
    """
    combinations = _combinations(chain)
    wanted = len(combinations) if repeats is None else repeats
    rounds, rest = divmod(wanted, len(combinations))
    if wanted < 2:
        raise SettingsError(f"{wanted} perturbations: stability needs two or more")
    if wanted > len(combinations) and not {"noise", "contour"} & set(chain.steps):
        raise SettingsError(
            f"{wanted} perturbations wanted, but {','.join(chain.steps)} has only "
            f"{len(combinations)} combinations; ask for fewer, or add noise or contour"
        )
    rng = np.random.default_rng(seed)
    drawn = np.sort(rng.choice(len(combinations), size=rest, replace=False)).tolist()
    chosen = [*range(len(combinations))] * rounds + drawn
    seeds = np.random.SeedSequence(seed).generate_state(wanted).tolist()
    found = []
    for number, (index, own) in enumerate(zip(chosen, seeds, strict=True), start=1):
        shift, angle, fraction = combinations[index]
        placement = Placement(shift, angle, _axis(chain, rng))
        found.append(Perturbation(number, placement, fraction, int(own)))
    return found


def _combinations(chain: Chain) -> list[tuple[tuple[float, float, float], float, float]]:
    shifts: list[tuple[float, float, float]] = [(0.0, 0.0, 0.0)]
    if "translate" in chain.steps:
        levels = chain.translations_voxels
        shifts = [(i, j, k) for i, j, k in itertools.product(levels, levels, levels)]
    angles = chain.angles_deg if "rotate" in chain.steps else (0.0,)
    fractions = chain.volume_fractions if "grow" in chain.steps else (0.0,)
    found = list(itertools.product(shifts, angles, fractions))
    if not found:
        raise SettingsError("a step of the chain has no level; give each one value or more")
    return found


def _axis(chain: Chain, rng: np.random.Generator) -> Axis:
    if chain.rotation == "in_plane" or "rotate" not in chain.steps:
        return "slice"
    x, y, z = (float(v) for v in rng.standard_normal(3))
    return x, y, z
