"""What the tests of training share."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.segment.plan import Intensity, Plan
from pipeline.segment.training.cache import Cache, Prepared, prepare_case
from tests.unit.segment.training import phantom


@pytest.fixture(scope="session")
def make_sheet() -> Callable[..., Path]:
    return phantom.write_sheet


@pytest.fixture(scope="session")
def make_case():
    return phantom.make_case


@pytest.fixture(scope="session")
def plan() -> Plan:
    """A plan of a small network that needs no MONAI."""
    return Plan(
        network="densehighres3dnet",
        labels=phantom.LABELS,
        spacing_mm=(1.0, 1.0, 1.0),
        patch=(12, 12, 12),
        intensity=Intensity("image", 0.5, 99.5),
    )


@pytest.fixture(scope="session")
def cases(plan) -> list[Prepared]:
    cache = Cache(1 << 30, lambda array: array)
    return [prepare_case(f"s{n}", *phantom.make_case(n), plan, cache) for n in range(4)]
