"""Fixtures that more than one block's tests use."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def medpipe_data() -> Path:
    """Folder of the real images; skips the test where it is missing."""
    folder = Path(os.environ.get("MEDPIPE_DATA", Path(__file__).parents[2] / "shared/data"))
    if not folder.is_dir():
        pytest.skip(f"no real images in {folder}; set MEDPIPE_DATA")
    return folder
