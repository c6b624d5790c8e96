import base64
import hashlib
import re
import shutil
import subprocess
from html.parser import HTMLParser
from urllib.parse import urlencode

import numpy as np
import pandas as pd
import pytest

from pipeline.model.logistic import fit_logistic
from pipeline.model.nomogram import (
    build_nomogram,
    nomogram_model_of_cox,
    nomogram_model_of_logistic,
    points_of,
    predict,
)
from pipeline.model.survival.cox import fit_cox
from pipeline.model.survival.outcome import Outcome
from pipeline.model.terms import design_matrix, fit_terms
from pipeline.report.nomogram_page import nomogram_page

CHROMIUM = next((p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))
                 if p), None)  # fmt: skip
NASTY = "<script>alert(1)</script>"


def _rows(n=160):
    rng = np.random.default_rng(5)
    frame = pd.DataFrame(
        {
            "age": rng.normal(64, 9, n).round(),
            "marker": rng.lognormal(1, 0.6, n).round(2),
            "stage": rng.choice(["I", "II", "III"], n),
        },
        index=[f"s{i:03d}" for i in range(n)],
    )
    effect = 0.03 * frame["age"] + 0.2 * np.minimum(frame["marker"], 4) + (frame["stage"] == "III")
    frame["months"] = np.ceil(rng.exponential(60 * np.exp(2.5 - effect)))
    frame["event"] = rng.random(n) < 0.7
    frame["y"] = rng.random(n) < 1 / (1 + np.exp(2.6 - effect))
    return frame


def _cox(frame, probability="survival"):
    kinds = {"age": "continuous", "marker": "spline", "stage": "categorical"}
    terms = fit_terms(frame, kinds, labels={"age": "Age"}, units={"age": "years"})
    matrix, names = design_matrix(frame, terms)
    outcome = Outcome(frame["months"].to_numpy(float), frame["event"].to_numpy(bool))
    fit = fit_cox(matrix, names, outcome)
    model = nomogram_model_of_cox(
        fit, terms, [12, 36], matrix=matrix, outcome=outcome, title="disease-free survival"
    )
    return build_nomogram(model, probability=probability)


@pytest.fixture(scope="module")
def cox():
    return _cox(_rows())


@pytest.fixture(scope="module")
def logistic():
    frame = _rows().rename(columns={"stage": "T & N"})
    frame["T & N"] = frame["T & N"].replace({"II": '"><img src=x onerror=alert(1)>'})
    kinds = {"age": "continuous", "T & N": "categorical"}
    terms = fit_terms(frame, kinds, labels={"age": NASTY})
    matrix, names = design_matrix(frame, terms)
    fit = fit_logistic(matrix, names, frame["y"])
    return build_nomogram(
        nomogram_model_of_logistic(fit, terms, matrix=matrix, title=f"response {NASTY}")
    )


class _Elements(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found, self.text, self._open = [], {}, None

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        self._open = len(self.found) - 1

    def handle_endtag(self, tag):
        self._open = None

    def handle_data(self, data):
        if self._open is not None:
            self.text[self._open] = self.text.get(self._open, "") + data

    def all(self, tag):
        return [(a, self.text.get(i, "")) for i, (t, a) in enumerate(self.found) if t == tag]


def _parse(page):
    parser = _Elements()
    parser.feed(page)
    return parser


def test_every_text_is_escaped_and_every_id_is_plain(logistic):
    page = nomogram_page(logistic, title=NASTY, study=NASTY, notes=[NASTY])
    parser = _parse(page)
    assert NASTY not in page
    assert "<img src=x" not in page
    assert len(parser.all("script")) == 2
    assert len(parser.all("img")) == 1
    ids = [attrs["id"] for _, attrs in parser.found if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(r"[a-z][a-z0-9-]*", name) for name in ids)
    assert not any(name.startswith("on") for _, attrs in parser.found for name in attrs)
    assert not any("style" in attrs for _, attrs in parser.found)


def test_the_page_needs_nothing_else_and_its_policy_names_its_script(cox):
    page = nomogram_page(cox)
    parser = _parse(page)
    links = [a[k] for _, a in parser.found for k in ("src", "href") if k in a]
    assert links
    assert all(link.startswith("data:") for link in links)
    assert "http:" not in page
    assert "https:" not in page
    policy = next(
        a["content"]
        for a, _ in parser.all("meta")
        if a.get("http-equiv") == "Content-Security-Policy"
    )
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    script = next(text for attrs, text in parser.all("script") if "type" not in attrs)
    for text in (script, parser.all("style")[0][1]):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy


def test_every_control_has_a_name_and_the_page_says_what_it_is(cox):
    page = nomogram_page(cox, study="one hospital")
    parser = _parse(page)
    labelled = {a["for"] for a, _ in parser.all("label") if "for" in a}
    for attrs, _ in parser.all("input"):
        if attrs["type"] != "radio":
            assert attrs["id"] in labelled or attrs.get("aria-label")
    assert "not a medical device" in page
    events = cox.model.events
    assert f"developed on 160 subjects with {events} events · one hospital" in page
    assert nomogram_page(cox, study="one hospital") == page


def _browse(page, tmp_path, values):
    path = tmp_path / "page.html"
    path.write_text(page, encoding="utf-8")
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
        "--no-first-run", "--disable-background-networking", "--disable-component-update",
        "--disable-sync", "--virtual-time-budget=2000", f"--user-data-dir={tmp_path / 'profile'}",
        "--dump-dom", f"{path.as_uri()}#{urlencode(values)}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    parser = _parse(done.stdout)
    assert parser.found[0][1].get("data-ready") == "1", done.stderr[-500:]
    return {a["id"]: (a, parser.text.get(i, "")) for i, (_, a) in enumerate(parser.found)
            if "id" in a}  # fmt: skip


def _check(elements, nomogram, values):
    patient = pd.DataFrame([values], index=["patient"])
    points = points_of(nomogram, patient).iloc[0]
    for number, axis in enumerate(nomogram.variables):
        attrs, text = elements[f"v{number}-points"]
        assert float(attrs["data-value"]) == pytest.approx(points[axis.term.name], abs=1e-9)
        assert text == f"{points[axis.term.name]:.1f} points"
    attrs, text = elements["total"]
    assert float(attrs["data-value"]) == pytest.approx(points["total_points"], abs=1e-9)
    for number, months in enumerate(nomogram.model.horizons):
        wanted = predict(nomogram, patient, months).iloc[0]
        attrs, text = elements[f"p{number}"]
        assert float(attrs["data-value"]) == pytest.approx(wanted["probability"], abs=1e-12)
        assert float(text.rstrip("%")) == pytest.approx(100 * wanted["probability"], abs=0.0501)
        low, _ = elements[f"p{number}-low"]
        assert float(low["data-value"]) == pytest.approx(wanted["low"], abs=1e-9)
        assert float(low["data-high"]) == pytest.approx(wanted["high"], abs=1e-9)


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium")
@pytest.mark.parametrize("probability", ["survival", "event"])
def test_the_browser_computes_what_python_computes(tmp_path, probability):
    nomogram = _cox(_rows(), probability)
    values = {"age": 61.5, "marker": 3.27, "stage": "III"}
    elements = _browse(nomogram_page(nomogram), tmp_path, values)
    _check(elements, nomogram, values)
    assert "hidden" in elements["outside"][0]
    assert elements["v0-number"][0]["id"] == "v0-number"
    assert elements["mark-v0"][0]["visibility"] == "visible"


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium")
def test_the_browser_computes_a_logistic_model_with_nasty_names(logistic, tmp_path):
    values = {"age": 70, "T & N": '"><img src=x onerror=alert(1)>'}
    elements = _browse(nomogram_page(logistic), tmp_path, values)
    _check(elements, logistic, values)


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium")
def test_a_value_outside_development_is_flagged(cox, tmp_path):
    values = {"age": 17, "marker": 3, "stage": "I"}
    elements = _browse(nomogram_page(cox), tmp_path, values)
    _check(elements, cox, values)
    attrs, text = elements["v0-flag"]
    assert "hidden" not in attrs
    low, high = cox.model.terms[0].low, cox.model.terms[0].high
    assert (
        text == f"Outside the development range {low:g} to {high:g} years: the model extrapolates."
    )
    assert "hidden" not in elements["outside"][0]
    assert "hidden" in elements["v1-flag"][0]
