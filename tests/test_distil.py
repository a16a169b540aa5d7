"""`metamixer distil`: a student learns a teacher's outputs, which are computed once and belong to their crops."""

import json
import re
import shlex
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch import nn

from metamixer import load_checkpoint
from metamixer.cli import _call, main
from metamixer.commands.distil import _start
from metamixer.data.images.distillation import DistillationData, UnlabelledDistillationData
from metamixer.data.images.folders import has_classes
from metamixer.data.images.outputs import OutputCache
from metamixer.data.images.views import Views
from metamixer.data.preprocessing import Preprocessing
from metamixer.errors import InputError
from metamixer.tasks import distilled_classification
from metamixer.tasks.distillation import Distillation, Teacher, mixed_logits
from metamixer.tasks.distilled_classification import DistilledClassification

pytestmark = pytest.mark.usefixtures("shallow")

COLORS = {"blue": (30, 40, 200), "red": (200, 40, 30)}


class Counting(nn.Module):
    """A teacher that sees colors and counts the images that it is shown; its only stage is the mean color."""

    seen = 0

    def forward(self, images):
        return self.forward_head(self.forward_intermediates(images)[0])

    def forward_intermediates(self, images, indices=None):
        Counting.seen += len(images)
        return images, [images]

    def forward_head(self, images):
        mean = images.mean(dim=(2, 3))
        return 5 * torch.stack([mean[:, 2] - mean[:, 0], mean[:, 0] - mean[:, 2]], dim=1)


def three_classes():
    return timm.create_model("test_resnet", num_classes=3)


def two_classes():
    torch.manual_seed(0)
    return timm.create_model("test_resnet", num_classes=2)


def gray():
    return timm.create_model("test_resnet", num_classes=2, in_chans=1)


def no_module():
    return 5


def broken():
    raise OSError("no weights\nhere")


class Maps(nn.Module):
    """Gives images, as a network of another task."""

    def forward(self, images):
        return images


def no_features():
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))


@pytest.fixture
def folder(tmp_path):
    """Two classes of 8 images to train on and 2 to validate with."""
    chance = np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 2)):
        for name, color in COLORS.items():
            place = tmp_path / "images" / split / name
            place.mkdir(parents=True)
            for number in range(count):
                pixels = np.clip(np.array(color) + chance.normal(0, 20, (40, 48, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(place / f"{number}.png")
    return tmp_path / "images"


def distil(folder, out, *options, teacher="test_distil:Counting"):
    small = ["--epochs", "2", "--views", "1", "--size", "32", "--batch_size", "4", "--num_workers", "0"]
    shallow = ["--initial", "scratch"]
    return main(["distil", str(folder), "--teacher", teacher, "--out", str(out), *small, *shallow, *options])


def test_outputs_are_computed_once_and_kept(folder, tmp_path, capfd):
    Counting.seen = 0
    assert distil(folder, tmp_path / "run", "--learn", "both") == 0
    probes = 3  # blank images that tell the number of outputs
    measured = sum(1 for _ in (folder / "val").rglob("*.png"))
    assert Counting.seen == 16 + probes + measured
    assert np.load(tmp_path / "run/teacher/known.npy").all()
    options = ["--learn", "both", "--cache", str(tmp_path / "run/teacher")]
    assert distil(folder, tmp_path / "again", *options) == 0
    assert Counting.seen == 16 + 2 * (probes + measured), (
        "a run with the same images and teacher computes nothing again"
    )
    network, info = load_checkpoint(tmp_path / "run/last.ckpt")
    assert info["classes"] == ["blue", "red"]
    assert not [name for name, _ in network.named_parameters() if "matching" in name], "the projection is dropped"


def test_several_stages_learn_the_teachers_last_ones(folder, tmp_path):
    stages = ["--stages", "2", "3", "--teacher_stages", "-2", "-1"]
    assert distil(folder, tmp_path / "run", "--learn", "both", *stages, teacher="test_distil:two_classes") == 0
    widths = [np.load(tmp_path / f"run/teacher/output_{number}.npy").shape[-1] for number in (1, 2)]
    assert widths == [stage["num_chs"] for stage in two_classes().feature_info[-2:]]


def test_outputs_of_a_run_that_fails_at_once_are_kept(folder, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr(DistilledClassification, "log_loss", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            distil(folder, tmp_path / "run")
    assert np.load(tmp_path / "run/teacher/known.npy").sum() == 4
    Counting.seen = 0
    assert distil(folder, tmp_path / "run") == 0
    measured = sum(1 for _ in (folder / "val").rglob("*.png"))
    assert Counting.seen == 12 + 3 + measured


def test_a_run_that_fails_before_its_teacher_saw_an_image_leaves_no_folder(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(DistilledClassification, "training_step", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        distil(folder, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_resumed_run_ends_with_the_weights_of_an_unbroken_one(folder, tmp_path, monkeypatch, capsys):
    options = ["--learn", "both", "--cache", str(tmp_path / "cache")]
    assert distil(folder, tmp_path / "whole", *options) == 0
    original = DistilledClassification.training_step

    def interrupted(self, batch, batch_idx):
        if self.current_epoch == 1:
            raise KeyboardInterrupt
        return original(self, batch, batch_idx)

    options += ["--resume", "auto"]
    with monkeypatch.context() as patch:
        patch.setattr(DistilledClassification, "training_step", interrupted)
        assert distil(folder, tmp_path / "stopped", *options) == 130
    assert distil(folder, tmp_path / "stopped", *options) == 0
    assert "test_distil:Counting teaches ffnet_nano from its last checkpoint" in capsys.readouterr().out
    whole, resumed = (torch.load(tmp_path / run / "last.ckpt", weights_only=True) for run in ("whole", "stopped"))
    for key in ("state_dict", "current_model_state"):
        assert any(name.startswith("matching") for name in whole[key])
        assert [name for name in whole[key] if not torch.equal(whole[key][name], resumed[key][name])] == []


def test_a_run_is_not_resumed_with_other_settings(folder, tmp_path, capsys):
    cache = ["--cache", str(tmp_path / "cache")]
    assert distil(folder, tmp_path / "run", *cache) == 0
    capsys.readouterr()
    assert distil(folder, tmp_path / "run", *cache, "--resume", teacher="test_distil:two_classes") == 2
    asked = "'test_distil:two_classes' with resume, expected 'test_distil:Counting', which the run in"
    assert f"error: distillation.teacher.model {asked}" in capsys.readouterr().err
    others = ["--epochs", "3", "--num_workers", "1"]
    assert distil(folder.parent / "." / "images", tmp_path / "run", *cache, "--resume", *others) == 0


def test_the_teachers_own_accuracy_is_told(folder, tmp_path, capsys):
    assert distil(folder, tmp_path / "run", "--json", str(tmp_path / "run.json")) == 0
    taught = json.loads((tmp_path / "run.json").read_text())["metrics"]["val/teacher_top1"]
    data = DistillationData(str(folder), num_workers=0, preprocessing=Preprocessing(size=32, crop_pct=1.0))
    data.setup("fit")
    images, labels = next(iter(data.val_dataloader()))
    right = Teacher(Counting())(images, data.preprocessing).argmax(dim=1) == labels
    assert taught == pytest.approx(right.float().mean().item())
    assert f"test_distil:Counting: {100 * taught:.1f} % of the same images\n" in capsys.readouterr().out
    Counting.seen = 0
    assert main(["validate", "--config", str(tmp_path / "run/config.yaml")]) == 0
    assert Counting.seen == 1, "but for the blank image, the teacher is asked in training only"


def test_images_without_labels_learn_the_teacher_s(folder, tmp_path, capsys):
    assert distil(folder / "train/red", tmp_path / "my run", "--json", str(tmp_path / "run.json")) == 0
    network, info = load_checkpoint(tmp_path / "my run/last.ckpt")
    assert network.num_classes == 2
    assert info["classes"] is None
    best = tmp_path / "my run/best.ckpt"
    wrote = f"wrote {best}, {tmp_path}/run.json\n"
    printed = capsys.readouterr().out
    assert printed.startswith(f"{folder}/train/red: 8 images without labels; test_distil:Counting teaches ffnet_nano ")
    assert printed.endswith(f"{wrote}next: metamixer train FOLDER --initial {shlex.quote(str(best))}\n")
    result = json.loads((tmp_path / "run.json").read_text())
    assert (result["checkpoint"], result["epochs"]) == (str(best), 2)
    assert result["teacher"] == "test_distil:Counting"


def test_a_checkpoint_teaches_by_the_names_of_its_classes(folder, tmp_path, capsys):
    assert distil(folder / "train", tmp_path / "first", "--seed", "1") == 0
    printed = capsys.readouterr().out
    assert f"{folder}/train: 16 images in 2 classes (blue, red), 4 held out for validation; test_dist" in printed
    assert printed.endswith(f"next: metamixer predict IMAGES --checkpoint {tmp_path}/first/best.ckpt\n")
    assert distil(folder / "train", tmp_path / "second", teacher=str(tmp_path / "first/last.ckpt")) == 0
    held, again = (json.loads((tmp_path / run / "split.json").read_text())["validation"] for run in ("first", "second"))
    assert held == again == list(map(str, DistillationData(str(folder / "train"), seed=1).files()["validation"]))
    assert held != list(map(str, DistillationData(str(folder / "train")).files()["validation"]))
    about = json.loads((tmp_path / "second/teacher/about.json").read_text())
    assert about["teacher.size"] == 32, "a file tells the size of its images"
    assert distil(folder, tmp_path / "third", "--unlabeled", teacher=str(tmp_path / "first")) == 0
    _, info = load_checkpoint(tmp_path / "third/last.ckpt")
    assert info["classes"] == ["blue", "red"], "a student of unlabeled images has its teacher's classes"


@pytest.mark.parametrize(
    ("teacher", "options", "message"),
    [
        ("test_distil:three_classes", [], "three_classes: data of 2 classes, expected 3, .*, or distil --unlabeled"),
        ("test_distil:no_features", ["--learn", "both"], "teacher test_distil:no_features: gives no features"),
        ("test_distil:gray", [], r"gray: fails on an image of 3 channels and 64 px \(.*\), expected logits$"),
        ("test_distil:no_module", [], "'test_distil:no_module': returns int, expected a PyTorch module"),
        ("test_distil:broken", [], "'test_distil:broken': no weights, expected a function that returns a module$"),
        ("test_distil:Maps", [], r"Maps: gives \[1, 3, 64, 64\] for an image, expected \[1, classes\]"),
        ("no_such_module:net", [], "No module named .* a file in this folder needs PYTHONPATH=."),
        ("ffnet_sr_nano_x2", [], "its task is super_resolution, expected an image classifier"),
        ("test_distil:two_classes", ["--model", "ffnet_ts"], "'ffnet_ts': its task is forecasting, expected an image"),
        (
            "test_distil:two_classes",
            ["--learn", "both", "--stages", "7"],
            r"stages \[7\], expected numbers from 0",
        ),
        (
            "test_distil:two_classes",
            ["--learn", "both", "--teacher_stages", "9"],
            r"two_classes: fails .* the features of stages \[9\]",
        ),
        ("test_distil:two_classes", ["--learn", "both", "--stages", "2", "3"], r"stages \[2, 3\], expected as many as"),
        ("test_distil:two_classes", ["--learn", "all"], "learn 'all', expected one of logits, features, both"),
        ("resnet81", [], "model 'resnet81': no such model"),
        ("there/is/none.ckpt", [], "there/is/none.ckpt"),
    ],
)
def test_a_teacher_that_does_not_go_with_the_data_is_named(teacher, options, message, folder, tmp_path):
    with pytest.raises(InputError, match=message):
        small = ["--epochs", "1", "--size", "32", "--batch_size", "4", "--num_workers", "0", "--initial", "scratch"]
        _call("distil", [str(folder), "--teacher", teacher, "--out", str(tmp_path / "run"), *small, *options])


def test_folders_that_teach_nothing(tmp_path, folder, capsys):
    (tmp_path / "empty").mkdir()
    assert distil(tmp_path / "empty", tmp_path / "run") == 2
    assert capsys.readouterr() == (
        "",
        f"metamixer: error: {tmp_path}/empty: no images in this folder, expected files such as *.jpg or *.png\n",
    )
    assert distil(tmp_path / "absent", tmp_path / "run") == 2
    assert "absent: no such folder" in capsys.readouterr().err
    (tmp_path / "years/2024").mkdir(parents=True)
    (tmp_path / "years/2025").symlink_to(folder / "train/red")
    Image.new("RGB", (8, 8)).save(tmp_path / "years/2024/0.png")
    assert distil(tmp_path / "years", tmp_path / "run") == 2
    assert re.search(r"images of class '2024': found 1, .*, or --unlabeled\n$", capsys.readouterr().err)
    assert distil(folder / "train/red", tmp_path / "run", "--learn", "features") == 2
    assert "learn 'features', expected logits or both" in capsys.readouterr().err
    (folder / "train/red/0.png").write_bytes((folder / "train/red/0.png").read_bytes()[:900])
    assert distil(folder / "train/red", tmp_path / "run") == 2
    assert re.search(r"0\.png: not a readable image .*; 1 of 8 images can't be used", capsys.readouterr().err)


def test_a_cache_of_another_teacher_or_split_is_refused(folder, tmp_path, capsys):
    cache = ["--cache", str(tmp_path / "cache")]
    assert distil(folder, tmp_path / "run", *cache) == 0
    capsys.readouterr()
    assert distil(folder, tmp_path / "run", *cache, teacher="test_distil:two_classes") == 2
    error = capsys.readouterr().err
    assert "a cache for teacher 'test_distil:Counting', expected one for 'test_distil:two_classes'" in error
    (folder / "train/red/0.png").unlink()
    assert distil(folder, tmp_path / "run", *cache) == 2
    assert "a cache for images 16, expected one for 15" in capsys.readouterr().err


def test_a_cache_of_other_weights_or_pixels_by_the_same_names_is_refused(folder, tmp_path):
    about = {**Teacher(two_classes()).about(), **DistillationData(str(folder)).about()}
    crops = Views(count=1).draw(16)
    OutputCache(tmp_path / "cache", about, crops, [2])
    with torch.no_grad():
        trained = two_classes()
        next(trained.parameters()).add_(1e-3)
    with pytest.raises(InputError, match=r"a cache for teacher.weights '\w{16}', expected one for '\w{16}'"):
        OutputCache(tmp_path / "cache", {**about, **Teacher(trained).about()}, crops, [2])
    Image.new("RGB", (9, 9)).save(folder / "train/red/0.png")
    with pytest.raises(InputError, match=r"a cache for image bytes \d+, expected one for \d+, or a new folder"):
        OutputCache(tmp_path / "cache", {**about, **DistillationData(str(folder)).about()}, crops, [2])
    with pytest.raises(InputError, match=r"a cache for teacher.bfloat16 False, expected one for True"):
        OutputCache(tmp_path / "cache", {**about, **Teacher(two_classes(), bfloat16=True).about()}, crops, [2])
    OutputCache(tmp_path / "cache", {**about, "teacher": "another path to the same file"}, crops, [2])
    before = {key: about[key] for key in about if key not in ("image bytes", "teacher.weights", "teacher.bfloat16")}
    OutputCache(tmp_path / "before", before, crops, [2])
    OutputCache(tmp_path / "before", about, crops, [2])  # earlier caches don't tell these, and are right


def test_folders_of_classes_without_a_split_are_divided(folder):
    data = DistillationData(str(folder / "train"))
    train, val = data.names(), [data.evaluation_dataset("val").filename(index) for index in range(4)]
    assert data.classes == ["blue", "red"]
    assert (len(train), len(data.evaluation_dataset("val"))) == (12, 4)
    assert {name.rsplit("/")[-2] for name in train} == {name.rsplit("/")[-2] for name in val} == {"blue", "red"}
    assert not set(train) & set(val)
    assert has_classes(folder) and has_classes(folder / "train") and not has_classes(folder / "train/red")
    for image in (folder / "train/red").iterdir():
        image.unlink()
    Image.new("RGB", (8, 8)).save(folder / "train/red/0.png")
    with pytest.raises(InputError, match="red: images of class 'red': found 1, expected at least 2"):
        data.names()


def test_splits_of_other_classes_are_refused(folder):
    (folder / "train/red").rename(folder / "train/green")
    with pytest.raises(
        InputError, match=r"class 'green' .* of the training split has no images in the validation split"
    ):
        DistillationData(str(folder)).names()


def test_the_student_starts_from_packaged_weights():
    assert _start("ffnet_nano", None) == "ffnet_nano.mini_imagenet"
    assert _start("ffnet_nano", "runs/mine.ckpt") == "runs/mine.ckpt"
    assert _start("ffnet_nano", "scratch") is _start("resnet18", None) is _start("ffnet_1", None) is None


def test_a_teacher_leaves_the_random_numbers_as_they_are():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    Teacher("test_distil:two_classes")
    assert torch.rand(1) == expected


def test_grey_images_need_a_grey_teacher():
    teacher = Teacher(Counting())
    with pytest.raises(InputError, match="teacher Counting: for images of 3 channels, expected 1, as the student's"):
        teacher.match(["blue", "red"], 1)


def test_a_student_learns_from_mixed_crops(folder, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(distilled_classification, "mixed_logits", lambda *x: seen.append(x[1]) or mixed_logits(*x))
    assert distil(folder, tmp_path / "run", "--learn", "both", "--cutmix", "1.0") == 0
    assert len(seen) == 8
    assert all(torch.allclose(shares.sum(dim=1), torch.ones(4)) for shares in seen)


def test_images_without_labels_take_the_teacher_alone(folder):

    task = DistilledClassification(distillation=Distillation(Teacher(Counting()), alpha=0.5), cache="")
    with pytest.raises(InputError, match=r"distillation.alpha 0.5, expected 1: the images have no labels"):
        task._expect_labels(UnlabelledDistillationData(str(folder)))
    task._expect_labels(DistillationData(str(folder)))


def test_a_student_of_images_without_labels_has_the_teachers_number_of_classes(folder, tmp_path):
    distillation = Distillation(Teacher(Counting()), alpha=1)
    task = DistilledClassification("ffnet_nano", 3, distillation=distillation, cache=str(tmp_path / "cache"))
    task._trainer = SimpleNamespace(datamodule=UnlabelledDistillationData(str(folder)))
    with pytest.raises(InputError, match=r"distillation\.teacher of 2 classes, expected 3"):
        task.setup("fit")
    assert not (tmp_path / "cache").exists()


def test_the_text_of_a_file_is_no_teacher(tmp_path, capsys):
    """The parser once put a file's text in the place of its name, and a teacher may be a function's name."""
    for split in ("train", "val"):
        for name in "ab":
            (tmp_path / "images" / split / name).mkdir(parents=True)
            Image.new("RGB", (8, 8)).save(tmp_path / "images" / split / name / "0.png")
    (tmp_path / "teacher.txt").write_text("os:abort")
    words = ["distil", str(tmp_path / "images"), "--teacher", str(tmp_path / "teacher.txt")]
    assert main([*words, "--out", str(tmp_path / "run"), "--epochs", "1", "--num_workers", "0"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"metamixer: error: {tmp_path}/teacher.txt: not a readable") and error.count("\n") == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"std": (0.0, 1.0, 1.0)}, r"std \[0.0, 1.0, 1.0\], expected values above 0"),
        ({"classes": [-1, 0]}, r"teacher.classes \[-1, 0\], expected at least one index, from 0"),
        ({"classes": [0, 7]}, r"teacher Counting: 2 classes, expected more: teacher.classes has 7"),
    ],
)
def test_teachers_settings_are_judged(settings, message):
    with pytest.raises(InputError, match=message):
        Teacher(Counting(), **settings)(torch.zeros(1, 3, 8, 8), Preprocessing())


def test_the_teachers_size_is_judged():
    with pytest.raises(InputError, match=r"teacher\.size 0, expected an integer from 1 to 16384"):
        Teacher(nn.Identity(), size=0)
