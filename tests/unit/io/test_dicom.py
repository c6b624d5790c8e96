"""DICOM folders: sorted, complete, told apart, and silent about patients."""

import highdicom as hd
import numpy as np
import pytest
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, RLELossless, generate_uid
from scipy.spatial.transform import Rotation

from pipeline.errors import EmptyRegionError, GeometryError, ReadError
from pipeline.geometry import from_sitk, grid_difference_mm, same_grid
from pipeline.io import read_mask, read_series, read_volume

CANARY = "CANARY7731"
MR = "1.2.840.10008.5.1.4.1.1.4"
AXES = Rotation.from_euler("xyz", [12, -7, 25], degrees=True).as_matrix()
ORIGIN = np.array([-31.25, 12.5, 60.0])
SHAPE = (7, 6, 5)  # columns, rows, slices
STEP = 2.5


class Folder:
    """Writes slices of a phantom whose value tells column, row, slice and phase."""

    def __init__(self, path):
        self.path = path
        self.study, self.frame = generate_uid(), generate_uid()
        self.series = {}
        self.written = []

    def value(self, phase=0):
        i, j, k = np.meshgrid(*[np.arange(n) for n in SHAPE], indexing="ij")
        return (i + 10 * j + 100 * k + 1000 * phase).astype(np.int16)

    def add(self, k, phase=0, series=1, name=None, **changes):
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = MR
        dataset.SOPInstanceUID = generate_uid()
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.StudyInstanceUID, dataset.FrameOfReferenceUID = self.study, self.frame
        dataset.SeriesInstanceUID = self.series.setdefault(series, generate_uid())
        dataset.Modality, dataset.SeriesNumber = "MR", series
        dataset.PatientName = f"{CANARY}^{CANARY}"
        dataset.PatientID = dataset.SeriesDescription = CANARY
        dataset.InstanceNumber = len(self.written) + 1
        dataset.Columns, dataset.Rows = SHAPE[:2]
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated = dataset.BitsStored = 16
        dataset.HighBit, dataset.PixelRepresentation = 15, 1
        dataset.ImageOrientationPatient = AXES[:, :2].T.ravel().round(8).tolist()
        dataset.ImagePositionPatient = (ORIGIN + k * STEP * AXES[:, 2]).round(6).tolist()
        dataset.PixelSpacing, dataset.SliceThickness = [1.5, 0.75], 2.5
        dataset.PixelData = self.value(phase)[:, :, min(int(k), SHAPE[2] - 1)].T.tobytes()
        for key, value in changes.items():
            setattr(dataset, key, value)
        path = self.path / (name or f"{len(self.written):04d}.dcm")
        dataset.save_as(path, enforce_file_format=True)
        self.written.append(path)
        return dataset


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


@pytest.fixture
def stack(folder):
    for k in (3, 0, 4, 2, 1):  # in no useful order
        folder.add(k)
    return folder


def test_a_stack_is_sorted_and_lies_where_simpleitk_puts_it(stack):
    found = read_volume(stack.path)
    assert found.data.dtype == np.int16
    assert np.array_equal(found.data, stack.value())
    np.testing.assert_allclose(found.grid.spacing_mm, (0.75, 1.5, 2.5), rtol=1e-6)
    np.testing.assert_allclose(found.grid.direction, AXES, atol=1e-7)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(stack.path)))
    theirs = from_sitk(reader.Execute())
    assert np.array_equal(theirs.data, found.data)
    assert grid_difference_mm(theirs.grid, found.grid) < 1e-4


def test_other_files_are_passed_over(stack):
    (stack.path / "notes.txt").write_text("hello")
    (stack.path / ".DS_Store").write_bytes(b"x")
    (stack.path / "sub").mkdir()
    stack.add(0, Modality="SR", name="report.dcm")
    assert read_volume(stack.path).data.shape == SHAPE


def test_rescaling(folder):
    for k in range(5):
        folder.add(k, RescaleSlope=1, RescaleIntercept=-1024, BitsStored=12, HighBit=11)
    found = read_volume(folder.path)
    assert found.data.dtype == np.int16
    assert np.array_equal(found.data, folder.value() - 1024)


def test_rescaling_that_differs_from_slice_to_slice(folder):
    for k in range(5):
        folder.add(k, RescaleSlope=0.5 + k, RescaleIntercept=1)
    found = read_volume(folder.path)
    assert found.data.dtype == np.float32
    assert np.array_equal(found.data, folder.value() * (0.5 + np.arange(5)) + 1)


def test_compressed_slices(folder):
    for k in range(5):
        dataset = folder.add(k)
        dataset.compress(RLELossless)
        dataset.save_as(folder.written[-1], enforce_file_format=True)
    assert np.array_equal(read_volume(folder.path).data, folder.value())


def test_unknown_compression_is_named(stack):
    path = stack.written[0]
    content = path.read_bytes()
    old, new = b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.99"
    path.write_bytes(content.replace(old, new, 1))
    with pytest.raises(ReadError, match=str(path)):
        read_volume(stack.path)


@pytest.mark.parametrize("cut", [10, 60, 90, 200, 400, 700, 10000])
def test_truncated_slices(stack, cut):
    path = stack.written[2]
    path.write_bytes(path.read_bytes()[:-cut])  # the last slice: no gap would tell
    with pytest.raises((ReadError, GeometryError)) as error:
        read_volume(stack.path)
    assert path.name in str(error.value)
    assert CANARY not in str(error.value)


def test_missing_slice(folder):
    for k in (0, 1, 3, 4):
        folder.add(k)
    with pytest.raises(GeometryError, match=r"5\.000 mm between 0001.dcm and 0002.dcm .* 2\.500"):
        read_volume(folder.path)


def test_uneven_slices(folder):
    for k in (0, 1, 2, 3.03, 4):
        folder.add(k)
    with pytest.raises(GeometryError, match="unevenly spaced"):
        read_volume(folder.path)


def test_a_rounded_position_is_let_pass(folder):
    for k in range(5):
        folder.add(k, ImagePositionPatient=(ORIGIN + k * STEP * AXES[:, 2]).round(2).tolist())
    assert read_volume(folder.path).data.shape == SHAPE


def test_tilted_gantry(folder):
    for k in range(5):
        shift = AXES[:, 2] * STEP * k + AXES[:, 1] * 0.5 * k
        folder.add(k, ImagePositionPatient=(ORIGIN + shift).round(6).tolist())
    with pytest.raises(GeometryError, match=r"drift sideways by 2\.00 mm .*11\.31.*gantry"):
        read_volume(folder.path)


def test_copies_of_one_file(stack):
    (stack.path / "copy.dcm").write_bytes(stack.written[0].read_bytes())
    with pytest.raises(ReadError, match=r"0000.dcm and copy.dcm are the same image"):
        read_volume(stack.path)


def test_doubled_slice(stack):
    stack.add(2)
    with pytest.raises(GeometryError, match=r"2 images at slice position 3 of 5 where most .* 1"):
        read_volume(stack.path)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"PixelSpacing": [1.5, 0.8]}, "pixel spacing"),
        ({"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}, "another direction"),
        ({"Rows": 3, "Columns": 14}, r"\(14, 3\) instead of \(7, 6\)"),
        ({"PixelRepresentation": 0}, "uint16 instead of int16"),
    ],
)
def test_slices_of_another_stack(stack, changes, reason):
    stack.add(5, **changes)
    with pytest.raises(GeometryError, match=reason) as error:
        read_volume(stack.path)
    assert "0005.dcm" in str(error.value)


def test_two_series(stack):
    for k in range(3):
        stack.add(k, series=2)
    with pytest.raises(ReadError, match="2 series in one folder") as error:
        read_volume(stack.path)
    assert "MR series 1: 5 images" in str(error.value)
    assert "MR series 2: 3 images" in str(error.value)
    assert CANARY not in str(error.value)


def test_damaged_header_says_nothing_about_the_patient(stack, caplog):
    caplog.set_level("DEBUG")
    stack.add(5, AcquisitionTime="101112.131415")
    broken = stack.written[-1].read_bytes().replace(b"101112.131415", b"CANARY7731...")
    stack.written[-1].write_bytes(broken)
    with pytest.raises(ReadError, match="missing or damaged") as error:
        read_volume(stack.path)
    assert CANARY[:6] not in str(error.value) + caplog.text


def clock(seconds):
    return f"10{seconds // 60:02d}{seconds % 60:02d}.5"


PHASE_TAGS = {
    "temporal position": lambda p, k: {"TemporalPositionIdentifier": p + 1,
                                       "AcquisitionTime": clock(90 * p)},
    "acquisition number": lambda p, k: {"AcquisitionNumber": p + 1,
                                        "AcquisitionTime": clock(90 * p + k)},
    "acquisition time": lambda p, k: {"AcquisitionTime": clock(90 * p), "AcquisitionNumber": 1},
    "trigger time": lambda p, k: {"TriggerTime": 90000.0 * p, "AcquisitionTime": clock(0)},
    "content time": lambda p, k: {"ContentTime": clock(90 * p), "AcquisitionNumber": min(p, 1)},
    "date and time": lambda p, k: {"AcquisitionDateTime": f"20200101{clock(90 * p)}"},
    "its own time per slice": lambda p, k: {"ContentTime": clock(90 * p + 7 * k)},
    "midnight": lambda p, k: {"AcquisitionDate": f"2020010{1 + (p > 0)}",
                              "AcquisitionTime": ("235930", "000100", "000230")[p]},
}  # fmt: skip


@pytest.mark.parametrize("how", list(PHASE_TAGS))
def test_phases_are_told_apart(folder, how):
    for p, k in [(p, k) for p in (2, 0, 1) for k in (1, 4, 0, 3, 2)]:
        folder.add(k, phase=p, **PHASE_TAGS[how](p, k))
    found = read_series(folder.path)
    assert found.time_s == (0.0, 90.0, 180.0)
    for phase in range(3):
        assert np.array_equal(found.data[..., phase], folder.value(phase))
    with pytest.raises(ReadError, match=r"holds 3 phases of 5 slices .*--phase"):
        read_volume(folder.path)


def test_given_times_win(folder):
    for p, k in [(p, k) for p in range(2) for k in range(5)]:
        folder.add(k, phase=p, AcquisitionNumber=p)
    with pytest.raises(ReadError, match="the headers hold no times"):
        read_series(folder.path)
    assert read_series(folder.path, time_s=[-20, 95]).time_s == (-20.0, 95.0)
    with pytest.raises(ReadError, match="3 times are given for 2 phases"):
        read_series(folder.path, time_s=[0, 1, 2])


def test_echoes_are_no_phases(folder):
    for p, k in [(p, k) for p in range(2) for k in range(5)]:
        folder.add(k, phase=p, EchoTime=1.2 * (p + 1), AcquisitionTime=clock(p))
    with pytest.raises(ReadError, match="image type or echo time"):
        read_series(folder.path)


def test_nothing_tells_phases_apart(folder):
    for p, k in [(p, k) for p in range(2) for k in range(5)]:
        folder.add(k, phase=p)
    with pytest.raises(ReadError, match="nothing in the headers tells"):
        read_series(folder.path)


def test_a_phase_with_a_missing_slice(folder):
    for p, k in [(p, k) for p in range(3) for k in range(5)]:
        if (p, k) != (1, 2):
            folder.add(k, phase=p, AcquisitionTime=clock(p))
    with pytest.raises(GeometryError, match=r"2 images at slice position 3 of 5 .* have 3"):
        read_series(folder.path)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"Modality": "RTSTRUCT"}, "not an image but contours"),
        ({"Rows": 0}, "without rows and columns"),
        ({"SamplesPerPixel": 3}, "colour"),
        ({"NumberOfFrames": 4}, "4 frames without a position"),
    ],
)
def test_files_that_are_no_slice(folder, changes, reason):
    folder.add(0, **changes)
    with pytest.raises(ReadError, match=reason):
        read_volume(folder.written[0])


def test_an_empty_folder(tmp_path):
    with pytest.raises(ReadError, match="holds no DICOM file"):
        read_volume(tmp_path)


def test_a_single_slice_and_the_cap(folder):
    folder.add(0)
    found = read_volume(folder.written[0])
    assert found.data.shape == (7, 6, 1)
    assert found.grid.spacing_mm == (0.75, 1.5, 2.5)
    with pytest.raises(ReadError, match="more than the limit of 50"):
        read_volume(folder.path, max_bytes=50)


def test_sizes_that_the_file_cannot_hold(folder):
    folder.add(0, Rows=65000, Columns=60000)
    with pytest.raises(ReadError, match=r"declares 7,800,000,000 bytes .* holds at most"):
        read_volume(folder.path)


def test_a_deflated_file_is_not_inflated(stack):
    path = stack.written[0]
    deflated = path.read_bytes().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99")
    path.write_bytes(deflated)
    with pytest.raises(ReadError, match="deflated"):
        read_volume(stack.path)


def test_300_crafted_headers_raise_only_our_errors(stack, rng, caplog):
    caplog.set_level("DEBUG")
    path, messages = stack.written[2], []
    content = path.read_bytes()
    for _ in range(300):
        broken = bytearray(content)
        for place in rng.integers(132, len(content) - 84, 2):
            broken[place] = rng.integers(256)
        path.write_bytes(broken)
        try:
            read_volume(stack.path)
        except (ReadError, GeometryError) as error:
            messages.append(str(error))
    assert len(messages) > 50
    assert CANARY not in " ".join(messages) + caplog.text


def enhanced(folder, phases=2):
    """Write one enhanced file with frames in mixed order."""
    dataset = folder.add(0)
    del dataset.ImagePositionPatient, dataset.ImageOrientationPatient, dataset.PixelSpacing
    frames = [(p, k) for k in (2, 0, 1, 4, 3) for p in range(phases)]
    dataset.NumberOfFrames = len(frames)
    shared = Dataset()
    measures, orientation = Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [1.5, 0.75], 2.5
    orientation.ImageOrientationPatient = AXES[:, :2].T.ravel().round(8).tolist()
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    dataset.SharedFunctionalGroupsSequence = [shared]
    groups = []
    for p, k in frames:
        position, content, group = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = (ORIGIN + k * STEP * AXES[:, 2]).round(6).tolist()
        content.TemporalPositionIndex = p + 1
        content.FrameAcquisitionDateTime = f"20200101{clock(90 * p + k)}"
        group.PlanePositionSequence, group.FrameContentSequence = [position], [content]
        groups.append(group)
    dataset.PerFrameFunctionalGroupsSequence = groups
    planes = [folder.value(p)[:, :, k].T for p, k in frames]
    dataset.PixelData = np.stack(planes).tobytes()
    dataset.save_as(folder.written[-1], enforce_file_format=True)


@pytest.mark.parametrize("phases", [1, 2])
def test_enhanced_multi_frame_images(folder, phases):
    enhanced(folder, phases)
    found = read_series(folder.path)
    assert found.time_s == (0.0, 90.0)[:phases]
    for phase in range(phases):
        assert np.array_equal(found.data[..., phase], folder.value(phase))
    np.testing.assert_allclose(found.grid.direction, AXES, atol=1e-7)


def segmentation(folder, masks, path, kind="BINARY", omit=True):
    """Write `masks` (I, J, K, S) on the folder's images as a DICOM SEG."""
    import pydicom

    files = sorted(folder.written, key=lambda p: float(
        AXES[:, 2] @ np.array(pydicom.dcmread(p).ImagePositionPatient)))  # fmt: skip
    sources = [pydicom.dcmread(file) for file in files]
    for source in sources:
        source.PatientBirthDate = source.PatientSex = source.AccessionNumber = ""
        source.StudyID = source.StudyDate = source.StudyTime = source.ReferringPhysicianName = ""
    algorithm = hd.AlgorithmIdentificationSequence("a", codes.DCM.ArtificialIntelligence, "1")
    described = [
        hd.seg.SegmentDescription(n + 1, f"s{n}", codes.SCT.Tissue, codes.SCT.Tissue,
                                  "AUTOMATIC", algorithm)
        for n in range(masks.shape[3])
    ]  # fmt: skip
    pixels = masks.transpose(2, 1, 0, 3)
    pixels = pixels.astype(np.float32) if kind == "FRACTIONAL" else pixels.astype(np.uint8)
    result = hd.seg.Segmentation(
        sources, pixels, kind, described, generate_uid(), 9, generate_uid(), 1, "m", "m", "1",
        "1", omit_empty_frames=omit,
    )  # fmt: skip
    result.save_as(path)


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL"])
def test_segmentations_fall_on_the_image(stack, tmp_path_factory, kind):
    image = read_volume(stack.path)
    masks = np.zeros((*SHAPE, 2), np.uint8)
    masks[1:3, 2, 1:4, 0] = masks[5, 1:5, 3, 1] = 1
    path = tmp_path_factory.mktemp("seg") / "seg.dcm"
    segmentation(stack, masks, path, kind)
    for label in (1, 2):
        found = read_mask(path, label=label, like=image.grid)
        assert found.data.dtype == np.uint8
        assert np.array_equal(found.data, masks[..., label - 1])
        assert same_grid(found.grid, image.grid)
    both = read_mask(path.parent, like=image.grid)
    assert np.array_equal(both.data, masks.max(axis=3))
    own = read_mask(path)  # slices 1 to 3 hold something
    assert np.array_equal(own.data, masks.max(axis=3)[:, :, 1:4])
    np.testing.assert_allclose(own.grid.origin_mm, ORIGIN + STEP * AXES[:, 2], atol=1e-5)
    with pytest.raises(EmptyRegionError, match="no frame of segment 3; segments there: 1, 2"):
        read_mask(path, label=3)
    with pytest.raises(ReadError, match="DICOM SEG, read as a mask"):
        read_volume(path)


def test_fractions_of_half_and_more_are_inside(stack, tmp_path_factory):
    fractions = np.zeros((*SHAPE, 1))
    fractions[0, 0, :, 0] = (0.2, 0.49, 0.51, 0.8, 1.0)
    path = tmp_path_factory.mktemp("seg") / "seg.dcm"
    segmentation(stack, fractions, path, "FRACTIONAL")
    found = read_mask(path, like=read_volume(stack.path).grid)
    assert found.data[0, 0].tolist() == [0, 0, 1, 1, 1]
    assert found.data.sum() == 3


def test_a_segmentation_off_the_grid(stack, tmp_path_factory):
    masks = np.ones((*SHAPE, 1), np.uint8)
    path = tmp_path_factory.mktemp("seg") / "seg.dcm"
    segmentation(stack, masks, path)
    grid = read_volume(stack.path).grid
    shifted = type(grid)(grid.shape, grid.spacing_mm, (ORIGIN + 0.4).tolist(), grid.direction)
    with pytest.raises(GeometryError, match="lies off the image grid by up to 0"):
        read_mask(path, like=shifted)
