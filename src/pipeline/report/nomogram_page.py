"""One offline page: move the values, read points, total points and probabilities.

The page holds the coefficients and computes in the browser. It fetches nothing: a content
security policy names the hash of its only script and of its only style sheet.
"""

import base64
import functools
import hashlib
import json
from collections.abc import Sequence
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from pipeline.model.nomogram import Nomogram, VariableAxis
from pipeline.report.nomogram_figure import (
    Layout,
    Scale,
    nomogram_figure,
    nomogram_layout,
    probability_title,
)

_WIDTH_PX = 1000


def nomogram_page(
    nomogram: Nomogram,
    *,
    title: str = "",
    study: str = "",
    notes: Sequence[str] = (),
    scale: Scale = "probability",
) -> str:
    """Return the page.

    Parameters
    ----------
    nomogram : Nomogram
        The axes and the model.
    title : str
        Heading. Default: "Nomogram: " and the outcome.
    study : str
        Where the development subjects come from, for the line below the heading.
    notes : sequence of str
        Further lines about the model (how it validated, who may use it).
    scale : {"probability", "percent"}
        Labels of the figure's probability axes.

    Notes
    -----
    Values may be given in the address, as in ``nomogram.html#age=60&stage=III``; the results
    then stand in the attributes ``data-value`` of the elements ``total`` and ``p0``, ``p1``, ...
    """
    model = nomogram.model
    layout = nomogram_layout(nomogram, width_px=_WIDTH_PX, scale=scale)
    terms = [_term(i, axis, nomogram) for i, axis in enumerate(nomogram.variables)]
    horizons = _horizons(nomogram)
    data = {
        "kind": model.kind,
        "probability": nomogram.probability,
        "intercept": model.intercept,
        "pointsPerUnit": nomogram.points_per_unit,
        "terms": terms,
        "horizons": horizons,
        "layout": {"left": layout.left, "right": layout.right, "score": layout.score,
                   "most": layout.most},
    }  # fmt: skip
    columns = [name for term in model.terms for name in term.columns]
    first = [("Intercept", model.intercept)]
    return (
        _environment()
        .get_template("nomogram.html.j2")
        .render(
            title=title or f"Nomogram: {model.outcome or 'risk'}",
            subtitle=_subtitle(nomogram, study),
            terms=terms,
            horizons=horizons,
            layout=layout,
            marks=_marks(layout, nomogram),
            figure=_figure(nomogram, scale),
            formula=_formula(nomogram),
            coefficients=[
                (name, f"{value:.10g}")
                for name, value in [*first, *zip(columns, model.coefficients, strict=True)]
            ],
            notes=[*_notes(nomogram), *notes],
            footer=_footer(nomogram, study),
            data=_json(data),
        )
    )


def _term(number: int, axis: VariableAxis, nomogram: Nomogram) -> dict[str, Any]:
    term = axis.term
    record: dict[str, Any] = {
        "id": f"v{number}",
        "name": term.name,
        "title": term.title,
        "unit": term.unit,
        "kind": term.kind,
        "levels": list(term.levels),
        "knots": list(term.knots),
        "coefficients": nomogram.model.parts()[number].tolist(),
        "least": min(axis.linear),
        "start": term.levels[0] if term.levels else "",
    }
    if term.kind == "categorical":
        return record
    ticks = np.array(axis.values, dtype=np.float64)
    low, high = (
        (term.low, term.high) if np.isfinite(term.low) else (float(ticks[0]), float(ticks[-1]))
    )
    step = _step(ticks, fine=term.kind == "spline")
    middle = term.median if np.isfinite(term.median) else (low + high) / 2
    start = float(np.clip(round(middle / step) * step, low, high))
    return record | {
        "low": low,
        "high": high,
        "lowText": _plain(low),
        "highText": _plain(high),
        "axisLow": _plain(float(ticks.min())),
        "axisHigh": _plain(float(ticks.max())),
        "step": _plain(step),
        "start": _plain(start),
    }


def _step(ticks: Any, *, fine: bool) -> float:
    """Return a round step of the slider, a fifth of that of the ticks or less."""
    if float(np.ptp(ticks)) == len(ticks) - 1 and (ticks == np.round(ticks)).all():
        return 1.0  # counts
    gap = float(np.diff(ticks).min())
    base = 10.0 ** np.floor(np.log10(gap) + 1e-9)
    return float(base / 10 * (1 if fine or gap / base < 1.5 else 2 if gap / base < 4 else 10))


def _horizons(nomogram: Nomogram) -> list[dict[str, Any]]:
    model = nomogram.model
    found = []
    for number, months in enumerate(model.horizons):
        record: dict[str, Any] = {
            "id": f"p{number}",
            "months": months,
            "title": probability_title(model, months, nomogram.probability),
            "baseline": model.baseline.get(months),
            "uncertainty": None,
        }
        known = model.uncertainty.get(months)
        if known is not None:
            record["uncertainty"] = {
                "variance": known.variance,
                "centre": list(known.centre),
                "covariance": [list(row) for row in known.covariance],
            }
        found.append(record)
    return found


def _marks(layout: Layout, nomogram: Nomogram) -> list[dict[str, Any]]:
    keys = {axis.term.name: f"v{i}" for i, axis in enumerate(nomogram.variables)}
    keys |= {f"probability-{h:g}": f"p{i}" for i, h in enumerate(nomogram.model.horizons)}
    marks: list[dict[str, Any]] = []
    # a line joins every variable to the points, every probability to the total points
    above = layout.rows[0].y
    for row in layout.rows[1:]:
        if row.key == "total":
            above = row.y
            marks.append({"key": "total", "y": row.y, "top": None})
        elif row.key in keys:
            marks.append({"key": keys[row.key], "y": row.y, "top": above})
    return marks


def _figure(nomogram: Nomogram, scale: Scale) -> str:
    svg = nomogram_figure(nomogram, media="svg", width_px=_WIDTH_PX, scale=scale)
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode('ascii')}"


def _subtitle(nomogram: Nomogram, study: str) -> str:
    model = nomogram.model
    kind = "Cox model" if model.kind == "cox" else "Logistic model"
    parts = [kind]
    if model.n:
        parts.append(f"developed on {model.n} subjects with {model.events} events")
    if study:
        parts.append(study)
    return " \N{MIDDLE DOT} ".join(parts)


def _formula(nomogram: Nomogram) -> str:
    model = nomogram.model
    base = "Linear predictor = intercept + sum of coefficient \N{MULTIPLICATION SIGN} column. "
    if model.kind == "logistic":
        return base + "Probability = 1 / (1 + exp(\N{MINUS SIGN}linear predictor))."
    times = ", ".join(f"S0({h:g} months) = {model.baseline[h]:.10g}" for h in model.horizons)
    return base + f"Survival at t = S0(t) ^ exp(linear predictor), with {times}."


def _notes(nomogram: Nomogram) -> list[str]:
    notes = []
    for axis in nomogram.variables:
        term = axis.term
        if term.kind == "categorical":
            notes.append(f"{term.title}: reference level {term.levels[0]}.")
        elif np.isfinite(term.low):
            text = f"{term.title}: {_plain(term.low)} to {_plain(term.high)} in development"
            if term.kind == "spline":
                knots = ", ".join(_plain(k) for k in term.knots)
                text += f"; restricted cubic spline with knots at {knots}"
            notes.append(text + ".")
    if nomogram.model.uncertainty:
        notes.append(
            "The interval is that of the mean outcome of such patients; it does not cover a wrong"
            " model or another population."
        )
    return notes


def _footer(nomogram: Nomogram, study: str) -> str:
    model = nomogram.model
    people = f" from {model.n} subjects, {model.events} events" if model.n else ""
    source = f" ({study})" if study else ""
    return (
        f"Research tool, not a medical device. Model{people}{source}; validate it on your own"
        " patients before any use. The page works offline and sends nothing."
    )


def _plain(value: float) -> str:
    # as HTML number fields write it: a point, no exponent, ASCII minus
    return np.format_float_positional(round(value, 10) or 0.0, trim="-")


def _json(data: Any) -> Markup:
    """Return JSON with every character that HTML knows replaced."""
    text = json.dumps(data, allow_nan=False, ensure_ascii=True)
    for letter in "<>&'":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(text)


def _sha256(text: str) -> str:
    digest = hashlib.sha256(str(text).encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pipeline.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["sha256"] = _sha256
    return environment
