"""The contract of the predictors: what they load, device and precision, and equality with the network itself."""

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas
import pytest
import torch
from PIL import Image

import metamixer
from metamixer.checkpoints.ours import network_info, save_network
from metamixer.checkpoints.source import load_network
from metamixer.data import DetectionPreprocessing, PointPreprocessing, Preprocessing, SegmentationPreprocessing
from metamixer.data.points.clouds import Cloud
from metamixer.deployment.exporting import export
from metamixer.deployment.runtime import Runtime
from metamixer.errors import InputError
from metamixer.ops import fusion
from metamixer.ops.fusion import fuse
from metamixer.predictors.forecasting.forecaster import Forecaster
from metamixer.predictors.forecasting.rolling import ZeroShot
from metamixer.predictors.predictor import Predictor
from random_statistics import randomize
from tables import NAMES, wide

PICTURE = Image.effect_mandelbrot((64, 48), (-2, -1, 1, 1), 20).convert("RGB")
SCALING = {"mean": [0.0] * 3, "std": [1.0] * 3}
BACKBONE = {"depths": (1, 0, 0, 0), "dims": (8, 8, 16, 16), "stem_dim": 8}
SERIES = {"variables": 3, "lookback": 48, "horizon": 12, "dims": (16,), "kernel_sizes": (13,)}
NARROW_HEAD = {"head_args": {"dim": 16, "depth": 1, "out_dim": 32}}


@dataclass(frozen=True)
class Case:
    """A predictor, a small network for it with the rest of its info, and an input.

    answer: converts a prediction to a tensor that varies smoothly with the weights; exportable: shape of the example of
    an exported file.
    """

    predictor: str
    model: str
    arguments: dict[str, Any]
    preprocessing: dict[str, Any] | None
    input: Callable[[], Any]
    answer: Callable[[Any], torch.Tensor]
    exportable: tuple[int, ...] | None = None


def cloud() -> Cloud:
    random = np.random.RandomState(0)
    return Cloud(random.rand(200, 3), colours=(255 * random.rand(200, 3)).astype(np.float32))


CASES = {
    "classification": Case(
        "Classifier",
        "ffnet_nano",
        {"num_classes": 3, **BACKBONE},
        Preprocessing(size=32, crop_pct=1.0).as_dict(),
        lambda: PICTURE,
        lambda probabilities: probabilities,
        (1, 3, 32, 32),
    ),
    "detection": Case(
        "Detector",
        "cascade_mask_rcnn_ffnet_nano",
        {"num_classes": 3, "channels": 16, "hidden_dim": 32, "backbone_args": BACKBONE},
        DetectionPreprocessing(short_side=64, long_side=96).as_dict(),
        lambda: PICTURE,
        lambda found: found["scores"][:3],
    ),
    "segmentation": Case(
        "Segmenter",
        "ffnet_head_ffnet_nano",
        {"num_classes": 3, "backbone_args": BACKBONE, **NARROW_HEAD},
        SegmentationPreprocessing(window=64, stride=64).as_dict(),
        lambda: PICTURE.resize((64, 64)),
        lambda labels: torch.nn.functional.one_hot(torch.from_numpy(labels).long(), 3).float().mean(dim=(0, 1)),
        (1, 3, 64, 64),
    ),
    "points": Case(
        "PointSegmenter",
        "ffnet_3d_nano",
        {
            "in_chans": 6,
            "num_classes": 2,
            "depths": (1, 1, 1),
            "dims": (16, 16, 32),
            "decoder_depths": (1, 1),
            "decoder_dims": (16, 16),
        },
        PointPreprocessing(0.1, ("position", "colour")).as_dict(),
        cloud,
        lambda labels: torch.from_numpy(labels).float().mean()[None],
    ),
    "super_resolution": Case(
        "Upscaler",
        "ffnet_sr_nano",
        {"scale": 2, "dim": 8, "depth": 1},
        None,
        lambda: np.asarray(PICTURE, dtype=np.float32) / 255,
        torch.from_numpy,
        (1, 3, 32, 32),
    ),
    "restoration": Case(
        "Restorer",
        "ffnet_restore",
        {"dim": 8, "depth": 1},
        None,
        lambda: np.asarray(PICTURE, dtype=np.float32) / 255,
        torch.from_numpy,
        (1, 3, 32, 32),
    ),
    "forecasting": Case(
        "Forecaster",
        "ffnet_ts",
        SERIES,
        {"names": list(NAMES), "time": "date", "scaling": SCALING},
        lambda: wide(60),
        lambda table: torch.from_numpy(table[list(NAMES)].to_numpy()).float(),
        (1, 48, 3),
    ),
}
"""Task -> its case."""
BACKENDS = {
    "eager": tuple(CASES),
    "openvino": tuple(CASES),
    "onnxruntime": ("classification", "detection", "points", "forecasting"),
}
"""Backend -> the tasks that are tested in it; `test_export_command.py` converts a segmenter and an upscaler to ONNX."""
SMOOTH = {"rtol": 1e-3, "atol": 1e-3}
"""Tolerance for the answers of networks with random weights."""


@pytest.fixture(params=CASES)
def task(request):
    return request.param


@pytest.fixture
def case(task):
    return CASES[task]


@pytest.fixture
def cls(case) -> type[Predictor]:
    return getattr(metamixer, case.predictor)


@functools.cache
def network_of(task: str) -> torch.nn.Module:
    """A small network with weights as after training. Shared by the tests, so none may change it."""
    case = CASES[task]
    torch.manual_seed(0)
    network = randomize(metamixer.create_model(case.model, **case.arguments))
    if case.predictor in ("Upscaler", "Restorer"):
        with torch.no_grad():  # otherwise its outputs are far from colors
            network.head.weight.mul_(0.05)
            network.head.bias.zero_()
    return network


@pytest.fixture
def network(task):
    return network_of(task)


@pytest.fixture
def info(task, case):
    return network_info(case.model, case.arguments, task=task, preprocessing=case.preprocessing)


@pytest.fixture
def checkpoint(network, info, tmp_path):
    save_network(network, info, tmp_path / "net.safetensors")
    return tmp_path / "net.safetensors"


def test_every_task_has_a_predictor(cls, task):
    assert issubclass(cls, Predictor) and cls.task == task


def test_runs_the_fused_network_and_equals_the_original(cls, case, checkpoint, network):
    predictor = cls.load(checkpoint)
    assert fuse(predictor.network) is predictor.network and not predictor.network.training
    fused = case.answer(predictor(case.input()))
    bare = cls.load(checkpoint)
    bare.network = bare.run = network
    torch.testing.assert_close(fused, case.answer(bare(case.input())), **SMOOTH)


def test_loads_a_deploy_form_and_a_training_checkpoint(cls, case, checkpoint, network, info, tmp_path):
    expected = case.answer(cls.load(checkpoint)(case.input()))
    save_network(fuse(network), {**info, "fused": True}, tmp_path / "fused.safetensors")
    state = {f"network.{key}": value for key, value in network.state_dict().items()}
    torch.save({"state_dict": state, "metamixer": info}, tmp_path / "last.ckpt")
    for name in ("fused.safetensors", "last.ckpt"):
        torch.testing.assert_close(case.answer(cls.load(str(tmp_path / name))(case.input())), expected, **SMOOTH)


def test_runs_exported_files(task, cls, case, checkpoint, network, info, tmp_path):
    if case.exportable is None:
        pytest.skip("several tensors in or out: no format holds it")
    path = tmp_path / "net.pt2"
    kept = {"values": [0, 9, 255], "grey_images": True} if task == "segmentation" else {}
    export(network, path, format="torch", info={**info, **kept}, example=torch.rand(case.exportable))
    predictor = cls.load(path)
    assert {name: getattr(predictor, name) for name in kept} == kept
    assert isinstance(predictor.network, Runtime)
    expected = case.answer(cls.load(checkpoint)(case.input()))
    torch.testing.assert_close(case.answer(predictor(case.input())), expected, **SMOOTH)
    with pytest.raises(InputError, match="backend 'eager', expected none: an exported file"):
        cls.load(path, backend="eager")
    with pytest.raises(InputError, match=r"a file of .*, expected ffnet_9|model .ffnet_9., expected one of ffnet_"):
        cls.load(path, model="ffnet_9")


@pytest.mark.parametrize(
    ("task", "backend"), [(task, backend) for backend, tasks in BACKENDS.items() for task in tasks], indirect=["task"]
)
def test_computes_in_a_backend(cls, case, checkpoint, backend):
    if case.exportable is None and backend != "eager":
        with pytest.raises(InputError, match=f"backend '{backend}', expected one of eager, auto for {cls.task}"):
            cls.load(checkpoint, backend=backend)
        return
    if backend != "eager":
        pytest.importorskip(backend)
    predictor = cls.load(checkpoint, backend=backend)
    torch.testing.assert_close(
        case.answer(predictor(case.input())), case.answer(cls.load(checkpoint)(case.input())), **SMOOTH
    )


def test_computes_in_bfloat16(cls, case, checkpoint):
    exact, fast = (case.answer(cls.load(checkpoint, precision=name)(case.input())) for name in ("fp32", "bf16"))
    assert exact.dtype == fast.dtype == torch.float32
    torch.testing.assert_close(fast, exact, rtol=0.2, atol=0.2)


def test_forecasts_of_each_series_alone_refuse_a_precision():
    with pytest.raises(InputError, match="precision 'bf16', expected fp32"):
        metamixer.load("ffnet_ts_zero", horizon=12, precision="bf16")


@pytest.mark.parametrize("device", ["cpu", *(["cuda"] if torch.cuda.is_available() else [])])
def test_computes_on_a_device(cls, case, checkpoint, device):
    predictor = cls.load(checkpoint, device=device)
    assert predictor.device.type == next(predictor.network.parameters()).device.type == device
    torch.testing.assert_close(
        case.answer(predictor(case.input())), case.answer(cls.load(checkpoint)(case.input())), **SMOOTH
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"device": "bogus"}, "device 'bogus' is not available; choose from: cpu"),
        ({"backend": "bogus"}, "backend 'bogus', expected one of auto, openvino"),
        ({"precision": "int9"}, "precision 'int9', expected one of fp32, bf16"),
        ({"precision": "int9", "backend": "eager"}, "precision 'int9', expected one of auto, fp32"),
        (
            {"model": "ffnet_head_ffnet_1"},
            "expected ffnet_head_ffnet_1|model 'ffnet_head_ffnet_1', expected one of ffnet_",
        ),
    ],
)
def test_refuses_input_that_does_not_fit(cls, checkpoint, settings, message):
    with pytest.raises(InputError, match=message):
        cls.load(checkpoint, **settings)


def test_refuses_a_network_of_another_task_and_a_file_that_is_not_there(cls, task, tmp_path):
    other = "ffnet_ts" if task != "forecasting" else "ffnet_nano"
    arguments = SERIES if task != "forecasting" else {"num_classes": 3}
    known = network_info(other, arguments, task="forecasting" if task != "forecasting" else "classification")
    save_network(metamixer.create_model(other, **arguments), known, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match=f"other.safetensors: a checkpoint of {other} for .*, expected one for {task}"):
        cls.load(tmp_path / "other.safetensors")
    for name in ("absent.safetensors", "absent.ckpt", "absent.pth"):
        with pytest.raises(InputError, match=f"{name}: no such file"):
            cls.load(tmp_path / name)


def test_the_signatures_of_version_0_1_0_work(checkpoint, task, cls):
    if task == "forecasting":
        loaded = cls.load(path=checkpoint, device="cpu")
    elif task == "points":
        loaded = cls.load(checkpoint, model=CASES[task].model)
    elif task == "super_resolution":
        loaded = cls("ffnet_sr_nano", 2, checkpoint=checkpoint, memory=64, device="cpu")
    else:
        loaded = cls.load(model=CASES[task].model, checkpoint=checkpoint)
    assert fuse(loaded.network) is loaded.network


def test_published_upscalers_contain_their_scale(tmp_path):
    network = metamixer.create_model("ffnet_sr_nano", scale=3)
    torch.save({"params": {network.published_name(k): v for k, v in network.state_dict().items()}}, tmp_path / "x3.pth")
    assert metamixer.Upscaler.load(tmp_path / "x3.pth", model="ffnet_sr_nano").scale == 3


def test_an_exported_forecaster_cannot_be_saved_again(tmp_path):
    network = metamixer.create_model("ffnet_ts", **SERIES).eval()
    info = network_info("ffnet_ts", SERIES, task="forecasting", preprocessing=CASES["forecasting"].preprocessing)
    export(network, tmp_path / "net.pt2", format="torch", info=info, example=torch.rand(1, 48, 3))
    forecaster = Forecaster.load(tmp_path / "net.pt2")
    assert isinstance(forecaster.predict(wide(60)), pandas.DataFrame)
    with pytest.raises(InputError, match="an exported file has no weights to save"):
        forecaster.save(tmp_path / "again.safetensors")


def test_a_name_is_loaded_with_its_initialization_where_that_is_asked_for():
    first, second = (load_network("ffnet_nano", pretrained=False) for _ in range(2))
    assert first[1]["task"] == "classification" and len(first[1]["classes"]) == 1000
    torch.testing.assert_close(first[0].state_dict(), second[0].state_dict())


@pytest.mark.parametrize("size", [0, -1])
@pytest.mark.parametrize(
    "use",
    [
        lambda load, size: load("classification")([PICTURE] * 2, batch_size=size),
        lambda load, size: load("classification")(PICTURE, batch_size=size),
        lambda load, size: list(load("classification").top([PICTURE] * 2, batch_size=size)),
        lambda load, size: load("classification").deploy("eager", batch_size=size),
        lambda load, size: load("forecasting").forecast_windows(torch.zeros(2, 48, 3), size),
        lambda load, size: ZeroShot(torch.nn.Identity(), batch_size=size),
    ],
)
def test_a_batch_holds_at_least_one_input(use, size, tmp_path):
    def load(task):
        case, path = CASES[task], tmp_path / "net.safetensors"
        info = network_info(case.model, case.arguments, task=task, preprocessing=case.preprocessing)
        save_network(network_of(task), {**info, "classes": list("abc")}, path)
        return metamixer.load(path)

    with pytest.raises(InputError, match=f"batch_size {size}, expected at least 1"):
        use(load, size)


def test_deploy_copies_a_network_once_for_all_backends(monkeypatch):
    network = randomize(metamixer.create_model("ffnet_nano", num_classes=3, **BACKBONE))
    copies = []
    monkeypatch.setattr(fusion.copy, "deepcopy", lambda x, *rest: copies.append(x) or COPY(x, *rest))
    metamixer.deploy(fuse(network), torch.randn(1, 3, 32, 32), "fp32", cache=False)
    assert sum(isinstance(x, type(network)) for x in copies) == 2  # our copy, and that of deploy


COPY = copy.deepcopy
