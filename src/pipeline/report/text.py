"""Numbers as a reader wants them: rounded, with a sign for what is missing."""

import json
import math
from collections.abc import Mapping
from typing import Any

MISSING = "–"  # noqa: RUF001


def number(value: Any, digits: int = 3) -> str:
    """Return a number with fixed decimals; a dash when it is missing."""
    return f"{float(value):,.{digits}f}" if is_number(value) else MISSING


def significant(value: Any, digits: int = 3) -> str:
    """Return a number with so many significant digits; a dash when it is missing."""
    if not is_number(value):
        return MISSING
    size = abs(float(value))
    if size and (size >= 1e6 or size < 1e-3):
        return f"{float(value):.{digits - 1}e}"
    decimals = digits - 1 - math.floor(math.log10(size)) if size else 0
    return f"{float(value):,.{max(decimals, 0)}f}"


def interval(low: Any, high: Any, digits: int = 2) -> str:
    """Return "0.70 to 0.92"; a dash when an end is missing."""
    if not (is_number(low) and is_number(high)):
        return MISSING
    return f"{number(low, digits)} to {number(high, digits)}"


def p_value(value: Any) -> str:
    """Return a p value with two significant digits, never 0; a dash when it is missing."""
    if not is_number(value):
        return MISSING
    if value < 0.001:
        return "< 0.001"
    return f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def percent(value: Any, digits: int = 0) -> str:
    """Return a share as a percentage; a dash when it is missing."""
    return f"{100 * float(value):.{digits}f} %" if is_number(value) else MISSING


def is_number(value: Any) -> bool:
    """Tell whether a value is a finite number."""
    try:
        return math.isfinite(float(value))
    except (TypeError, ValueError):
        return False


def flatten(record: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested settings as dotted names and short texts, sorted by name."""
    flat: dict[str, str] = {}
    for name in sorted(record):
        value = record[name]
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = _short(value)
    return flat


def _short(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(_short(item) for item in value)
    return json.dumps(value, default=str)
