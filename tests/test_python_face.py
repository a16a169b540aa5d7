"""What users see of the package in Python: names, `load`, the inputs that every predictor takes, and its results."""

import ast
import copy
import io
import json
import pickle
import subprocess
import sys
from email.message import Message
from pathlib import Path
from urllib.error import HTTPError, URLError

import numpy as np
import pytest
import torch
from PIL import Image

import metamixer
from metamixer.checkpoints.ours import network_info, save_network
from metamixer.data.images import given
from metamixer.data.points.clouds import Cloud, read_cloud
from metamixer.errors import InputError
from metamixer.predictors.detections import Detections
from metamixer.system import web
from tables import NAMES, wide
from test_predictors import CASES, PICTURE

IMAGE_TASKS = ("classification", "detection", "segmentation", "super_resolution", "restoration")


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """A file of a small network for each task."""
    folder = tmp_path_factory.mktemp("checkpoints")
    for task, case in CASES.items():
        torch.manual_seed(0)
        info = network_info(case.model, case.arguments, task=task, preprocessing=case.preprocessing)
        network = metamixer.create_model(case.model, **case.arguments)
        save_network(
            network,
            {**info, "classes": list("abc"[: case.arguments.get("num_classes", 0)]) or None},
            folder / f"{task}.safetensors",
        )
    return {task: folder / f"{task}.safetensors" for task in CASES}


@pytest.fixture
def predictors(checkpoints):
    return {task: metamixer.load(path) for task, path in checkpoints.items()}


def test_a_predictor_names_its_source_and_settings(predictors, checkpoints):
    for task, predictor in predictors.items():
        assert repr(predictor).startswith(f"{type(predictor).__name__}({str(checkpoints[task])!r}, ")
    assert repr(metamixer.load("ffnet_sr_nano", scale=2)) == "Upscaler('ffnet_sr_nano_x2', scale=2)"
    assert repr(metamixer.Forecaster(horizon=12)) == "Forecaster(horizon=12, levels=())"


@pytest.mark.parametrize(
    ("task", "known"), [("super_resolution", "scale, memory"), ("restoration", "strength"), ("points", "precision")]
)
def test_an_unknown_keyword_is_named_with_the_known_ones(task, known, checkpoints):
    with pytest.raises(InputError, match=rf"\.load: keyword 'skale', expected one of .*\b{known}\b"):
        metamixer.load(checkpoints[task], skale=2)
    with pytest.raises(InputError, match=r"Forecaster\.load: keyword 'skale', expected one of .*horizon, .*positive"):
        metamixer.load("ffnet_ts_zero", skale=2)


def test_importing_is_light_and_timm_still_gets_our_networks():
    program = (
        "import sys, metamixer; assert metamixer.__version__; "
        "assert not {'torch', 'numpy', 'timm'} & set(sys.modules); "
        "import timm; assert timm.is_model('ffnet_1')"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def seen_by_checkers(module):
    """Name -> module of the imports of a module under its first `if`, that for type checkers."""
    block = next(node for node in ast.parse(Path(module.__file__).read_text()).body if isinstance(node, ast.If))
    return {name.asname: node.module for node in block.body if isinstance(node, ast.ImportFrom) for name in node.names}


def test_type_checkers_see_what_is_there():
    seen = seen_by_checkers(metamixer)
    assert seen_by_checkers(metamixer.data) == metamixer.data._MODULES
    assert seen == metamixer._WHERE and {*seen, "InputError", "__version__"} == set(metamixer.__all__)
    assert set(metamixer.__all__) <= set(dir(metamixer))
    for name in metamixer.__all__:
        assert getattr(metamixer, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'bogus'"):
        metamixer.bogus  # noqa: B018


def test_type_checkers_report_names_that_are_not_there():
    """They take every name of a module for known if it defines `__getattr__` at its top level."""
    for path in Path(metamixer.__file__).parent.rglob("*.py"):
        defined = [name for node in ast.parse(path.read_text()).body for name in names_defined(node)]
        assert "__getattr__" not in defined, path


def names_defined(node):
    """What a statement defines, a function or variables, but not within other statements."""
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    return [node.name] if isinstance(node, ast.FunctionDef) else []


def test_load_gives_the_predictor_of_the_task(predictors):
    assert {task: type(predictor).__name__ for task, predictor in predictors.items()} == {
        task: case.predictor for task, case in CASES.items()
    }
    assert metamixer.load("ffnet_sr_nano", scale=3).scale == 3
    assert metamixer.load("ffnet_sr_nano_x4").scale == 4
    forecaster = metamixer.load("ffnet_ts_zero", horizon=5, levels=(80,))
    assert len(forecaster(wide(60))) == 5
    with pytest.raises(InputError, match="did you mean"):
        metamixer.load("ffnet_11")
    with pytest.raises(InputError, match=r"absent.ckpt: no such file"):
        metamixer.load("absent.ckpt")


@pytest.mark.parametrize("task", IMAGE_TASKS)
def test_every_image_predictor_takes_every_kind_of_image(task, predictors, tmp_path, monkeypatch):
    predictor, pixels = predictors[task], np.asarray(PICTURE)
    file = io.BytesIO()
    PICTURE.save(file, format="PNG")
    (tmp_path / "folder").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "folder" / name).write_bytes(file.getvalue())
    monkeypatch.setattr(given, "fetch", lambda url: file.getvalue())
    tensor = torch.from_numpy(pixels.copy()).permute(2, 0, 1)
    path = tmp_path / "folder" / "a.png"
    singles = [str(path), path, PICTURE, pixels, tensor, tensor / 255, "https://example.org/a.png"]
    results = [predictor(one) for one in singles]
    for result in results[1:]:
        assert as_numbers(result).shape == as_numbers(results[0]).shape
        np.testing.assert_allclose(as_numbers(result), as_numbers(results[0]), atol=1 / 100)
    assert results[0].source == str(path) and results[2].source == "image"
    assert results[-1].source == "https://example.org/a.png"
    for several in (tmp_path / "folder", [path, PICTURE], (path, pixels)):
        found = list(predictor(several))
        assert len(found) == 2
        np.testing.assert_allclose(as_numbers(found[1]), as_numbers(results[0]), atol=1e-3)
    for bad, message in (
        (3, "image of type int"),
        (file.getvalue(), "image of type bytes"),
        (file, "image of type BytesIO"),
        ([], "no images, expected at least one"),
    ):
        with pytest.raises(InputError, match=message):
            predictor(bad)


def as_numbers(result) -> np.ndarray:
    """Of any result, in units in which tensors and files agree."""
    if isinstance(result, dict):
        return result["scores"].numpy()
    if hasattr(result, "scale"):
        return np.asarray(result.image) / 255
    return np.asarray(result)


@pytest.mark.parametrize("task", CASES)
def test_results_are_drawn_written_and_described(task, predictors, tmp_path):
    source = CASES[task].input()
    result = predictors[task](source)
    assert result._repr_png_().startswith(b"\x89PNG")
    assert json.loads(json.dumps(result.to_dict()))
    assert type(result).__name__ in repr(result) and str(result)
    name = "result.png" if task in ("super_resolution", "restoration") else "result.json"
    assert result.save(tmp_path / name).stat().st_size > 20
    with pytest.raises(InputError, match=r"result.xyz: expected a name that ends in one of"):
        result.save(tmp_path / "result.xyz")


@pytest.mark.parametrize("kind", [pytest.param(task, id=task) for task in CASES] + ["array", "tensor"])
def test_results_survive_pickling_and_copying(kind, predictors):
    pixels = np.asarray(PICTURE)
    if kind in ("array", "tensor"):
        restored = predictors["restoration"]
        result = restored(pixels if kind == "array" else torch.from_numpy(pixels.copy()).permute(2, 0, 1))
    else:
        result = predictors[kind](CASES[kind].input())
    for same in (pickle.loads(pickle.dumps(result)), copy.deepcopy(result)):
        assert type(same) is type(result) and repr(same) == repr(result)
        assert same.to_dict() == result.to_dict() and same.draw().size == result.draw().size


def test_an_image_is_saved_as_pillow_does(predictors, tmp_path):
    large = predictors["super_resolution"](PICTURE)
    assert large.save(tmp_path / "large.gif") == tmp_path / "large.gif"
    target = Path(tmp_path, "kept.pdf")
    large.save(target)
    before = target.stat().st_size
    large.save(target, append=True)
    assert target.stat().st_size > 1.5 * before
    file = io.BytesIO()
    assert large.save(file, format="PNG") is None and Image.open(file).size == large.size


def test_a_failed_save_leaves_the_file_that_was_there(predictors, tmp_path):
    result = predictors["super_resolution"](PICTURE.convert("RGBA"))
    (tmp_path / "photo.jpg").write_bytes(b"a photo")
    with pytest.raises(InputError, match=r"photo.jpg: can't be written \(cannot write mode RGBA as JPEG\)"):
        result.save(tmp_path / "photo.jpg")
    assert (tmp_path / "photo.jpg").read_bytes() == b"a photo"


def test_results_have_named_fields(predictors, tmp_path):
    top = predictors["classification"](PICTURE)
    assert top.top(1) == [(top.label, top.probability)] and top.shape == (3,)
    assert type(top + 0) is torch.Tensor and type(top.softmax(0)) is torch.Tensor
    both = predictors["classification"]([PICTURE, PICTURE])
    assert both.shape == (2, 3) and both[1].label == top.label and both.argmax(1).shape == (2,)
    found = predictors["detection"](PICTURE)
    assert found.boxes is found["boxes"] and len(found.names) == len(found.scores) == len(found.masks)
    many = Detections(
        {**{key: value[:1].expand(7, *value.shape[1:]) for key, value in found.items()}},
        classes=found.classes,
        category_ids=found.category_ids,
        picture=PICTURE,
    )
    assert str(many).count(found.names[0]) == 5 and str(many).endswith(", 2 more")
    labels = predictors["segmentation"](PICTURE)
    assert labels.shape == (48, 64) and sum(labels.areas().values()) == labels.size
    assert np.asarray(Image.open(labels.save(tmp_path / "labels.png"))).tolist() == labels.tolist()
    assert "Segmentation" not in repr(labels == 1)
    table = predictors["forecasting"](wide(60))
    assert list(table.frame) == ["date", *NAMES] and table.horizon == 12
    assert table.save(tmp_path / "forecast.csv").read_text().startswith("date,")


def test_clouds_come_as_paths_arrays_and_dictionaries(predictors, tmp_path):
    cloud = CASES["points"].input()
    rows = np.concatenate([cloud.coordinates, cloud.colours], axis=1)
    segmenter = predictors["points"]
    np.savez(tmp_path / "room.npz", coord=cloud.coordinates, color=cloud.colours)
    labels = segmenter(cloud)
    for same in (rows, torch.from_numpy(rows), {"coord": cloud.coordinates, "color": cloud.colours}):
        assert (segmenter(same) == labels).all()
    assert (segmenter(str(tmp_path / "room.npz")) == labels).all()
    assert len(segmenter(tmp_path)) == 1 and len(segmenter([cloud, rows])) == 2
    written = np.load(labels.save(tmp_path / "out.npz"))
    assert (written["prediction"] == labels).all() and isinstance(read_cloud(tmp_path / "out.npz"), Cloud)


def test_urls_are_https_bounded_and_named_in_errors(monkeypatch):
    with pytest.raises(InputError, match=r"http://example.org/a.png: expected an https URL"):
        web.fetch("http://example.org/a.png")

    class Answer(io.BytesIO):
        url = "https://example.org/a.png"

    monkeypatch.setattr(web, "urlopen", lambda request, timeout: Answer(b"x" * 100))
    assert web.fetch("https://example.org/a.png") == b"x" * 100
    with pytest.raises(InputError, match="more than 0 MiB, expected a smaller file"):
        web.fetch("https://example.org/a.png", largest=50)
    Answer.url = "http://example.org/a.png"
    with pytest.raises(InputError, match=r"redirects to http://example.org/a.png"):
        web.fetch("https://example.org/a.png")

    def refuse(request, timeout):
        raise OSError("no route")

    monkeypatch.setattr(web, "urlopen", refuse)
    with pytest.raises(InputError, match=r"can't be downloaded \(no route\)"):
        web.fetch("https://example.org/a.png")
    assert web.cause_of(URLError(OSError(-2, "Name or service not known"))) == "Name or service not known"
    not_found = HTTPError("https://example.org/a.png", 404, "Not Found", Message(), None)
    assert web.cause_of(not_found) == "HTTP Error 404: Not Found"
