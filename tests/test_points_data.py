"""Point clouds as training data: positions, augmentation, batches, and the layouts of data sets."""

from pathlib import Path

import numpy as np
import pytest
import torch

from metamixer import create_model
from metamixer.data import PointAugmentation, PointPreprocessing, S3DISData, ScanNetData, SemanticKITTIData
from metamixer.data.points.augmentation import joined, nearest
from metamixer.data.points.clouds import Cloud, read_cloud, write_labelled
from metamixer.data.points.scenes import CloudData, TrainingClouds, collate_voxels
from metamixer.errors import InputError
from metamixer.ops.sparse import SparseVoxels
from rooms import ROOM, cloud_of, room, write_rooms


@pytest.fixture
def clouds(tmp_path):
    return write_rooms(tmp_path)


def test_scanners_and_older_checkpoints_keep_their_origin():
    cloud = Cloud(np.array([[5.0, 5, 5], [7, 7, 7]]), intensity=np.zeros(2, np.float32))
    older = PointPreprocessing.from_dict({"grid_size": 0.1, "features": ["position"]})
    scanner = SemanticKITTIData("anywhere").preprocessing
    for preprocessing in (
        older,
        scanner,
        PointPreprocessing.from_dict(scanner.as_dict()),
        PointPreprocessing(features=("intensity",)),
    ):
        assert preprocessing.placed(cloud) is cloud
    ours = PointPreprocessing(features=("position",))
    assert PointPreprocessing.from_dict(ours.as_dict()) == ours
    np.testing.assert_array_equal(ours.placed(cloud).coordinates, [[-1, -1, 0], [1, 1, 2]])
    np.testing.assert_array_equal(joined(cloud, cloud, centred=False).coordinates[:2], cloud.coordinates)
    np.testing.assert_array_equal(joined(cloud, cloud).coordinates[:2], [[-1, -1, 0], [1, 1, 2]])


def test_a_second_scene_keeps_its_position_to_the_scanner(clouds):
    still = PointAugmentation(
        turn_chance=0.0,
        flip=0.0,
        scale=(1.0, 1.0),
        jitter=0.0,
        drop_chance=0.0,
        contrast=0.0,
        colour_shift=0.0,
        colour_jitter=0.0,
        mix=1.0,
    )
    preprocessing = PointPreprocessing(0.1, ("position",), centred=False)
    scenes = TrainingClouds(
        [Path("first"), Path("second")], lambda _: scan, preprocessing=preprocessing, augmentation=still
    )
    scan = Cloud(np.array([[20.0, 5, -1.7], [30, 7, -1.5]]), labels=np.array([0, 1]))
    torch.testing.assert_close(scenes[0]["features"].unique(dim=0), torch.tensor([[20.0, 5, -1.7], [30, 7, -1.5]]))


def test_positions_are_not_rounded_by_half_precision():
    network = create_model("ffnet_3d_nano", in_chans=3, num_classes=2).eval()
    seen = []
    network.stem[0].register_forward_hook(lambda _, inputs, output: seen.append(output.features.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(SparseVoxels.of(torch.rand(20, 3) * 70, torch.arange(60).view(20, 3)))
    assert seen == [torch.float32] and logits.dtype == torch.bfloat16


def test_augmentation_keeps_points_labels_and_lengths():
    cloud = cloud_of(room(0))
    rigid = PointAugmentation(
        turn_chance=1.0, scale=(1, 1), jitter=0.0, drop_chance=0.0, contrast=0.0, colour_shift=0.0, colour_jitter=0.0
    )
    changed = rigid(cloud, np.random.default_rng(0))
    lengths = [np.linalg.norm(np.diff(each.coordinates, axis=0), axis=1) for each in (cloud, changed)]
    np.testing.assert_allclose(*lengths)
    assert not np.allclose(changed.coordinates, cloud.coordinates)
    np.testing.assert_array_equal(changed.labels, cloud.labels)
    dropped = PointAugmentation(drop_chance=1.0)(cloud, np.random.default_rng(0))
    assert 0.7 * len(cloud) < len(dropped) < 0.9 * len(cloud)
    assert dropped.colours.min() >= 0 and dropped.colours.max() <= 255
    assert len(PointAugmentation(drop=1.0, drop_chance=1.0)(cloud.take(np.arange(2)), np.random.default_rng(0))) > 0
    assert len(joined(cloud, dropped)) == len(cloud) + len(dropped)
    rows = nearest(cloud.coordinates, 50, np.random.default_rng(0))
    assert len(rows) == 50 and np.ptp(cloud.coordinates[rows], axis=0).max() < 1


def test_batches_follow_from_the_seed(clouds):
    def batch():
        data = CloudData(str(clouds / "clouds.yaml"), batch_size=2, num_workers=0, seed=3)
        return next(iter(data.train_dataloader()))

    first, second = batch(), batch()
    assert set(first["batch"].tolist()) == {0, 1}
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert len(collate_voxels([first])["labels"]) == len(first["labels"])


FILES = "train: [room0.npz]\nval: [room0.npz]\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("classes: [floor]\ntrain: [room0.npz]\nval: [room0.npz]\n", r"room0\.npz: label 1, expected one of -1, 0"),
        ("train: [room0.npz]\n", r"clouds\.yaml: no classes, val, expected"),
        ("classes: [", "not readable as YAML"),
        ("- floor\n", r"clouds\.yaml: contains list, expected keys"),
        ("classes: 5\n" + FILES, r"clouds\.yaml: classes: 5, expected a list of names, or a mapping"),
        ("classes: floor\n" + FILES, "classes: 'floor', expected a list of names"),
        ("classes: {a: 0, b: 1}\n" + FILES, "classes: label 'a', expected a whole number before the name"),
        ("classes: [floor, [wall]]\n" + FILES, r"classes: name \['wall'\] of label 1, expected text"),
        ("classes: [floor, true]\n" + FILES, "classes: name True of label 1, expected text"),
        ("classes: [a, b]\nignored: x\n" + FILES, "ignored: 'x', expected a list of whole numbers"),
        ("classes: [a, b]\nignored: 7\n" + FILES, "ignored: 7, expected a list of whole numbers"),
        ("classes: [a, b]\nignored: [1.5]\n" + FILES, r"ignored: \[1.5\], expected a list of whole numbers"),
        ("classes: [a, b]\nignored: [7, 1]\n" + FILES, "label 1 in classes and ignored, expected it in one"),
        ("classes: {-1: a, 0: b}\n" + FILES, "label -1 in classes and ignored"),
        ("classes: [a, b]\nignore: [7]\n" + FILES, "unknown key 'ignore', expected some of classes, ignored, train"),
        ("classes: [a, b]\ntrain: [3]\nval: [room0.npz]\n", r"train: \[3\], expected a list of files and folders"),
        ("classes: [a, b]\ntrain: {a: room0.npz}\nval: [room0.npz]\n", "train: {'a': 'room0.npz'}, expected a list"),
        ("classes: [a, b]\ntrain: [nowhere]\nval: [room0.npz]\n", "nowhere: no such file or folder"),
    ],
)
def test_a_wrong_description_is_refused(clouds, content, message):
    (clouds / "clouds.yaml").write_text(content)
    with pytest.raises(InputError, match=message):
        data = CloudData(str(clouds / "clouds.yaml"))
        data.read(data.scenes("train")[0])


def test_labels_of_files_become_numbers_of_classes(clouds):
    (clouds / "clouds.yaml").write_text(
        "classes: {1: wall, 0: floor}\nignored: [7]\ntrain: room0.npz\nval: room1.npz\n"
    )
    data = CloudData(str(clouds / "clouds.yaml"))
    labels = room(0)["label"]
    assert data.classes == ["wall", "floor"]
    assert data.scenes("train") == [clouds / "room0.npz"] and data.scenes("test") == data.scenes("val") == [
        clouds / "room1.npz"
    ]
    np.testing.assert_array_equal(data.read(clouds / "room0.npz").labels, np.where(labels < 0, -1, 1 - labels))


def test_rooms_in_pointcepts_layout(tmp_path):
    arrays = room(0)
    for folder in (
        "scannet/train/scene0",
        "scannet/val/scene1",
        *(f"s3dis/Area_{area}/office_1" for area in range(1, 7)),
    ):
        (tmp_path / folder).mkdir(parents=True)
        content = {"coord": arrays["coord"], "color": arrays["color"], "normal": arrays["coord"]}
        for name in ("segment", "segment20", "segment200"):
            np.save(tmp_path / folder / f"{name}.npy", arrays["label"][:, None])
        for name, array in content.items():
            np.save(tmp_path / folder / f"{name}.npy", array)
    scannet = ScanNetData(str(tmp_path / "scannet"), num_classes=200)
    np.testing.assert_array_equal(scannet.read(scannet.scenes("test")[0]).labels, arrays["label"])
    s3dis = S3DISData(str(tmp_path / "s3dis"), test_area=2)
    assert [path.parent.name for path in s3dis.scenes("test")] == ["Area_2"] and len(s3dis.scenes("train")) == 5
    np.save(tmp_path / "scannet/val/scene1/segment20.npy", np.full(2 * ROOM, 20))
    with pytest.raises(InputError, match=r"scene1: label 20, expected -1 \(ignored\) or 0 to 19"):
        ScanNetData(str(tmp_path / "scannet")).read(tmp_path / "scannet/val/scene1")
    np.save(tmp_path / "scannet/val/scene1/segment20.npy", np.full(2 * ROOM, np.nan))
    with pytest.raises(InputError, match=r"segment20\.npy: label nan, expected signed 64-bit integers"):
        ScanNetData(str(tmp_path / "scannet")).read(tmp_path / "scannet/val/scene1")
    with pytest.raises(InputError, match="no rooms found"):
        ScanNetData(str(tmp_path / "nowhere")).scenes("train")


def test_semantickitti_as_published_and_as_npz(tmp_path):
    raw = np.array([10, 252, 0, 40, 259], dtype="<u4")
    points = np.random.default_rng(0).random((5, 4)).astype("<f4")
    for folder in ("08/velodyne", "08/labels", "00"):
        (tmp_path / folder).mkdir(parents=True)
    points.tofile(tmp_path / "08/velodyne/000000.bin")
    (raw | 5 << 16).tofile(tmp_path / "08/labels/000000.label")
    np.savez(
        tmp_path / "00/000000.npz",
        xyz_cm=(points[:, :3] * 100).astype(np.int16),
        intensity=np.full(5, 30, np.uint8),
        label=raw,
    )
    data = SemanticKITTIData(str(tmp_path))
    for split in ("train", "val"):
        (path,) = data.scenes(split)
        assert data.read(path).labels.tolist() == [0, 0, -1, 8, 4]
    np.savez(tmp_path / "00/000000.npz", xyz_cm=points[:, :3], intensity=points[:, 3], label=raw + 1000)
    with pytest.raises(InputError, match=r"000000\.npz: label 1000, expected one of 0, 1, 10"):
        data.read(tmp_path / "00/000000.npz")
    (tmp_path / "08/velodyne/000000.bin").write_bytes(points.tobytes()[:-4])
    with pytest.raises(InputError, match=r"76 bytes, expected 16 per point, as in KITTI's scans: truncated"):
        data.read(tmp_path / "08/velodyne/000000.bin")


def test_reads_back_what_it_wrote(clouds):
    assert read_cloud(clouds / "room0.npz").labels.dtype == np.int64


def test_a_scan_of_kitti_needs_no_labels_to_be_predicted(tmp_path):
    points = np.random.default_rng(0).random((9, 4), dtype=np.float32)
    points.tofile(tmp_path / "000000.bin")
    cloud = read_cloud(tmp_path / "000000.bin")
    assert np.array_equal(cloud.coordinates, points[:, :3]) and np.array_equal(cloud.intensity, points[:, 3])
    write_labelled(tmp_path / "000000.bin", tmp_path / "out.npz", np.arange(9))
    assert np.load(tmp_path / "out.npz")["prediction"].tolist() == list(range(9))
