"""Results of an engine's jobs: the rows of every task, and the folder or object store that they go into."""

import io
import json
from dataclasses import replace

import numpy as np
import pyarrow.parquet
import pytest
import torch
from PIL import Image

import metamixer
from jobs import image, run, save_images, upscaling_work
from metamixer.checkpoints.ours import network_info, save_network
from metamixer.data import DetectionPreprocessing, PointPreprocessing, Preprocessing, SegmentationPreprocessing
from metamixer.engine.files import Files
from metamixer.engine.folder import Folder
from metamixer.engine.job import DESCRIPTION
from metamixer.engine.shard import PREDICTIONS
from pictures import save_small_restorer
from random_statistics import randomize


@pytest.fixture
def pictures(tmp_path):
    return save_images(tmp_path / "photos")


@pytest.fixture
def upscaling(tmp_path):
    return upscaling_work(tmp_path)


def test_every_input_is_a_row_and_a_broken_one_a_row_with_its_error(upscaling, pictures, tmp_path):
    results, tally = run(replace(upscaling, inputs=[str(pictures)], pictures=True), tmp_path / "out")
    assert tally == {"inputs": 8, "failed": 1}
    assert sorted(results.input) == sorted(map(str, pictures.rglob("*.png")))
    broken = results[results.error.notna()]
    assert broken.input.tolist() == [str(pictures / "broken.png")]
    assert broken.error.item().startswith("not a readable image")
    good = results[results.error.isna()]
    for name, content, picture in zip(good.input, good.image, good.picture, strict=True):
        expected = metamixer.load(upscaling.load["source"])(Image.open(name))
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(content))), np.asarray(expected))
        assert Image.open(tmp_path / "out" / picture).size == (48, 48)


def test_restored_images_come_with_what_was_found(pictures, tmp_path):
    restorer = str(save_small_restorer(tmp_path / "restore.safetensors"))
    image(9, side=48).save(pictures / "large.png")
    results, tally = run(
        Files("restoration", [str(pictures)], {"source": restorer, "strength": 0.5}, {}, shards=1), tmp_path / "out"
    )
    assert tally == {"inputs": 9, "failed": 1}
    good = results[results.error.isna()]
    for name, content, strength in zip(good.input, good.image, good.strength, strict=True):
        expected = metamixer.load(restorer, strength=0.5)(Image.open(name))
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(content))), np.asarray(expected))
        assert strength == 0.5
    assert good.noise[good.input.str.endswith("large.png")].item() > 10  # the others are too small for an estimate
    assert good.jpeg_quality.isna().all()


NETWORKS = {
    "classification": ("ffnet_nano", {"num_classes": 3}, Preprocessing(size=32)),
    "detection": (
        "cascade_mask_rcnn_ffnet_nano",
        {"num_classes": 3, "channels": 16, "hidden_dim": 32},
        DetectionPreprocessing(short_side=64, long_side=96),
    ),
    "segmentation": (
        "ffnet_head_ffnet_nano",
        {"num_classes": 3, "head_args": {"dim": 16, "depth": 1, "out_dim": 32}},
        SegmentationPreprocessing(window=64, stride=64),
    ),
    "points": ("ffnet_3d_nano", {"in_chans": 6, "num_classes": 3}, PointPreprocessing(0.1, ("position", "colour"))),
}
"""By task: a small network with its arguments and preprocessing."""


@pytest.mark.parametrize("task", NETWORKS)
def test_rows_of_every_task(task, tmp_path):
    torch.manual_seed(0)
    model, arguments, preprocessing = NETWORKS[task]
    network = randomize(metamixer.create_model(model, **arguments))
    about = {"classes": ["a", "b", "c"], "preprocessing": preprocessing.as_dict()}
    save_network(network, network_info(model, arguments, task=task, **about), tmp_path / "network.safetensors")
    if task == "points":
        random = np.random.RandomState(0)
        cloud = {"coord": random.rand(200, 3), "color": 255 * random.rand(200, 3), "normal": random.rand(200, 3)}
        (tmp_path / "room").mkdir()
        for name, values in cloud.items():
            np.save(tmp_path / "room" / f"{name}.npy", values.astype(np.float32))
        given = str(tmp_path / "room")
    else:
        image(side=64).save(tmp_path / "0.png")
        given = str(tmp_path / "0.png")
    options = {
        "classification": {"top": 2},
        "detection": {"score_threshold": 0.0},
        "segmentation": {"window": None, "stride": None, "grey_images": False},
        "points": {"votes": 1, "fragments": False},
    }[task]
    work = Files(task, [given], {"source": str(tmp_path / "network.safetensors")}, options, pictures=True)
    results, tally = run(work, tmp_path / "out")
    assert tally == {"inputs": 1, "failed": 0}, results.error.tolist()
    row, predictor = results.iloc[0], work.prepare()
    if task == "classification":
        assert [(each["name"], each["probability"]) for each in row.classes] == predictor(given).top(2)
    elif task == "detection":
        assert [each["score"] for each in row.objects] == [
            each["score"] for each in predictor(given, score_threshold=0.0).entries()
        ]
    elif task == "segmentation":
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(row.labels))), predictor(given, grey_images=False))
    else:
        assert np.array_equal(row.labels, predictor(given))
    assert Image.open(tmp_path / "out" / row.picture).size[0] > 0


def test_parts_hold_typed_columns(upscaling, pictures, tmp_path):
    work = replace(upscaling, inputs=[str(pictures)])
    run(work, tmp_path / "out")
    dataset = pyarrow.parquet.read_table(tmp_path / "out" / PREDICTIONS)
    assert dataset.schema.names == work.schema.names
    assert json.loads((tmp_path / "out" / DESCRIPTION).read_text())["job"]["task"] == "super_resolution"


def test_results_go_into_an_object_store():
    folder = Folder("memory://results/job")
    folder.write("a/b.txt", b"text")
    assert folder.names("a") == ["a/b.txt"]
    with folder.reading("a/b.txt") as file:
        assert file.read() == b"text"
    folder.remove("a")
    assert not folder.exists("a/b.txt")


def test_a_file_that_is_being_written_is_not_among_the_names(tmp_path):
    """A killed node leaves one, which the next attempt at its shard once read as a result."""
    folder = Folder(str(tmp_path))
    folder.write("predictions/00003/a.parquet", b"whole")
    with folder.writing("predictions/00003/b.parquet"):
        assert len(list((tmp_path / "predictions/00003").iterdir())) == 2
        assert folder.names("predictions") == ["predictions/00003/a.parquet"]
    assert folder.names("predictions") == ["predictions/00003/a.parquet", "predictions/00003/b.parquet"]


@pytest.mark.parametrize("url", ["memory://unfinished", "{tmp_path}"])
def test_an_error_leaves_a_file_as_it_was(url, tmp_path):
    folder = Folder(url.format(tmp_path=tmp_path))
    folder.write("a/old.txt", b"old")
    for name in ("a/old.txt", "a/new.txt"):
        with pytest.raises(RuntimeError), folder.writing(name) as file:
            file.write(b"half")
            raise RuntimeError
    assert folder.names("a") == ["a/old.txt"]
    with folder.reading("a/old.txt") as file:
        assert file.read() == b"old"
