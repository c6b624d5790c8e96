"""Round ticks of an axis, as R's ``pretty`` chooses them."""

import numpy as np


def pretty(low: float, high: float, count: int) -> tuple[float, ...]:
    """Return round numbers that cover [low, high] in about `count` steps, as R's ``pretty``.

    The step is 1, 2, 5 or 10 times a power of ten; larger steps are favoured a little (biases
    1.5 and 2.75), and there are at least ``count // 3`` steps.

    References
    ----------
    Becker, Chambers and Wilks, The New S Language (1988); R's documentation of ``pretty``.
    """
    bias, bias5, rounding, least = 1.5, 2.75, 1e-10, count // 3
    extent, cell = high - low, max(abs(low), abs(high))
    tiny = 1 + (1 / (1 + bias) if bias5 >= 1.5 * bias + 0.5 else 1.5 / (1 + bias5))
    if extent == 0 and high == 0:
        cell, small = 1.0, True
    else:
        small = bool(extent < cell * tiny * max(1, count) * np.finfo(float).eps * 3)
    if small:
        cell = (9 + cell / 10 if cell > 10 else cell) * 0.75
        cell = cell / least if least > 1 else cell
    else:
        cell = extent / count if count > 1 else extent
    unit = _round_step(cell, bias, bias5)
    first, last = np.floor(low / unit + rounding), np.ceil(high / unit - rounding)
    while first * unit > low + rounding * unit:
        first -= 1
    while last * unit < high - rounding * unit:
        last += 1
    first, last = _at_least(int(first), int(last), least, low, high)
    return _even(first * unit, last * unit, last - first)


def _round_step(cell: float, bias: float, bias5: float) -> float:
    base = 10.0 ** np.floor(np.log10(cell))
    unit = base
    for factor, weight in ((2, bias), (5, bias5), (10, bias)):
        if not factor * base - cell < weight * (cell - unit):
            break
        unit = factor * base
    return float(unit)


def _at_least(first: int, last: int, least: int, low: float, high: float) -> tuple[int, int]:
    missing = least - (last - first)
    if missing <= 0:
        return first, last
    if low == 0 and first == 0 and high != 0:
        return first, last + missing
    if high == 0 and last == 0 and low != 0:
        return first - missing, last
    more, less = missing // 2 + missing % 2, missing // 2
    return (first - more, last + less) if first >= 0 else (first - less, last + more)


def _even(low: float, high: float, steps: int) -> tuple[float, ...]:
    by = (high - low) / steps
    values = [low + i * by for i in range(steps + 1)]
    values[-1] = high
    return tuple(0.0 if abs(v) < 1e-14 * by else float(v) for v in values)
