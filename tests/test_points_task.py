"""Training, testing and labeling of point clouds: from a recipe to labeled files, with errors in one line."""

import csv
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from metamixer import cli, create_model
from metamixer.data import PointAugmentation, PointPreprocessing, S3DISData, ScanNetData, SemanticKITTIData
from metamixer.data.points.augmentation import joined, nearest
from metamixer.data.points.clouds import Cloud, read_cloud, write_labelled
from metamixer.data.points.scenes import CloudData, TrainingClouds, collate_voxels
from metamixer.errors import InputError
from metamixer.inference.voting import VOTES, point_scores
from metamixer.ops.sparse import LARGEST_COORDINATE, SparseVoxels
from metamixer.predictors.point_segmenter import PointSegmenter
from metamixer.tasks.confusion import class_ious, read_confusion, segmentation_measures
from metamixer.tasks.lovasz import lovasz_softmax
from metamixer.tasks.optimization.points import PointOptimization
from published_weights import GOLDEN, image

ROOM = 400


def room(seed: int) -> dict[str, np.ndarray]:
    """A floor (class 0) and a wall (class 1); some points have no class."""
    random = np.random.default_rng(seed)
    floor = np.c_[random.uniform(0, 2, (ROOM, 2)), np.zeros(ROOM)]
    wall = np.c_[random.uniform(0, 2, ROOM), np.zeros(ROOM), random.uniform(0.2, 2, ROOM)]
    labels = np.repeat([0, 1], ROOM)
    labels[::40] = -1
    colours = np.repeat([[200, 180, 150], [90, 90, 220]], ROOM, axis=0) + random.integers(-30, 30, (2 * ROOM, 3))
    return {"coord": np.concatenate([floor, wall]), "color": colours, "label": labels}


@pytest.fixture
def clouds(tmp_path):
    """A folder of three rooms with their YAML."""
    for i in range(3):
        np.savez(tmp_path / f"room{i}.npz", **room(i))
    (tmp_path / "clouds.yaml").write_text(
        "classes: ['floor, tiled', wall]\ntrain: [room0.npz, room1.npz]\nval: [room2.npz]\n"
    )
    return tmp_path


RECIPE = {
    "model": {
        "class_path": "PointSegmentation",
        "init_args": {
            "model": "ffnet_3d_nano",
            "num_classes": 2,
            "votes": 2,
            "model_args": {"in_chans": 6},
            "optimization": {"lr": 0.01, "block_lr": 0.01},
        },
    },
    "data": {
        "class_path": "CloudData",
        "init_args": {
            "batch_size": 2,
            "num_workers": 0,
            "preprocessing": {"grid_size": 0.1, "features": ["position", "colour"]},
            "augmentation": {"crop": 300, "mix": 0.5},
        },
    },
    "checkpoint": {"monitor": "val/miou"},
    "trainer": {"max_epochs": 8, "enable_progress_bar": False, "log_every_n_steps": 1, "check_val_every_n_epoch": 8},
}


def test_learns_tests_labels_and_fuses(clouds, tmp_path_factory, capsys):
    runs = tmp_path_factory.mktemp("runs")
    recipe, out = clouds / "recipe.yaml", runs / "run"
    recipe.write_text(yaml.safe_dump({**RECIPE, "out": str(out)}))
    arguments = ["--config", str(recipe), "--data.description", str(clouds / "clouds.yaml")]
    assert cli.main(["fit", *arguments]) == 0
    assert cli.main(["test", *arguments]) == 0
    assert next(csv.reader((out / "test_confusion.csv").open())) == ["class", "floor, tiled", "wall"], (
        "names are quoted"
    )
    counts = read_confusion(out / "test_confusion.csv").numpy()
    assert counts.shape == (2, 2) and counts.sum() == 2 * ROOM - 20
    assert np.trace(counts) > 0.9 * counts.sum(), "a floor and a wall of two colours are soon told apart"
    assert cli.main(["fuse", str(out / "best.ckpt"), "--out", str(out / "deploy.safetensors")]) == 0
    assert "parity on random voxels" in capsys.readouterr().out
    for name in ("best.ckpt", "deploy.safetensors"):
        labelled = runs / f"labelled_{name}"
        assert (
            cli.main(["points", str(clouds), "--checkpoint", str(out / name), "--out", str(labelled), "--votes", "2"])
            == 0
        )
        assert sorted(path.suffix for path in labelled.iterdir()) == [".csv", *[".jpg"] * 3, *[".npz"] * 3]
        found = np.load(labelled / "room2.npz")
        assert found["prediction"].shape == (2 * ROOM,)
        known = found["label"] >= 0
        assert (found["prediction"] == found["label"])[known].mean() > 0.9
        rows = list(csv.DictReader((labelled / "counts.csv").open()))
        assert sum(int(row["points"]) for row in rows) == 3 * 2 * ROOM
    assert "800 points" in capsys.readouterr().out
    description = (clouds / "clouds.yaml").read_text()
    (clouds / "clouds.yaml").write_text(description.replace("['floor, tiled', wall]", "{1: wall, 0: 'floor, tiled'}"))
    assert cli.main(["test", *arguments]) == 2
    assert (
        "class 0 of the data is 'wall', expected 'floor, tiled', the class that the checkpoint was trained on"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"coord": np.zeros((2, 3))}, "no colours, expected them"),
        ({"coord": np.zeros((0, 3)), "color": np.zeros((0, 3))}, "no points"),
        ({"coord": np.array([[0, 0, np.nan]]), "color": np.zeros((1, 3))}, "nan"),
        ({"coord": np.array([[0, 0, 0], [0, 0, 1e9]]), "color": np.zeros((2, 3))}, "from end to end"),
    ],
)
def test_the_command_refuses_before_it_writes(tmp_path, capsys, arrays, message):
    save_checkpoint(tmp_path / "net.safetensors")
    np.savez(tmp_path / "good.npz", **room(0))
    np.savez(tmp_path / "wrong.npz", **arrays)
    files = [str(tmp_path / name) for name in ("good.npz", "wrong.npz")]
    code = cli.main(
        ["points", *files, "--checkpoint", str(tmp_path / "net.safetensors"), "--out", str(tmp_path / "out")]
    )
    error = capsys.readouterr().err
    assert code == 2 and error.count("\n") == 1 and message in error and "wrong.npz" in error
    assert not (tmp_path / "out").exists()


def label(tmp_path, capsys, *arguments, out="out"):
    """Exit code and standard error of the command."""
    save_checkpoint(tmp_path / "net.safetensors")
    code = cli.main(
        ["points", *arguments, "--checkpoint", str(tmp_path / "net.safetensors"), "--out", str(tmp_path / out)]
    )
    return code, capsys.readouterr().err


@pytest.mark.parametrize("existing", ["room1.npz", "room2.jpg", "counts.csv"])
def test_the_command_replaces_files_only_when_asked(clouds, capsys, existing):
    (clouds / "out").mkdir()
    (clouds / "out" / existing).write_text("before")
    files = [str(clouds / f"room{i}.npz") for i in range(3)]
    code, error = label(clouds, capsys, *files)
    assert (
        code == 2
        and error.count("\n") == 1
        and f"{existing}: exists, expected another name or folder, or --overwrite" in error
    )
    assert [path.name for path in (clouds / "out").iterdir()] == [existing]
    assert label(clouds, capsys, *files, "--overwrite")[0] == 0
    assert len(list((clouds / "out").iterdir())) == 7 and (clouds / "out" / existing).read_bytes() != b"before"


@pytest.mark.parametrize("overwrite", ["true", "false"])
def test_the_command_never_replaces_its_input(clouds, capsys, overwrite):
    before = (clouds / "room0.npz").read_bytes()
    code, error = label(clouds, capsys, str(clouds / "room0.npz"), "--overwrite", overwrite, out=".")
    assert code == 2 and error.count("\n") == 1 and "room0.npz: is one of the inputs" in error
    assert (clouds / "room0.npz").read_bytes() == before


def test_a_failed_cloud_does_not_stop_the_others(clouds, capsys, monkeypatch):
    def write(source, target, labels):
        if Path(source).name == "room1.npz":
            raise RuntimeError("odd")
        write_labelled(source, target, labels)

    monkeypatch.setattr("metamixer.predictors.point_labels.write_labelled", write)
    code, error = label(clouds, capsys, str(clouds))
    assert code == 2 and "room1.npz: RuntimeError: odd" in error and "1 of 3 files failed" in error
    files = [row["file"] for row in csv.DictReader((clouds / "out/counts.csv").open())]
    assert files == ["room0.npz"] * 2 + ["room2.npz"] * 2
    code, error = label(clouds, capsys, str(clouds / "room1.npz"), out="single")
    assert code == 2 and error.count("\n") == 1 and "room1.npz: RuntimeError: odd" in error
    assert not (clouds / "single").exists()


def test_one_cloud_is_in_memory_at_a_time(clouds, capsys, monkeypatch):
    read: list[weakref.ref] = []

    def read_alone(path):
        assert all(each() is None for each in read), f"another cloud is still there when {path} is read"
        cloud = read_cloud(path)
        read.append(weakref.ref(cloud))
        return cloud

    for module in ("data.points.clouds", "data.points.given", "predictors.point_segmenter"):
        monkeypatch.setattr(f"metamixer.{module}.read_cloud", read_alone)
    assert label(clouds, capsys, str(clouds)) == (0, "")
    assert len(read) == 6, "each is checked first and read again"


def test_a_cloud_must_fit_the_grid_in_its_largest_view(tmp_path, capsys):
    size = LARGEST_COORDINATE * 0.1 / 1.03
    np.savez(tmp_path / "long.npz", coord=np.array([[0, 0, 0], [size, 0, 0]]), color=np.zeros((2, 3)))
    code, error = label(tmp_path, capsys, str(tmp_path / "long.npz"), "--votes", "13")
    assert (
        code == 2
        and "long.npz: 12723.8 m from end to end, expected at most" in error
        and "views of 1.05 times the size" in error
    )
    assert not (tmp_path / "out").exists()
    assert label(tmp_path, capsys, str(tmp_path / "long.npz"), "--votes", "4")[0] == 0
    with pytest.raises(InputError, match="votes 14, expected 1 to 13"):
        PointSegmenter.load(tmp_path / "net.safetensors")(tmp_path / "long.npz", votes=14)


def save_checkpoint(path):
    from metamixer.checkpoints.ours import network_info, save_network

    preprocessing = PointPreprocessing(0.1, ("position", "colour"))
    arguments = {"in_chans": 6, "num_classes": 2}
    info = network_info(
        "ffnet_3d_nano", arguments, task="points", classes=["floor", "wall"], preprocessing=preprocessing.as_dict()
    )
    save_network(create_model("ffnet_3d_nano", **arguments), info, path)


def test_a_single_point_and_votes(tmp_path):
    save_checkpoint(tmp_path / "net.safetensors")
    segmenter = PointSegmenter.load(tmp_path / "net.safetensors")
    assert segmenter(Cloud(np.zeros((1, 3)), np.zeros((1, 3)))).shape == (1,)
    cloud = read_cloud_of(room(0))
    scores = segmenter.scores(cloud, votes=len(VOTES))
    torch.testing.assert_close(scores.sum(dim=1), torch.ones(2 * ROOM))
    with pytest.raises(InputError, match="no colours"):
        segmenter(Cloud(np.zeros((5, 3))))


def read_cloud_of(arrays):
    return Cloud(arrays["coord"], colours=arrays["color"].astype(np.float32), labels=arrays["label"])


def test_fragments_predict_every_point(tmp_path):
    """A network that returns the color of a point distinguishes all points of a voxel with fragments; without them, it
    sees only the first.
    """

    class Echo(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.factor = torch.nn.Parameter(torch.tensor(50.0))

        def forward(self, voxels):
            return self.factor * torch.stack([voxels.features[:, 0], -voxels.features[:, 0]], dim=1)

    cloud = Cloud(np.zeros((3, 3)), colours=np.array([[255, 0, 0], [0, 0, 0], [255, 0, 0]], dtype=np.float32))
    preprocessing = PointPreprocessing(0.1, ("colour",))
    assert point_scores(Echo(), cloud, preprocessing, fragments=True).argmax(dim=1).tolist() == [0, 1, 0]
    assert point_scores(Echo(), cloud, preprocessing).argmax(dim=1).tolist() == [0, 0, 0]


def test_positions_count_from_the_middle_of_the_cloud(clouds):
    """Far from the map's origin, float32 has a resolution of half a meter."""
    near, far = room(0), room(0)
    far["coord"] = far["coord"] + [500_000.0, 5_400_000.0, 300.0]
    save_checkpoint(clouds / "net.safetensors")
    segmenter = PointSegmenter.load(clouds / "net.safetensors")
    scores = [segmenter.scores(read_cloud_of(each), votes=6) for each in (near, far)]
    torch.testing.assert_close(*scores, rtol=1e-3, atol=1e-4)
    np.savez(clouds / "room0.npz", **far)
    augmentation = PointAugmentation(mix=0.0, jitter=0.0, tilt=0.0, scale=(1.0, 1.0))
    data = CloudData(str(clouds / "clouds.yaml"), augmentation=augmentation, batch_size=2, num_workers=0)
    positions = next(iter(data.train_dataloader()))["features"]
    assert positions[:, :2].abs().max() < 1.5 and positions[:, 2].min() >= 0 and positions[:, 2].max() < 2.1


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


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (lambda: PointAugmentation(crop=0), "augmentation.crop 0, expected a number above 0"),
        (lambda: PointAugmentation(scale=(1.1,)), r"augmentation.scale \[1.1\], expected two numbers"),
        (lambda: PointAugmentation(mix=2.0), "augmentation.mix 2.0, expected 0 to 1"),
        (lambda: PointOptimization(warmup=2.0), "optimization.warmup 2.0, expected 0 to 1"),
        (lambda: PointOptimization(lr=0.0), "optimization.lr 0.0, expected a number above 0"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(InputError, match=message):
        settings()


def test_lovasz_loss_is_the_published_one():
    numbers = np.load(GOLDEN / "points.npz")
    logits = image("lovasz/logits", (50, 5)).requires_grad_()
    loss = lovasz_softmax(logits, torch.from_numpy(numbers["lovasz/labels"]))
    torch.testing.assert_close(loss, torch.tensor(numbers["lovasz/loss"]), rtol=0, atol=1e-6)
    loss.backward()
    assert logits.grad.any()
    nobody = lovasz_softmax(logits, torch.full((50,), -1))
    assert nobody == 0 and nobody.requires_grad


def test_measures():
    counts = torch.tensor([[6, 2, 0], [0, 2, 0], [0, 0, 0]])
    ious = class_ious(counts)
    torch.testing.assert_close(ious[:2], torch.tensor([6 / 8, 2 / 4]))
    assert ious[2].isnan()
    measures = segmentation_measures(counts)
    assert measures["miou"] == pytest.approx(0.625) and measures["accuracy"] == pytest.approx(0.8)
    assert measures["mean_accuracy"] == pytest.approx((6 / 8 + 1) / 2)


def test_two_rates_in_one_cycle():
    network = create_model("ffnet_3d_nano", num_classes=2)
    optimization = PointOptimization(lr=0.006, block_lr=0.0006, warmup=0.1)
    optimizer = optimization.optimizer(network)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(network.parameters()))
    scheduler, rates = optimization.scheduler(optimizer, steps=100, steps_per_epoch=10), []
    for _ in range(100):
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    highest = np.max(rates, axis=0)
    in_blocks = {
        id(parameter) for name, parameter in network.named_parameters() if name.startswith(("encoder.", "decoder."))
    }
    blocks = [id(group["params"][0]) in in_blocks for group in optimizer.param_groups]
    np.testing.assert_allclose(highest, np.where(blocks, 0.0006, 0.006), rtol=0.01)
    np.testing.assert_allclose(rates[0], highest / 10, rtol=0.02)
    assert (np.array(rates[-1]) < highest / 1000).all()


def test_augmentation_keeps_points_labels_and_lengths():
    cloud = read_cloud_of(room(0))
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
    with pytest.raises(InputError, match=r"19 numbers, expected four per point: truncated"):
        data.read(tmp_path / "08/velodyne/000000.bin")


def test_a_task_that_does_not_fit_its_data_is_refused(clouds, capsys):
    recipe = clouds / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({**RECIPE, "out": str(clouds / "run")}))
    arguments = ["fit", "--config", str(recipe), "--data.description", str(clouds / "clouds.yaml")]
    assert cli.main([*arguments, "--model.init_args.num_classes", "3"]) == 2
    assert "model.num_classes 3, expected 2" in capsys.readouterr().err
    assert cli.main([*arguments, "--model.init_args.model_args", "{in_chans: 4}"]) == 2
    assert "in_chans 4, expected 6, the data's (position, colour)" in capsys.readouterr().err


def test_reads_back_what_it_wrote(clouds):
    assert read_cloud(clouds / "room0.npz").labels.dtype == np.int64
