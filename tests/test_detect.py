"""`metamixer detect` and the detector behind it: what they find, write and refuse."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.ops import box_iou

import coco_scene
import metamixer
from coco_scene import NARROW, PREPROCESSING
from metamixer.checkpoints.ours import load_checkpoint, network_info, save_network
from metamixer.cli import main, plain_warnings
from metamixer.data import DetectionPreprocessing
from metamixer.data.detection.categories import coco_categories
from metamixer.data.detection.coco_json import decode_mask
from metamixer.errors import InputWarning
from metamixer.predictors.detector import Detector, image_ids
from random_statistics import randomize


@pytest.fixture
def checkpoint(tmp_path):
    """The checkpoint of a small detector that detects objects everywhere."""
    torch.manual_seed(0)
    network = randomize(metamixer.create_model("cascade_mask_rcnn_ffnet_nano", num_classes=3, **NARROW))
    with torch.no_grad():
        for head in network.cascade.box_heads:
            head.classes.weight *= 10
    info = network_info(
        "cascade_mask_rcnn_ffnet_nano",
        {"num_classes": 3, **NARROW},
        task="detection",
        classes=["box", "disc", "triangle"],
        preprocessing=PREPROCESSING.as_dict(),
    )
    save_network(network, {**info, "category_ids": [3, 7, 20]}, tmp_path / "detector.safetensors")
    return tmp_path / "detector.safetensors"


def test_detect_writes_images_and_cocos_results(checkpoint, tmp_path, capsys):
    path = coco_scene.write(tmp_path)
    Image.new("L", (71, 33), 90).save(tmp_path / "images" / "000000000777.jpg")
    out = tmp_path / "found"
    given = [str(tmp_path / "images"), str(tmp_path / "images" / "000000000777.jpg")]
    assert main(["detect", *given, "--checkpoint", str(checkpoint), "--out", str(out), "--score_threshold", "0.1"]) == 0
    printed = capsys.readouterr().out
    pictures = sorted(path.name for path in out.glob("*.jpg"))
    assert pictures == [f"{i:012d}.jpg" for i in (0, 1, 2, 3, 777)]
    assert Image.open(out / "000000000777.jpg").size == (71, 33)
    entries = json.loads((out / "detections.json").read_text())
    assert {entry["image_id"] for entry in entries} <= {0, 1, 2, 3, 777}
    assert len(entries) > 5
    for entry in entries:
        assert entry["category_id"] in (3, 7, 20)
        assert entry["picture"] == f"{entry['image_id']:012d}.jpg"
        assert entry["score"] >= 0.1
        x, y, width, height = entry["bbox"]
        high, wide = entry["segmentation"]["size"]
        assert 0 <= x <= x + width <= wide + 0.02
        assert 0 <= y <= y + height <= high + 0.02
        assert decode_mask(entry["segmentation"], (high, wide)).shape == (high, wide)
    assert str(tmp_path / "images" / "000000000777.jpg") in printed
    assert path.is_file()


def test_json_is_the_result_in_python(checkpoint, tmp_path, capsys):
    image, out = tmp_path / "5.png", tmp_path / "found"
    Image.effect_mandelbrot((64, 48), (-2, -1, 1, 1), 20).save(image)
    assert main(["detect", str(image), "--checkpoint", str(checkpoint), "--out", str(out), "--json", "-"]) == 0
    found = metamixer.Detector.load(checkpoint)(image, score_threshold=0.3).to_dict()
    assert found["objects"]
    about = {"image_id": 5, "picture": "5.jpg", "folder": str(out)}
    assert json.loads(capsys.readouterr().out) == [{**about, **found}]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["000005.jpg", "7.png"], [5, 7]),
        (["b.jpg", "a.jpg"], [1, 2]),
        (["5.jpg", "a.jpg"], "a.jpg"),
        (["x/5.jpg", "y/005.jpg", "7.jpg"], "y/005.jpg"),
    ],
)
def test_images_are_numbered_by_their_names_or_counted_with_a_warning(names, expected):
    paths = [Path(name) for name in names]
    if isinstance(expected, list):
        assert image_ids(paths) == expected
        return
    with pytest.warns(InputWarning, match=f"^{expected}: not named by a unique number, so image_id counts the images"):
        assert image_ids(paths) == list(range(1, len(names) + 1))


def test_an_unreadable_image_does_not_stop_the_others(checkpoint, tmp_path, capsys):
    coco_scene.write(tmp_path)
    broken = tmp_path / "images" / "000000000001.png"
    broken.write_bytes(broken.read_bytes()[:150])
    command = ["detect", str(tmp_path / "images"), "--checkpoint", str(checkpoint), "--out", str(tmp_path / "found")]
    assert main(command) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith(f"metamixer: failed: {broken}: not a readable image")
    assert said[1] == f"metamixer: error: 1 of 4 files failed, named above; the others are in {tmp_path / 'found'}"
    assert sorted(path.name for path in (tmp_path / "found").glob("*.jpg")) == [f"{i:012d}.jpg" for i in (0, 2, 3)]
    assert {entry["image_id"] for entry in json.loads((tmp_path / "found" / "detections.json").read_text())} <= {
        0,
        2,
        3,
    }
    assert main(command) == 2
    assert "000000000000.jpg: exists, expected another name or folder, or --overwrite" in capsys.readouterr().err
    broken.unlink()
    assert main([*command, "--overwrite"]) == 0


def test_detect_equals_the_network_on_the_image(checkpoint, tmp_path):
    coco_scene.write(tmp_path)
    picture = Image.open(tmp_path / "images" / "000000000000.png").resize((192, 128))
    network, _ = load_checkpoint(checkpoint)
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
    with torch.inference_mode():
        (expected,) = network([PREPROCESSING(pixels)])
    found = Detector.load(checkpoint=checkpoint)(picture)
    assert len(found["scores"]) == len(expected["scores"])
    assert found["masks"].shape == (len(found["scores"]), 128, 192)
    overlap, partner = box_iou(expected["boxes"] * 2, found["boxes"]).max(dim=1)
    same = (overlap > 0.99) & (found["labels"][partner] == expected["labels"])
    same &= (found["scores"][partner] - expected["scores"]).abs() < 1e-3
    assert same.float().mean() >= 0.95  # rounding in the fused network can decide which of two boxes NMS keeps


def test_bfloat16_finds_about_the_same(checkpoint, tmp_path):
    coco_scene.write(tmp_path)
    picture = tmp_path / "images" / "000000000000.png"
    exact, fast = (Detector.load(checkpoint=checkpoint, precision=name)(picture)["scores"] for name in ("fp32", "bf16"))
    assert not torch.equal(exact, fast)
    torch.testing.assert_close(fast[:5], exact[:5], rtol=0.1, atol=0.05)


def test_detector_of_a_published_checkpoint_knows_cocos_categories(tmp_path):
    torch.manual_seed(0)
    network = metamixer.create_model("cascade_mask_rcnn_ffnet_nano")
    torch.save({"state_dict": network.state_dict()}, tmp_path / "published.pth")
    detector = Detector.load(model="cascade_mask_rcnn_ffnet_nano", checkpoint=tmp_path / "published.pth")
    assert len(detector.classes) == 80
    assert (detector.category_ids[0], detector.classes[0]) == (1, "person")
    assert (detector.category_ids[-1], detector.classes[-1]) == (90, "toothbrush")
    assert list(coco_categories()) == detector.category_ids
    assert detector.preprocessing == DetectionPreprocessing()


def test_fuse_writes_a_deploy_form_that_detects_the_same(checkpoint, tmp_path, capsys):
    coco_scene.write(tmp_path)
    out = tmp_path / "fused.safetensors"
    assert main(["fuse", str(checkpoint), "--out", str(out)]) == 0
    assert "parity" in capsys.readouterr().out
    picture = tmp_path / "images" / "000000000001.png"
    original, fused = (Detector.load(checkpoint=path)(picture) for path in (checkpoint, out))
    torch.testing.assert_close(fused["scores"], original["scores"], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["detect", "{images}", "--checkpoint", "{checkpoint}", "--out", "{out}", "--score_threshold", "2"],
            "threshold 2.0, expected",
        ),
        (
            ["detect", "{images}", "--checkpoint", "{checkpoint}", "--out", "{out}", "--precision", "fp16"],
            "'fp16', expected one of fp32, bf16",
        ),
        (
            ["detect", "{images}/nothing.jpg", "--checkpoint", "{checkpoint}", "--out", "{out}"],
            "nothing.jpg: no such file",
        ),
        (
            ["detect", "{images}", "--checkpoint", "{classifier}", "--out", "{out}"],
            "for classification, expected one for detection",
        ),
        (["predict", "{images}", "--checkpoint", "{checkpoint}"], "for detection, expected one for classification"),
        (["draw", "{checkpoint}"], "for detection, expected one for classification"),
        (
            ["detect", "{images}", "--model", "ffnet_1", "--checkpoint", "{published}", "--out", "{out}"],
            "model 'ffnet_1', expected a detector",
        ),
        (
            ["detect", "{photos}", "--checkpoint", "{checkpoint}", "--out", "{photos}"],
            "photo.jpg: is one of the inputs, expected another",
        ),
        (
            ["detect", "{images}", "--checkpoint", "{checkpoint}", "--out", "{earlier}"],
            "detections.json: exists, expected another name",
        ),
        (
            ["detect", "{photos}", "--checkpoint", "{checkpoint}", "--out", "{out}", "--max_pixels", "99"],
            "more than 99 pixels, expected",
        ),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(arguments, said, checkpoint, tmp_path, capsys):
    coco_scene.write(tmp_path)
    info = network_info("ffnet_nano", {"num_classes": 3}, task="classification")
    save_network(metamixer.create_model("ffnet_nano", num_classes=3), info, tmp_path / "classifier.safetensors")
    places = {
        "checkpoint": checkpoint,
        "images": tmp_path / "images",
        "out": tmp_path / "out",
        "classifier": tmp_path / "classifier.safetensors",
        "published": tmp_path / "published.pth",
        "photos": tmp_path / "photos",
        "earlier": tmp_path / "earlier",
    }
    torch.save({"state_dict": {}}, tmp_path / "published.pth")
    for folder, name in (("photos", "photo.jpg"), ("earlier", "detections.json")):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (30, 20)).save(tmp_path / folder / name, format="JPEG")
    assert main([argument.format(**places) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_json_without_usable_objects_ends_in_a_line(tmp_path, capsys):
    told = coco_scene.content()
    path = coco_scene.write(tmp_path, told)
    for annotation in told["annotations"]:
        annotation["bbox"] = None
    path.write_text(json.dumps(told))
    files = [f"--data.{key}={name}" for key, name in coco_scene.files().items()]
    model = ["--model=Detection", "--model.model=cascade_mask_rcnn_ffnet_nano", "--model.num_classes=3"]
    quiet = ["--trainer.accelerator=cpu", "--trainer.logger=false", "--trainer.max_epochs=1"]
    with pytest.warns(InputWarning, match="7 of 7 annotations dropped"):
        assert (
            main(
                [
                    "fit",
                    *model,
                    "--data=CocoData",
                    f"--data.root={tmp_path}",
                    *files,
                    f"--out={tmp_path / 'run'}",
                    *quiet,
                ]
            )
            == 2
        )
    assert capsys.readouterr().err.endswith(f"{path}: 0 usable objects for training, expected at least one\n")


def test_only_our_warnings_are_plain_lines():
    with plain_warnings():
        assert warnings.formatwarning("7 dropped", InputWarning, "coco.py", 153) == "metamixer: warning: 7 dropped\n"
        assert warnings.formatwarning("7 dropped", InputWarning, "coco.py", 99) == "", "printed once"
        assert warnings.formatwarning("8 dropped", InputWarning, "coco.py", 153) == "metamixer: warning: 8 dropped\n"
        assert warnings.formatwarning("old", UserWarning, "coco.py", 153).startswith("coco.py:153: ")
