"""Small images and a raw NIfTI writer that can say anything, true or not."""

import gzip
import struct

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pipeline.types import Geometry, Volume


@pytest.fixture
def rng():
    return np.random.default_rng(20260)


@pytest.fixture
def oblique():
    """A left-handed oblique grid with three different spacings."""
    direction = Rotation.from_euler("xyz", [20, -35, 50], degrees=True).as_matrix()
    return Geometry(
        (7, 8, 9), (0.7, 1.5, 2.25), (-10.25, 20.5, 33.0), direction @ np.diag([1, 1, -1])
    )


@pytest.fixture
def volume(oblique, rng):
    return Volume(rng.integers(-1000, 3000, oblique.shape, dtype=np.int16), oblique)


@pytest.fixture
def raw_nifti():
    """Return a function that builds the bytes of a NIfTI-1 file from field values."""
    offsets = {
        "dim": (40, "8h"), "intent": (68, "h"), "datatype": (70, "h"), "bitpix": (72, "h"),
        "pixdim": (76, "8f"), "vox_offset": (108, "f"), "slope": (112, "f"), "inter": (116, "f"),
        "units": (123, "B"), "toffset": (136, "f"), "qform_code": (252, "h"),
        "sform_code": (254, "h"), "quatern": (256, "3f"), "qoffset": (268, "3f"),
        "srow": (280, "12f"), "magic": (344, "4s"),
    }  # fmt: skip

    def build(voxels, order="<", compress=False, **fields):
        shape = voxels.shape
        values = {
            "dim": (len(shape), *shape, *[1] * (7 - len(shape))),
            "datatype": {"uint8": 2, "int16": 4, "float32": 16}[voxels.dtype.name],
            "bitpix": voxels.dtype.itemsize * 8,
            "pixdim": (1, 2, 3, 4, 0, 0, 0, 0),
            "vox_offset": 352,
            "units": 10,
            "sform_code": 1,
            "srow": (2, 0, 0, 10, 0, 3, 0, 20, 0, 0, 4, 30),
            "magic": b"n+1\0",
        } | fields
        header = bytearray(352)
        struct.pack_into(order + "i", header, 0, 348)
        for name, value in values.items():
            offset, form = offsets[name]
            parts = value if isinstance(value, tuple) else (value,)
            struct.pack_into(order + form, header, offset, *parts)
        body = voxels.astype(voxels.dtype.newbyteorder(order)).tobytes(order="F")
        content = bytes(header) + body
        return gzip.compress(content, 1, mtime=0) if compress else content

    return build
