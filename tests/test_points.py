"""`metamixer points` and the point segmenter behind it: labeled files, and errors in one line."""

import csv
import json
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch

from metamixer import cli, create_model
from metamixer.data import PointAugmentation, PointPreprocessing
from metamixer.data.points.clouds import Cloud, read_cloud, write_labelled
from metamixer.data.points.scenes import CloudData
from metamixer.errors import InputError
from metamixer.inference.voting import VOTES, point_scores
from metamixer.ops.sparse import LARGEST_COORDINATE
from metamixer.predictors.point_segmenter import PointSegmenter
from rooms import ROOM, cloud_of, room, write_rooms


@pytest.fixture
def clouds(tmp_path):
    return write_rooms(tmp_path)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"coord": np.zeros((2, 3))}, "no colours, expected because the network uses"),
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

    def read_alone(path, intensity_max=None):
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


def test_json_is_the_result_in_python(clouds, tmp_path, capsys):
    save_checkpoint(tmp_path / "net.safetensors")
    cloud, out = clouds / "room1.npz", tmp_path / "out"
    options = ["--checkpoint", str(tmp_path / "net.safetensors"), "--out", str(out), "--json", "-"]
    assert cli.main(["points", str(cloud), *options]) == 0
    found = PointSegmenter.load(tmp_path / "net.safetensors")(cloud).to_dict()
    assert json.loads(capsys.readouterr().out) == [{"labels": "room1.npz", "folder": str(out), **found}]
    rows = list(csv.DictReader((out / "counts.csv").open()))
    assert [row["class"] for row in rows] == ["floor", "wall"]
    assert sum(int(row["points"]) for row in rows) == found["points"]


def test_a_cloud_given_twice_is_labeled_once(clouds, capsys):
    files = [str(folder / "room0.npz") for folder in (clouds, clouds / ".." / clouds.name)]
    assert label(clouds, capsys, *files) == (0, "")
    assert {path.name for path in (clouds / "out").iterdir()} == {"room0.npz", "room0.jpg", "counts.csv"}


def test_a_single_point_and_votes(tmp_path):
    save_checkpoint(tmp_path / "net.safetensors")
    segmenter = PointSegmenter.load(tmp_path / "net.safetensors")
    assert segmenter(Cloud(np.zeros((1, 3)), np.zeros((1, 3)))).shape == (1,)
    cloud = cloud_of(room(0))
    scores = segmenter.scores(cloud, votes=len(VOTES))
    torch.testing.assert_close(scores.sum(dim=1), torch.ones(2 * ROOM))
    with pytest.raises(InputError, match="no colours"):
        segmenter(Cloud(np.zeros((5, 3))))


def test_another_maximum_of_the_intensity(tmp_path, capsys):
    rows = np.c_[np.random.default_rng(0).random((9, 3)), np.full(9, 51)]
    np.save(tmp_path / "a.npy", rows)
    segmenter = PointSegmenter.load(intensity_max=255)
    scores = segmenter.scores(Cloud(rows[:, :3], intensity=np.full(9, 0.2, np.float32)))
    for given in (tmp_path / "a.npy", rows, {"points": rows}):
        np.testing.assert_array_equal(segmenter(given), scores.argmax(dim=1))
    torch.testing.assert_close(segmenter.scores(tmp_path / "a.npy"), scores)
    assert cli.main(["points", str(tmp_path / "a.npy"), "--intensity_max", "0", "--out", str(tmp_path / "out")]) == 2
    assert "intensity_max 0.0, expected a number above 0" in capsys.readouterr().err


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
    scores = [segmenter.scores(cloud_of(each), votes=6) for each in (near, far)]
    torch.testing.assert_close(*scores, rtol=1e-3, atol=1e-4)
    np.savez(clouds / "room0.npz", **far)
    augmentation = PointAugmentation(mix=0.0, jitter=0.0, tilt=0.0, scale=(1.0, 1.0))
    data = CloudData(str(clouds / "clouds.yaml"), augmentation=augmentation, batch_size=2, num_workers=0)
    positions = next(iter(data.train_dataloader()))["features"]
    assert positions[:, :2].abs().max() < 1.5 and positions[:, 2].min() >= 0 and positions[:, 2].max() < 2.1
