"""Small good files of every kind, and what reads each."""

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image
from torch import nn

from metamixer.checkpoints.ours import network_info, save_network
from metamixer.checkpoints.source import load_network
from metamixer.data.detection.coco import whole_target
from metamixer.data.detection.coco_json import read_coco
from metamixer.data.images.lossless import read_picture
from metamixer.data.images.reading import read_image
from metamixer.data.points.clouds import read_cloud, write_labelled
from metamixer.data.points.description import read_description
from metamixer.data.preprocessing import Preprocessing
from metamixer.data.segmentation.label_maps import read_classes, read_label_map
from metamixer.data.series.frames import read_frame
from metamixer.data.series.tables import find_table, read_table
from metamixer.deployment.exporting import export
from metamixer.errors import naming
from metamixer.models import create_model
from metamixer.predictors.classifier import Classifier
from metamixer.predictors.forecaster import Forecaster
from metamixer.system.weight_files import read_published

NETWORK = {"depths": [1, 1, 1, 1], "dims": [8, 8, 16, 16], "num_classes": 3}
TEXT = (".json", ".yaml", ".csv", ".xml")


@dataclass(frozen=True)
class Kind:
    """name: of the seed file; read: what a command does with such a file; beside: other files that it needs."""

    name: str
    read: Callable[[Path], object]

    @property
    def suffix(self) -> str:
        return "".join(Path(self.name).suffixes)


def make(folder: Path) -> list[Kind]:
    """Write the seeds into a folder."""
    torch.manual_seed(0)
    kinds = [
        *_images(folder),
        *_clouds(folder),
        *_tables(folder),
        *_descriptions(folder),
        *_networks(folder),
        *_exported(folder),
    ]
    return [kind for kind in kinds if (folder / kind.name).is_file()]


def _images(folder: Path) -> list[Kind]:
    pixels = np.random.default_rng(0).integers(0, 255, (24, 32, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    for suffix in ("png", "jpg", "webp", "bmp", "gif"):
        image.save(folder / f"image.{suffix}")
    image.save(folder / "image.tif", compression="tiff_lzw")
    image.save(folder / "plain.tif")
    Image.fromarray(pixels[:, :, 0].astype(np.uint16) * 200).save(folder / "deep.png")
    Image.fromarray(pixels[:, :, 0] % 11).save(folder / "labels.png")
    classes = read_classes("camvid")

    def read(path: Path) -> None:
        read_image(path, name=str(path))
        if path.suffix != ".gif":  # which upscale refuses
            read_picture(path)

    names = [path.name for path in folder.iterdir() if path.stem != "labels"]
    labels = Kind("labels.png", lambda path: read_label_map(path, classes, size=(24, 32)))
    return [*(Kind(name, read) for name in sorted(names)), labels]


def _clouds(folder: Path) -> list[Kind]:
    random = np.random.default_rng(1)
    xyz = random.random((50, 3)).astype(np.float32)
    np.save(folder / "cloud.npy", np.hstack([xyz, random.integers(0, 255, (50, 3)).astype(np.float32)]))
    np.savez(folder / "cloud.npz", coord=xyz, color=random.integers(0, 255, (50, 3)), segment=np.arange(50))
    np.savez_compressed(folder / "packed.npz", coord=xyz, strength=random.random(50))
    head = "ply\nformat {}\nelement vertex 50\nproperty float x\nproperty float y\nproperty float z\nend_header\n"
    (folder / "binary.ply").write_bytes(head.format("binary_little_endian 1.0").encode() + xyz.tobytes())
    lines = "".join(f"{x:.4f} {y:.4f} {z:.4f}\n" for x, y, z in xyz)
    (folder / "text.ply").write_text(head.format("ascii 1.0") + lines)
    names = ["cloud.npy", "cloud.npz", "packed.npz", "binary.ply", "text.ply"]
    if find_spec("laspy"):
        import laspy

        for suffix, version, form in (("las", "1.2", 3), ("laz", "1.4", 7)):
            file = laspy.create(point_format=form, file_version=version)
            file.x, file.y, file.z = xyz.T
            file.write(folder / f"cloud.{suffix}")
        names += ["cloud.las", "cloud.laz"]

    def read(path: Path) -> None:
        cloud = read_cloud(path)
        write_labelled(path, path.with_name(f"out_{path.name}"), np.zeros(len(cloud), np.int64))

    return [Kind(name, read) for name in names]


def _tables(folder: Path) -> list[Kind]:
    import pandas

    dates = pandas.date_range("2024-01-01", periods=40, freq="h")
    wide = pandas.DataFrame({"date": dates, "a": np.arange(40.0), "b": np.sin(np.arange(40))})
    long = pandas.DataFrame({"unique_id": ["x"] * 20 + ["y"] * 20, "ds": [*dates[:20]] * 2, "y": np.arange(40.0)})
    wide.to_csv(folder / "wide.csv", index=False)
    long.to_csv(folder / "long.csv", index=False)
    (folder / "packed.csv.gz").write_bytes(gzip.compress(wide.to_csv(index=False).encode()))
    if find_spec("pyarrow"):
        wide.to_parquet(folder / "wide.parquet")

    def read(path: Path) -> None:
        with naming(find_table(path)):
            read_frame(read_table(path))

    return [Kind(name, read) for name in ("wide.csv", "long.csv", "packed.csv.gz", "wide.parquet")]


def _descriptions(folder: Path) -> list[Kind]:
    from metamixer.training.recipe_checks import check_recipes

    annotations = [
        {
            "id": 1,
            "image_id": 1,
            "category_id": 1,
            "bbox": [2, 2, 10, 10],
            "area": 100,
            "iscrowd": 0,
            "segmentation": [[2, 2, 12, 2, 12, 12, 2, 12]],
        },
        {
            "id": 2,
            "image_id": 1,
            "category_id": 2,
            "bbox": [0, 0, 32, 24],
            "area": 100,
            "iscrowd": 1,
            "segmentation": {"size": [24, 32], "counts": [100, 68, 600]},
        },
    ]
    image = {"id": 1, "file_name": "image.png", "width": 32, "height": 24}
    categories = [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]
    coco = {"images": [image], "annotations": annotations, "categories": categories}
    (folder / "coco.json").write_text(json.dumps(coco))
    classes = {"classes": [{"name": "a", "colour": [1, 2, 3]}, {"name": "b", "colour": [4, 5, 6]}], "ignore_index": 9}
    (folder / "classes.yaml").write_text(yaml.safe_dump(classes))
    clouds = {"classes": {1: "a", 2: "b"}, "ignored": [0], "train": ["a.ply"], "val": "b.ply"}
    (folder / "clouds.yaml").write_text(yaml.safe_dump(clouds))
    recipe = {"model": {"class_path": "Classification"}, "trainer": {"max_epochs": 1}, "data": "DigitsData"}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))

    def read_objects(path: Path) -> None:
        for each in read_coco(path, folder).images:
            if each.size == (24, 32):
                whole_target(each)

    return [
        Kind("coco.json", read_objects),
        Kind("classes.yaml", lambda path: read_classes(str(path))),
        Kind("clouds.yaml", read_description),
        Kind("recipe.yaml", lambda path: check_recipes(["fit", "--config", str(path)])),
    ]


def _networks(folder: Path) -> list[Kind]:
    network = create_model("ffnet_nano", **NETWORK)
    about = {"task": "classification", "classes": ["a", "b", "c"], "preprocessing": Preprocessing(size=32).as_dict()}
    info = network_info("ffnet_nano", NETWORK, **about)
    save_network(network, info, folder / "network.safetensors")
    state = {f"network.{key}": value for key, value in network.state_dict().items()}
    content = {"state_dict": state, "metamixer": info, "pytorch-lightning_version": "2.6.6", "epoch": 0}
    torch.save(content, folder / "run.ckpt")
    torch.save(network.state_dict(), folder / "published.pt")
    forecaster = create_model("ffnet_ts", variables=2, lookback=48, horizon=12)
    kept = {
        "names": ["a", "b"],
        "time": "date",
        "scaling": {"mean": [0.0, 1.0], "std": [1.0, 2.0]},
        "layout": {"long": False, "time": "date"},
        "quantiles": {"80": [[1.0, 1.0]] * 12},
        "frequency": "h",
    }
    args = {"variables": 2, "lookback": 48, "horizon": 12}
    info = network_info("ffnet_ts", args, task="forecasting", preprocessing=kept)
    save_network(forecaster, info, folder / "forecaster.safetensors")

    def classify(path: Path) -> None:
        Classifier.load(path)([Image.new("RGB", (32, 32))])

    return [
        Kind("network.safetensors", classify),
        Kind("run.ckpt", classify),
        Kind("forecaster.safetensors", Forecaster.load),
        Kind("published.pt", read_published),
    ]


def _exported(folder: Path) -> list[Kind]:
    network = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    info = network_info("", {}, task="classification", classes=list("abcd"), preprocessing=Preprocessing(32).as_dict())
    formats = {"torch": "program.pt2", "onnx": "program.onnx", "openvino": "program.xml"}
    needed = {"torch": "torch", "onnx": "onnxruntime", "openvino": "openvino"}
    for format, name in formats.items():
        if find_spec(needed[format]):
            export(network, folder / name, format=format, info=info, example=torch.rand(1, 3, 32, 32))

    def run(path: Path) -> None:
        path = path.with_suffix(".xml") if path.suffix == ".bin" else path
        network, info = load_network(path, None, "classification")
        with naming(path):
            Classifier.of(network, info)([Image.new("RGB", (32, 32))])

    return [Kind(name, run) for name in [*formats.values(), "program.bin"]]
