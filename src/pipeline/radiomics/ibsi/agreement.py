"""Our values against reference values with tolerances, as IBSI's files state them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from pipeline.radiomics.ibsi.registry import FAMILIES

Verdict = Literal["match", "off", "missing", "no_reference"]

#: IBSI states and compares its values at 3 significant digits.
_DIGITS = 3


@dataclass(frozen=True)
class Reference:
    """A reference value.

    Attributes
    ----------
    tag : str
        Of the feature.
    value, tolerance : float or None
        None where IBSI could not agree on a value.
    digits : int
        Significant digits in which the value is stated, at least 3.
    """

    tag: str
    value: float | None
    tolerance: float | None
    digits: int = _DIGITS


@dataclass(frozen=True)
class FamilyAgreement:
    """How many reference values of a family we match, and which we do not."""

    family: str
    stated: int
    matched: int
    off: tuple[str, ...]
    missing: tuple[str, ...]
    without_value: int


def parse_reference(text: str) -> tuple[Reference, ...]:
    """Return the rows of a file ``reference value;tolerance;tag``."""
    found = []
    for line in text.splitlines()[1:]:
        if not line.strip():
            continue
        value, tolerance, tag = (part.strip() for part in line.split(";"))
        if value:
            found.append(Reference(tag, float(value), float(tolerance), _stated_digits(value)))
        else:
            found.append(Reference(tag, None, None))
    return tuple(found)


def verdict(reference: Reference, values: Mapping[str, float]) -> Verdict:
    """Return whether a value lies within the tolerance of its reference.

    It does when it differs by no more than the tolerance, as it is or rounded to the digits of
    the reference: a tolerance of 0 asks for the same 3 digits.
    """
    if reference.tag not in values:
        return "missing"
    if reference.value is None or reference.tolerance is None:
        return "no_reference"
    value = values[reference.tag]
    # The tolerance is a decimal: a difference of just that much shall not fail by rounding.
    limit = reference.tolerance + 1e-9 * abs(reference.value)
    rounded = float(f"{value:.{reference.digits - 1}e}")
    near = min(abs(value - reference.value), abs(rounded - reference.value))
    return "match" if near <= limit else "off"


def by_family(
    references: Iterable[Reference], values: Mapping[str, float]
) -> tuple[FamilyAgreement, ...]:
    """Return the agreement of each family that has references, in the register's order."""
    groups: dict[str, list[Reference]] = {}
    for reference in references:
        groups.setdefault(family_of(reference.tag), []).append(reference)
    order = ["preparation", *(family.name for family in FAMILIES.values())]
    return tuple(_family(name, groups[name], values) for name in sorted(groups, key=order.index))


def family_of(tag: str) -> str:
    """Return the name of the family of a tag."""
    prefix = tag.split("_")[0]
    preparation = tag.endswith(("_img", "_roi")) or prefix not in FAMILIES
    return "preparation" if preparation else FAMILIES[prefix].name


def _family(name: str, references: list[Reference], values: Mapping[str, float]) -> FamilyAgreement:
    verdicts = {r.tag: verdict(r, values) for r in references}

    def with_verdict(wanted: Verdict) -> tuple[str, ...]:
        return tuple(tag for tag, found in verdicts.items() if found == wanted)

    without = len(with_verdict("no_reference"))
    return FamilyAgreement(
        family=name,
        stated=len(verdicts) - without,
        matched=len(with_verdict("match")),
        off=with_verdict("off"),
        missing=with_verdict("missing"),
        without_value=without,
    )


def _stated_digits(text: str) -> int:
    mantissa = text.lower().split("e")[0].lstrip("+-").replace(".", "")
    return max(_DIGITS, len(mantissa.strip("0")))
