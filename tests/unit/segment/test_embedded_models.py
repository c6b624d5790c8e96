"""The models that come with the package."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.io import read_labels, read_volume
from pipeline.model_folder import load_model, models_in, read_entry
from pipeline.segment.predict import predict

EMBEDDED = Path(__file__).parents[3] / "src/pipeline/models"
MOST_PARAMETERS, MOST_BYTES = 2_000_000, 8_000_000


@pytest.mark.parametrize("folder", sorted(p for p in EMBEDDED.iterdir() if p.is_dir()), ids=str)
def test_each_is_small_and_says_what_it_is(folder):
    entry = read_entry(folder)
    assert entry.parameters <= MOST_PARAMETERS
    assert sum(file.stat().st_size for file in folder.iterdir()) <= MOST_BYTES
    for key in ("description", "licence", "modality", "training_data", "metrics", "limits"):
        assert entry.card[key], key
    assert load_model(folder, torch.device("cpu")).network.training is False


def test_both_are_listed():
    listed = {entry.name for entry in models_in([EMBEDDED])}
    assert {"hippocampus", "lung_tumour"} <= listed


@pytest.mark.data
def test_hippocampus_finds_both_parts(medpipe_data):
    data = medpipe_data / "hippocampus"
    model = load_model(EMBEDDED / "hippocampus", torch.device("cpu"))
    image = read_volume(data / "images/hippocampus_001.nii.gz")
    truth = read_labels(data / "labels/hippocampus_001.nii.gz").data
    found = predict(image, [model]).labels.data
    for value in (1, 2):
        shared = np.count_nonzero((found == value) & (truth == value))
        assert 2 * shared / (np.sum(found == value) + np.sum(truth == value)) > 0.8
