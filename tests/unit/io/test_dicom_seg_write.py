"""DICOM segmentations out: the frames, their places, and the source frames that they refer to."""

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from pipeline.errors import WriteError
from pipeline.geometry import index_to_world
from pipeline.io import read_mask, read_series
from pipeline.io.dicom_seg_write import write_segmentation
from pipeline.types import Volume
from tests.unit.io.test_dicom import AXES, CANARY, ORIGIN, SHAPE, STEP, Folder, clock

CLASSES = {"CT": "1.2.840.10008.5.1.4.1.1.2.1", "MR": "1.2.840.10008.5.1.4.1.1.4.1"}
NAMES = {"shell": 5, "core": 9}
#: Slices and phases in the order of the frames of a file: neither in that of space nor of time.
ORDER = [(1, 2), (0, 0), (0, 4), (1, 1), (0, 1), (1, 0), (0, 3), (1, 4), (0, 2), (1, 3)]


def enhanced(path, modality="MR", phases=1, shared=True, **changes):
    """Write an enhanced multi-frame image whose value tells column, row, slice and phase."""
    frames = [(p, k) for p, k in ORDER if p < phases]
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = CLASSES[modality]
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.FrameOfReferenceUID = generate_uid()
    dataset.Modality, dataset.SeriesNumber, dataset.InstanceNumber = modality, 3, 1
    dataset.PatientName = dataset.PatientID = dataset.SeriesDescription = CANARY
    dataset.Columns, dataset.Rows = SHAPE[:2]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 1
    dataset.NumberOfFrames = len(frames)
    measures, orientation, common = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [1.5, 0.75], 2.0  # a gap of 0.5 mm
    orientation.ImageOrientationPatient = AXES[:, :2].T.ravel().round(8).tolist()
    groups = []
    for phase, k in frames:
        position, content, group = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = (ORIGIN + k * STEP * AXES[:, 2]).round(6).tolist()
        content.TemporalPositionIndex = phase + 1
        content.FrameAcquisitionDateTime = f"20200101{clock(90 * phase + k)}"
        content.FrameComments = CANARY
        group.PlanePositionSequence, group.FrameContentSequence = [position], [content]
        groups.append(group)
    for where in [common] if shared else groups:
        where.PixelMeasuresSequence, where.PlaneOrientationSequence = [measures], [orientation]
    dataset.SharedFunctionalGroupsSequence = [common]
    dataset.PerFrameFunctionalGroupsSequence = groups
    planes = [value(phase)[:, :, k].T for phase, k in frames]
    dataset.PixelData = np.stack(planes).tobytes()
    for key, changed in changes.items():
        setattr(dataset, key, changed)
    dataset.save_as(path, enforce_file_format=True)
    return frames


def value(phase):
    i, j, k = np.meshgrid(*[np.arange(n) for n in SHAPE], indexing="ij")
    return (i + 10 * j + 100 * k + 1000 * phase).astype(np.int16)


def labels_on(grid):
    """Two labels; the first slice has none, and only one has the core."""
    data = np.zeros(grid.shape, np.uint8)
    data[1:5, 2:5, 1:4] = 5
    data[2:4, 3, 2] = 9
    return Volume(data, grid)


def source_frames(seg):
    """Return (segment, position, instance, frame number) of each frame of a segmentation."""
    found = []
    for group in seg.PerFrameFunctionalGroupsSequence:
        (item,) = group.DerivationImageSequence[0].SourceImageSequence
        found.append((
            int(group.SegmentIdentificationSequence[0].ReferencedSegmentNumber),
            [float(v) for v in group.PlanePositionSequence[0].ImagePositionPatient],
            item.ReferencedSOPInstanceUID,
            item.get("ReferencedFrameNumber"),
        ))  # fmt: skip
    return found


@pytest.mark.parametrize("modality", ["CT", "MR"])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize(("phases", "phase"), [(1, None), (2, 0), (2, 1)])
def test_an_enhanced_image_is_referred_to_frame_by_frame(tmp_path, modality, shared, phases, phase):
    source, path = tmp_path / "source.dcm", tmp_path / "out" / "seg.dcm"
    frames = enhanced(source, modality, phases, shared)
    series = read_series(source)
    assert np.array_equal(series.data[..., phase or 0], value(phase or 0))
    labels = labels_on(series.grid)
    write_segmentation(path, labels, source, NAMES, algorithm="test", phase=phase)
    seg, original = pydicom.dcmread(path), pydicom.dcmread(source)
    assert seg.FrameOfReferenceUID == original.FrameOfReferenceUID
    assert seg.StudyInstanceUID == original.StudyInstanceUID
    assert [s.SeriesInstanceUID for s in seg.ReferencedSeriesSequence] == [
        original.SeriesInstanceUID
    ]
    referred = source_frames(seg)
    assert len(referred) == 3 + 1
    for _, position, instance, number in referred:
        assert instance == original.SOPInstanceUID
        group = original.PerFrameFunctionalGroupsSequence[number - 1]
        assert position == [float(v) for v in group.PlanePositionSequence[0].ImagePositionPatient]
        assert frames[number - 1][0] == (phase or 0)  # of the phase that was segmented
    assert CANARY.encode() not in path.read_bytes()


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_the_physical_centroid_is_right_by_our_reader_and_by_highdicom(tmp_path, modality):
    source, path = tmp_path / "source.dcm", tmp_path / "seg.dcm"
    enhanced(source, modality)
    labels = labels_on(read_series(source).grid)
    write_segmentation(path, labels, source, NAMES, algorithm="test")
    theirs = hd.seg.segread(path).get_volume(combine_segments=True)
    for number, label in enumerate(NAMES.values(), start=1):
        # by hand from the header's position, directions and spacings
        index = np.argwhere(labels.data == label).mean(axis=0)
        expected = ORIGIN + AXES @ (index * [0.75, 1.5, STEP])
        back = read_mask(path, label=number)
        ours = index_to_world(back.grid, np.argwhere(back.data)).mean(axis=0)
        np.testing.assert_allclose(ours, expected, atol=1e-3)
        there = np.argwhere(theirs.array == number).mean(axis=0)
        np.testing.assert_allclose(
            theirs.map_indices_to_reference(there[None])[0], expected, atol=1e-3
        )
        on_image = read_mask(path, label=number, like=labels.grid)
        assert np.array_equal(on_image.data > 0, labels.data == label)


def test_the_same_image_gives_the_same_bytes(tmp_path):
    source = tmp_path / "source.dcm"
    enhanced(source)
    labels = labels_on(read_series(source).grid)
    for name in ("a.dcm", "b.dcm"):
        write_segmentation(tmp_path / name, labels, source, NAMES, algorithm="test")
    assert (tmp_path / "a.dcm").read_bytes() == (tmp_path / "b.dcm").read_bytes()


def test_a_phase_of_a_series_of_single_slices(tmp_path):
    folder = tmp_path / "series"
    folder.mkdir()
    written = Folder(folder)
    ids = {}
    for p, k in ORDER:
        dataset = written.add(k, phase=p, TemporalPositionIdentifier=p + 1,
                              AcquisitionTime=clock(90 * p))  # fmt: skip
        ids[dataset.SOPInstanceUID] = p
    labels = labels_on(read_series(folder).grid)
    write_segmentation(tmp_path / "s.dcm", labels, folder, NAMES, algorithm="test", phase=1)
    referred = source_frames(pydicom.dcmread(tmp_path / "s.dcm"))
    assert {ids[instance] for _, _, instance, _ in referred} == {1}
    assert {number for *_, number in referred} == {None}
    with pytest.raises(WriteError, match=r"holds 2 phases; pick one \(`--phase`\)"):
        write_segmentation(tmp_path / "t.dcm", labels, folder, NAMES, algorithm="test")


def test_directions_that_differ_by_rounding_and_no_thickness(tmp_path):
    folder = tmp_path / "series"
    folder.mkdir()
    written = Folder(folder)
    for k in range(SHAPE[2]):
        turned = (AXES[:, :2].T.ravel() + 1e-7 * k).round(8).tolist()
        written.add(k, ImageOrientationPatient=turned, SliceThickness="")
    labels = labels_on(read_series(folder).grid)
    write_segmentation(tmp_path / "s.dcm", labels, folder, NAMES, algorithm="test")
    back = read_mask(tmp_path / "s.dcm", label=2, like=labels.grid)
    assert np.array_equal(back.data > 0, labels.data == 9)
    measures = pydicom.dcmread(tmp_path / "s.dcm").SharedFunctionalGroupsSequence[0]
    assert float(measures.PixelMeasuresSequence[0].SliceThickness) == pytest.approx(STEP)


def test_sources_that_cannot_be_referred_to(tmp_path):
    source = tmp_path / "source.dcm"
    enhanced(source, StudyInstanceUID="")
    labels = labels_on(read_series(source).grid)
    with pytest.raises(WriteError, match="without StudyInstanceUID a DICOM SEG cannot refer"):
        write_segmentation(tmp_path / "s.dcm", labels, source, NAMES, algorithm="test")
    assert not (tmp_path / "s.dcm").exists()


def test_one_image_in_two_multi_frame_files_is_refused(tmp_path):
    one, two = tmp_path / "a.dcm", tmp_path / "b.dcm"
    enhanced(one)
    first = pydicom.dcmread(one)
    groups = list(first.PerFrameFunctionalGroupsSequence)
    planes = np.frombuffer(first.PixelData, np.int16).reshape(len(groups), -1)
    for path, part in ((one, slice(0, 2)), (two, slice(2, None))):
        first.SOPInstanceUID = first.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        first.PerFrameFunctionalGroupsSequence = groups[part]
        first.NumberOfFrames = len(groups[part])
        first.PixelData = planes[part].tobytes()
        first.save_as(path, enforce_file_format=True)
    series = read_series(tmp_path)
    assert np.array_equal(series.data[..., 0], value(0))
    with pytest.raises(WriteError, match=r"in 2 multi-frame files \(a.dcm, b.dcm"):
        write_segmentation(
            tmp_path / "s" / "s.dcm", labels_on(series.grid), tmp_path, NAMES, algorithm="test"
        )
