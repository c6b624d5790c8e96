"""A small MONAI bundle, laid out as those of its model zoo are."""

import json
from pathlib import Path
from typing import Any

import torch

NETWORK = {
    "_target_": "UNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 3,
    "channels": [4, 8, 8], "strides": [2, 2], "num_res_units": 1, "norm": "instance",
}  # fmt: skip

METADATA = {
    "version": "0.1.0", "name": "tiny",
    "network_data_format": {
        "inputs": {"image": {"type": "image", "num_channels": 1, "spatial_shape": [16, 16, 16]}},
        "outputs": {
            "pred": {"channel_def": {"0": "background", "1": "spleen", "2": "liver"}},
        },
    },
}  # fmt: skip


def transform(name: str, **arguments: Any) -> dict[str, Any]:
    return {"_target_": name, "keys": "@image_key", **arguments}


def config(*steps: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The inference configuration; expressions where the zoo has them, beside what is needed."""
    return {
        "imports": ["$import glob"],
        "bundle_root": ".",
        "image_key": "image",
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "datalist": "$list(sorted(glob.glob(@dataset_dir + '/*.nii.gz')))",
        "network_def": NETWORK,
        "network": "$@network_def.to(@device)",
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                transform("LoadImaged"),
                transform("EnsureChannelFirstd"),
                *steps,
                transform("EnsureTyped", device="@device"),
            ],
        },
        "inferer": {
            "_target_": "SlidingWindowInferer", "roi_size": [16, 20, 12], "sw_batch_size": 4,
            "overlap": 0.5,
        },
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "Activationsd", "keys": "pred", "softmax": True},
                {"_target_": "Invertd", "keys": "pred", "transform": "@preprocessing"},
                {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
            ],
        },
        **changes,
    }  # fmt: skip


def write_bundle(folder: Path, document: dict[str, Any], weights: Any) -> Path:
    for name in ("configs", "models"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "configs" / "metadata.json").write_text(json.dumps(METADATA))
    (folder / "configs" / "inference.json").write_text(json.dumps(document))
    torch.save(weights, folder / "models" / "model.pt")
    return folder
