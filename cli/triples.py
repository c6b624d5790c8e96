"""Three numbers of a flag, one for each axis."""

from cli.common import numbers
from pipeline.errors import SettingsError


def triple(text: str, flag: str) -> tuple[float, float, float] | None:
    """Return three numbers above 0 of a flag such as ``1,1,3``; None of an empty one."""
    if not text:
        return None
    values = numbers(text, flag)
    if len(values) != 3 or not all(0 < value < float("inf") for value in values):
        raise SettingsError(f"{flag} {text}: give three numbers above 0, e.g. 1,1,3")
    return values[0], values[1], values[2]


def whole_triple(text: str, flag: str) -> tuple[int, int, int] | None:
    """Return three whole numbers above 0 of a flag such as ``96,96,64``; None of an empty one."""
    values = triple(text, flag)
    if values is None:
        return None
    if any(value != int(value) for value in values):
        raise SettingsError(f"{flag} {text}: give whole numbers")
    return int(values[0]), int(values[1]), int(values[2])
