"""How a registration went down: the energy of each level, step by step."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.report.canvas import BLUE, SOFT, house_style, new_figure, to_png
from pipeline.report.charts import grid, heading, place

if TYPE_CHECKING:
    from pipeline.registration.engine import Trace

_PER_ROW = 4
#: A curve needs a start and an end.
_LEAST_POINTS = 2


def convergence_png(traces: Sequence["Trace"], *, width_px: int = 1160) -> bytes:
    """Return a panel per level: how far the energy fell, step by step, and why it ended.

    Energies of two levels cannot be compared, so each is told as a change from its own start.
    """
    count = min(len(traces), _PER_ROW)
    rows = -(-len(traces) // _PER_ROW)
    with house_style():
        height_px = 46 + 196 * rows + 6
        figure = new_figure(width_px, height_px)
        top = heading(figure, "Convergence", "Change of the energy from the start of each level, %")
        wide = (width_px - 12) / count
        for number, trace in enumerate(traces):
            row, column = divmod(number, count)
            left = 12 + column * wide
            axes = place(figure, left + 52, top + 26 + 196 * row, width_px - left - wide + 8,
                         height_px - top - 196 * (row + 1) + 42)  # fmt: skip
            _draw_trace(axes, trace)
        return to_png(figure)


def _draw_trace(axes: Any, trace: "Trace") -> None:
    from matplotlib.ticker import MaxNLocator

    energy = np.asarray(trace.energy, dtype=np.float64)
    axes.set_title(f"{trace.stage.capitalize()}, {trace.voxel_mm:.3g} mm", fontsize=9)
    if energy.size < _LEAST_POINTS:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "no step taken", transform=axes.transAxes, ha="center", va="center",
                  fontsize=8, color=SOFT)  # fmt: skip
        return
    change = 100 * (energy - energy[0]) / (abs(energy[0]) or 1.0)
    axes.plot(np.arange(energy.size), change, color=BLUE, linewidth=1.6)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.set_xlabel("Step")
    grid(axes)
    steps = "1 step" if energy.size == _LEAST_POINTS else f"{energy.size - 1} steps"
    why = trace.stopped if steps in trace.stopped else f"{trace.stopped} after {steps}"
    axes.text(0.97, 0.94, why, transform=axes.transAxes, ha="right", va="top", fontsize=8,
              color=SOFT)  # fmt: skip
