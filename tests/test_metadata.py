"""What files say of themselves is judged before anything is built from it."""

import copy

import pytest
import torch

import metamixer
from metamixer.checkpoints.ours import save_network
from metamixer.cli import main
from metamixer.data.detection.transforms import DetectionPreprocessing
from metamixer.data.preprocessing import Preprocessing
from metamixer.data.segmentation.transforms import SegmentationPreprocessing
from metamixer.deployment.description import Description
from metamixer.errors import InputError
from metamixer.models import create_model
from metamixer.predictors.classifier import Classifier
from metamixer.predictors.forecasting.forecaster import Forecaster
from metamixer.predictors.segmenter import Segmenter
from metamixer.predictors.upscaler import Upscaler

CLASSIFIER = {
    "model": "ffnet_nano",
    "model_args": {"depths": [1, 1, 1, 1], "num_classes": 3},
    "task": "classification",
    "classes": ["a", "b", "c"],
    "preprocessing": Preprocessing(size=32).as_dict(),
    "fused": False,
    "version": "0.1.0",
}
FORECASTER = {
    "model": "ffnet_ts",
    "model_args": {"variables": 2, "lookback": 48, "horizon": 12},
    "task": "forecasting",
    "classes": None,
    "preprocessing": {
        "names": ["a", "b"],
        "time": "date",
        "scaling": {"mean": [0.0, 1e17], "std": [1.0, 2.0]},  # a series may have any unit
        "layout": {"long": False, "time": "date"},
        "frequency": "h",
    },
    "fused": False,
    "version": "0.1.0",
}
KINDS = {"classifier": (CLASSIFIER, Classifier), "forecaster": (FORECASTER, Forecaster)}
NAN = float("nan")


@pytest.fixture(scope="module")
def networks():
    torch.manual_seed(0)
    return {name: create_model(info["model"], **info["model_args"]) for name, (info, _) in KINDS.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_a_good_file_loads(networks, kind, tmp_path):
    info, predictor = KINDS[kind]
    save_network(networks[kind], info, tmp_path / "good.safetensors")
    assert predictor.load(tmp_path / "good.safetensors").network is not None


@pytest.mark.parametrize(
    ("kind", "place", "value", "message"),
    [
        ("classifier", "model_args.depths", [100_000] * 4, "at most 400 blocks"),
        ("classifier", "model_args.depths", [90] * 4, "360 blocks, expected at most"),
        ("classifier", "model_args.dims", [4096] * 4, "weights by its keywords"),
        ("classifier", "model_args.num_classes", 10**6, "weights by its keywords"),
        ("classifier", "model_args.num_classes", 2**40, "numbers of at most"),
        ("classifier", "model_args.depths", "x", "depths"),
        ("classifier", "model_args.foo", 1, "can't be built .*foo"),
        ("classifier", "model_args", [], "model_args .*dictionary"),
        ("classifier", "model", 3, "model 3, expected a valid string"),
        ("classifier", "model", "os:system", "no such model"),
        ("classifier", "task", None, "for None, expected one for classification"),
        ("classifier", "classes", 5, "classes 5"),
        ("classifier", "classes", ["a", ["b"], "c"], r"classes\.1 \['b'\]"),
        ("classifier", "classes", ["a"], "1 names of classes, expected 3"),
        ("classifier", "fused", "yes", "fused 'yes'"),
        ("classifier", "preprocessing.std", [-1.0, 1.0, 1.0], "expected values above 0"),
        ("classifier", "preprocessing.std", [NAN, 1.0, 1.0], "finite numbers"),
        ("classifier", "preprocessing.size", 10**9, "at most 16384 pixels"),
        (
            "classifier",
            "preprocessing.size",
            12_000,
            "size and crop_pct for an input of 3x13333x13333, expected at most",
        ),
        ("classifier", "preprocessing.crop_pct", 5e-324, "size and crop_pct for an input of"),
        ("classifier", "preprocessing.size", "x", "preprocessing.size 'x'"),
        ("classifier", "preprocessing.more", 1, "preprocessing.more 1"),
        ("forecaster", "preprocessing.scaling.std", [-1.0, 1.0], r"std\.0 -1.0, expected greater than 0"),
        ("forecaster", "preprocessing.scaling.std", [1.0], "std of 1 series, expected 2"),
        ("forecaster", "preprocessing.scaling.mean", [NAN, 1.0], "finite numbers"),
        ("forecaster", "preprocessing.frequency", "zz", "frequency 'zz'"),
        ("forecaster", "preprocessing.layout.zone", "../../etc/passwd", "zone"),
        ("forecaster", "preprocessing.layout.unit", "parsec", "unit 'parsec'"),
        ("forecaster", "preprocessing.quantiles", {"80": [[1.0, 1.0]]}, "quantiles.80 of 1 steps, expected 12"),
        ("forecaster", "preprocessing.quantiles", {"8²": [[1.0, 1.0]] * 12}, "quantiles '8²', expected percents"),
        ("forecaster", "model_args.horizon", 2**40, "numbers of at most"),
        ("forecaster", "preprocessing.names", ["a"], "names of 1 series, expected 2"),
    ],
)
def test_what_a_file_says_is_judged(networks, kind, place, value, message, tmp_path):
    info, predictor = KINDS[kind]
    info = copy.deepcopy(info)
    *above, key = place.split(".")
    inside = info
    for name in above:
        inside = inside[name]
    inside[key] = value
    save_network(networks[kind], info, tmp_path / "bad.safetensors")
    with pytest.raises(InputError, match=rf"bad\.safetensors: .*{message}"):
        predictor.load(tmp_path / "bad.safetensors")


@pytest.mark.parametrize("task", [None, "translation"])
def test_a_file_of_no_known_task_is_one_line(networks, task, tmp_path, capsys):
    path = tmp_path / "odd.safetensors"
    save_network(networks["classifier"], {**CLASSIFIER, "task": task}, path)
    said = f"odd.safetensors: task {task!r}, expected one of classification, detection, "
    with pytest.raises(InputError, match=said):
        metamixer.load(path)
    for command, format, out in (("fuse", None, "a.safetensors"), ("export", "torch", "a.pt2"), ("export", "hub", "a")):
        words = [command, str(path), "--out", str(tmp_path / out)]
        assert main([*words, "--format", format] if format else words) == 2
        assert said in capsys.readouterr().err


@pytest.mark.parametrize("kind", [SegmentationPreprocessing, DetectionPreprocessing])
def test_images_are_not_enlarged_beyond_memory(kind):
    assert kind.from_dict({"short_side": 1024, "long_side": 80_000}).long_side == 80_000
    with pytest.raises(InputError, match="for an input of 3x1000000x10000000, expected at most"):
        kind.from_dict({"short_side": 10**6, "long_side": 10**7})


def test_a_batch_has_room_in_memory(networks):
    """Of the largest images, it is one."""
    network = networks["classifier"]
    classifier = Classifier(network, Preprocessing(size=9000, crop_pct=1.0), ["a", "b", "c"])
    assert [*classifier.batches(["a", "b"], 32)] == [["a"], ["b"]]
    small = Classifier(network, Preprocessing(size=32), ["a", "b", "c"])
    assert [*small.batches(["a", "b", "c"], 2)] == [["a", "b"], ["c"]]


def test_a_backend_is_not_built_for_a_window_without_room():
    segmenter = Segmenter(torch.nn.Identity(), SegmentationPreprocessing(window=10**7), ["a"], [(0, 0, 0)])
    with pytest.raises(InputError, match="window for an input of 1x3x10000000x10000000, expected at most"):
        segmenter.example()


def test_weights_are_finite(networks, tmp_path):
    network = copy.deepcopy(networks["classifier"])
    torch.nn.init.constant_(network.head.fc.bias, NAN)
    save_network(network, CLASSIFIER, tmp_path / "nan.safetensors")
    with pytest.raises(InputError, match=r"nan\.safetensors: .*bias holds values that are NaN"):
        Classifier.load(tmp_path / "nan.safetensors")


def test_published_weights_are_finite_too(tmp_path):
    state = create_model("ffnet_sr_nano", scale=2).state_dict()
    name = next(iter(state))
    state[name].view(-1)[0] = NAN
    torch.save({"params": state}, tmp_path / "nan.pth")
    said = rf"nan\.pth: .*{name} holds values that are NaN"
    with pytest.raises(InputError, match=said):
        Upscaler.load(tmp_path / "nan.pth", model="ffnet_sr_nano")
    with pytest.raises(InputError, match=said):
        metamixer.load_published(create_model("ffnet_sr_nano", scale=2), tmp_path / "nan.pth")


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"precision": "fp32", "shape": [0], "description_version": 1}',
        '{"precision": "fp32", "shape": [2147483647, 3, 96, 96], "description_version": 1}',
        '{"precision": "fp32", "shape": [1, 1, 1, 1, 1, 1, 1, 1, 1], "description_version": 1}',
        '{"precision": 5, "description_version": 1}',
        '{"precision": "fp32", "more": 1, "description_version": 1}',
        '{"precision": "fp32", "network": [], "description_version": 1}',
        "[1]",
        "{",
    ],
)
def test_a_description_is_judged(text, tmp_path):
    with pytest.raises(InputError, match=r"net\.onnx: "):
        Description.from_json(text, tmp_path / "net.onnx")
