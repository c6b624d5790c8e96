import numpy as np
import pytest

from pipeline.demo.plan import draw_plan
from pipeline.demo.subject import SimulatedSubject, simulate_subject

SEED = 20210322


@pytest.fixture(scope="session")
def siemens() -> SimulatedSubject:
    """The first development subject of the default cohort."""
    return simulate_subject(draw_plan(SEED)[0], seed=SEED)


@pytest.fixture(scope="session")
def aurora() -> SimulatedSubject:
    """The first test subject of the default cohort."""
    return simulate_subject(draw_plan(SEED)[24], seed=SEED)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)
