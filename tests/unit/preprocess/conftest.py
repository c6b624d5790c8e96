"""Grids that the tests of this block share."""

import itertools

import numpy as np
import pytest

from pipeline.types import Geometry


def _turn(degrees: float) -> np.ndarray:
    a = np.deg2rad(degrees)
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    return about_z @ about_x


@pytest.fixture
def oblique() -> Geometry:
    """Anisotropic grid at an angle, off the origin."""
    return Geometry((24, 20, 16), (1.8, 2.0, 2.5), (3.0, -7.0, 11.0), _turn(17.0))


@pytest.fixture
def straight() -> Geometry:
    """Anisotropic grid along the world axes."""
    return Geometry((24, 20, 16), (1.8, 2.0, 2.5), (3.0, -7.0, 11.0), np.eye(3))


def _orientations() -> list[np.ndarray]:
    return [
        np.eye(3)[:, list(order)] * np.array(signs)
        for order in itertools.permutations(range(3))
        for signs in itertools.product((1.0, -1.0), repeat=3)
    ]


@pytest.fixture(params=range(48))
def orientation(request: pytest.FixtureRequest) -> np.ndarray:
    """One of the 48 directions whose axes run along the world axes."""
    return _orientations()[request.param]
