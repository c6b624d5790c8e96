"""The page holds what it is given, and stays small with many structures and cases."""

import numpy as np
import pytest

from pipeline.evaluation.case import measure_case
from pipeline.evaluation.structures import Structure
from pipeline.evaluation.summary import summary_table, volume_agreement
from pipeline.evaluation.tables import CaseResult, case_table, slice_table
from pipeline.report.evaluation_page import EvaluationResults, evaluation_page
from pipeline.report.page import render_page
from pipeline.types import Volume
from tests.unit.evaluation.masks import box, grid

SETTINGS = {"tolerance_mm": 2.0, "plane": "axial", "draws": 100, "seed": 1}


def page_of(results, structures):
    cases = case_table(results, structures, tolerance_mm=2.0)
    summary = summary_table(cases, slice_table(results, structures), draws=100, seed=1)
    return evaluation_page(EvaluationResults(cases, summary, volume_agreement(cases), SETTINGS))


def one_label(shift):
    return Volume(np.roll(box((10, 10, 5), (20, 16, 9)), shift, 0).astype(np.uint8), grid())


def test_numbers_of_the_overview_are_those_of_the_cases():
    structure = Structure("lesion", (1,))
    results = [
        CaseResult(f"c{n}", "r", "p", measure_case(one_label(0), one_label(n), [structure]))
        for n in (0, 1, 4)
    ]
    page = page_of(results, [structure])
    assert [fact.value for fact in page.facts] == ["3", "0.900", "0.50 mm"]
    overview = next(s for s in page.sections if s.title == "What is reached").tables[0]
    (row,) = overview.rows
    assert row[1] == "3"
    assert row[2].startswith("0.900 (")
    assert row[3] == f"{np.mean([1, 0.9, 0.6]):.3f} ± {np.std([1, 0.9, 0.6], ddof=1):.3f}"
    slices = next(s for s in page.sections if s.title == "Slice by slice").tables[0]
    assert slices.rows[0][:4] == ["lesion", "12", "0", "0"]
    assert all(s.title != "Take note" for s in page.sections)


def test_cases_that_lack_a_structure_are_told_first():
    structure = Structure("lesion", (1,))
    nothing = Volume(np.zeros_like(one_label(0).data), grid())
    pairs = [(one_label(0), nothing), (nothing, one_label(0)), (nothing, nothing)]
    results = [
        CaseResult(str(n), "r", "p", measure_case(*pair, [structure]))
        for n, pair in enumerate(pairs)
    ]
    notes = page_of(results, [structure]).sections[0].notes
    assert [note.split(":")[1] for note in notes] == [
        " 1 of 3 cases not predicted at all",
        " 1 of 3 cases predicted where the reference has none",
        " 1 of 3 cases in neither mask",
    ]


@pytest.mark.slow
def test_a_hundred_structures_of_sixty_cases_make_a_page_that_opens():
    structures = [Structure(f"structure number {n}", (n,)) for n in range(1, 101)]
    found = measure_case(one_label(0), one_label(1)).structures[Structure("1", (1,))]
    results = []
    for n in range(60):
        measures = measure_case(one_label(0), one_label(0), [])
        every = dict.fromkeys(structures, found)
        results.append(
            CaseResult(f"{n:03d}", "r", "p", type(measures)(every, frozenset(), frozenset()))
        )
    render_page(page_of(results, structures))  # raises when it is too large
