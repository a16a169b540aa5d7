"""Exported files give the network's outputs and refuse inputs that don't fit."""

import functools
import json
import multiprocessing
import shutil
import sys
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import numpy as np
import pytest
import timm
import torch
from torch import nn

import metamixer
from metamixer.checkpoints.source import info_of
from metamixer.data import Preprocessing
from metamixer.deployment import exporting
from metamixer.deployment.backends import installed_backends
from metamixer.deployment.description import Description
from metamixer.deployment.exporting import export, with_preprocessing
from metamixer.deployment.formats import FORMATS
from metamixer.deployment.program import Normalize
from metamixer.deployment.quantization import Quantization
from metamixer.deployment.runtime import Runtime, in_batches
from metamixer.deployment.targets import MANIFEST, written_together
from metamixer.errors import InputError
from random_statistics import randomize
from shapes import CLASSES, INFO, SIZE, classifier, needs


@pytest.fixture(scope="module")
def network():
    """Shared by the tests, so none may change it."""
    return classifier()


@pytest.fixture(scope="module")
def exported(network, tmp_path_factory):
    """The report of the network's export to a format; its file is shared too."""

    @functools.cache
    def report(name):
        return export(network, tmp_path_factory.mktemp(name) / f"net{FORMATS[name].suffix}", format=name, info=INFO)

    return report


@pytest.fixture(scope="module")
def onnx_file(exported):
    return exported("onnx").path


def expected(network, x):
    """The network on images in [0, 1]."""
    mean, std = (torch.tensor(getattr(Preprocessing(), key)).view(1, 3, 1, 1) for key in ("mean", "std"))
    with torch.inference_mode():
        return network((x - mean) / std)


@pytest.mark.parametrize("name", [pytest.param(name, marks=needs[name]) for name in FORMATS if name != "coreml"])
def test_a_file_is_the_same_function_in_its_own_runtime(name, network, exported):
    report = exported(name)
    assert "verified" in str(report)
    runtime = metamixer.load_exported(report.path)
    assert runtime.description.network["classes"] == CLASSES
    for batch in (1, 3):
        x = torch.rand(batch, 3, SIZE, SIZE)
        torch.testing.assert_close(runtime(x), expected(network, x), rtol=1e-4, atol=1e-4)
    if runtime.shape[2] is None:
        x = torch.rand(2, 3, 96, 71)
        torch.testing.assert_close(runtime(x), expected(network, x), rtol=1e-4, atol=1e-4)
    assert list(report.path.parent.glob(".*")) == []


@needs["coreml"]
def test_a_core_ml_program_is_converted_and_its_structure_checked(network, tmp_path):
    classes = ["tench, Tinca tinca", "square", "triangle"]
    report = export(network, tmp_path / "net.mlpackage", format="coreml", info={**INFO, "classes": classes})
    assert "not verifiable on this platform" in str(report) or report.parity
    assert json.loads(metamixer.load_exported(report.path).model.user_defined_metadata["classes"]) == classes
    assert (tmp_path / "net.mlpackage" / "Manifest.json").is_file()


@pytest.mark.parametrize(
    ("name", "standing", "overwrite", "said"),
    [
        ("torch", "net.pt2", False, "exists, expected another name or folder, or --overwrite"),
        ("torch", "net.pt2/thesis.txt", True, "it is a folder"),
        pytest.param("openvino", "net.bin", False, "net.bin: exists", marks=needs["openvino"]),
        pytest.param("coreml", "net.mlpackage/thesis.txt", True, "it is a folder", marks=needs["coreml"]),
        pytest.param("coreml", f"net.mlpackage/{MANIFEST}", False, "net.mlpackage: exists", marks=needs["coreml"]),
    ],
)
def test_existing_files_are_not_replaced(name, standing, overwrite, said, network, tmp_path):
    kept = tmp_path / standing
    kept.parent.mkdir(exist_ok=True)
    kept.write_text("a year's work")
    with pytest.raises(InputError, match=said):
        export(network, tmp_path / f"net{FORMATS[name].suffix}", format=name, info=INFO, overwrite=overwrite)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [kept]
    assert kept.read_text() == "a year's work"


def test_a_package_replaces_a_package(tmp_path):
    out = tmp_path / "net.mlpackage"
    for name in (MANIFEST, "of the first"):
        out.mkdir(exist_ok=True)
        (out / name).touch()
    with written_together(out) as part:
        part.mkdir()
        (part / MANIFEST).touch()
    assert [path.relative_to(tmp_path) for path in sorted(tmp_path.rglob("*"))] == [
        Path(out.name),
        Path(out.name, MANIFEST),
    ]


def test_an_interrupt_loses_no_package(tmp_path, monkeypatch):
    out = tmp_path / "net.mlpackage"
    out.mkdir()
    (out / MANIFEST).write_text("of the first")

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt), written_together(out) as part:
        part.mkdir()
        (part / MANIFEST).touch()
    assert (out / MANIFEST).read_text() == "of the first"
    assert list(tmp_path.iterdir()) == [out]


def test_batches_of_other_sizes_are_padded_and_cropped():
    taken = []

    def double(x):
        taken.append(len(x))
        return 2 * x

    x = torch.rand(21, 3)
    assert torch.equal(in_batches(double, x, (1, 2, 4, 8, 16)), 2 * x)
    assert taken == [16, 8]


def test_a_fixed_batch_is_padded_only_where_there_is_room():
    class Fixed(Runtime):
        def run(self, x):
            return x

    assert Fixed((4, 3, None, None)).any_batch(torch.zeros(1, 3, 8, 8)).shape == (1, 3, 8, 8)
    with pytest.raises(InputError, match=r"fixed batch for an input of 16777216x3x96x96, expected at most"):
        Fixed((2**24, 3, None, None)).any_batch(torch.zeros(1, 3, 96, 96))


@needs["coreml"]
def test_a_core_ml_program_gets_batch_sizes_that_it_lists():
    from metamixer.deployment.runtimes.coreml import BATCHES, CoreMl

    class Fake:
        def predict(self, inputs):
            assert len(inputs["input"]) in BATCHES
            return {"output": 2 * inputs["input"]}

    x = torch.rand(21, 3)
    assert torch.equal(CoreMl(Fake(), Description("fp32", shape=(None, 3)))(x), 2 * x)


def test_an_executorch_program_gets_batches_that_it_has_memory_for(monkeypatch):
    """With stand-ins for its package, which the tests' environment doesn't have."""
    for name in ("backends.xnnpack.partition.xnnpack_partitioner", "exir", "runtime"):
        monkeypatch.setitem(sys.modules, f"executorch.{name}", MagicMock())
    spec = find_spec("metamixer.deployment.runtimes.executorch")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    taken = []

    def forward(inputs):
        taken.append(len(inputs[0]))
        return [2 * inputs[0]]

    answers = {"metamixer": lambda _: [Description("fp32", shape=(None, 3)).to_json()], "forward": forward}
    program = SimpleNamespace(method_names=[*answers], load_method=lambda name: SimpleNamespace(execute=answers[name]))
    module.Engine.get.return_value.load_program.return_value = program
    x = torch.rand(35, 3)
    assert torch.equal(module.ExecuTorch(b"", Path("net.pte"))(x), 2 * x)
    assert taken == [16, 16, 3]


def test_an_operator_that_the_runtime_lacks_is_named(network, tmp_path, monkeypatch):
    """As in an ExecuTorch program that sorts: it is written, but can't be loaded."""

    def load(path):
        raise InputError(f"{path}: not readable") from RuntimeError("Failed to load method forward\nsecond line")

    monkeypatch.setattr(exporting, "load_exported", load)
    with pytest.raises(InputError, match=r"format 'torch': its runtime .*\(Failed to load method forward\): nothing"):
        export(network, tmp_path / "net.pt2", format="torch", info=INFO)
    assert not list(tmp_path.iterdir())


@needs["openvino"]
def test_a_network_of_another_shape_exports(tmp_path):
    series = randomize(nn.Sequential(nn.Linear(5, 8), nn.GELU(), nn.Linear(8, 5)))
    report = export(series, tmp_path / "series.xml", format="openvino", example=torch.rand(1, 24, 5))
    assert report.shape[2] == 5
    with pytest.raises(InputError, match=r"expected .*5"):
        metamixer.load_exported(tmp_path / "series.xml")(torch.rand(1, 24, 6))


def test_an_onnx_file_contains_no_path_of_this_machine(onnx_file):
    assert __file__.rsplit("/", 2)[0].encode() not in onnx_file.read_bytes()


@pytest.mark.parametrize(
    ("x", "said"),
    [
        ([1.0], "is a list, expected a float32 tensor"),
        (torch.zeros(1, 3, SIZE, SIZE, dtype=torch.float64), "expected torch.float32"),
        (torch.zeros(1, 4, SIZE, SIZE), r"expected \(batch, 3, height, width\)"),
        (torch.zeros(3, SIZE, SIZE), r"expected \(batch, 3, height, width\)"),
    ],
)
def test_a_runtime_refuses_what_does_not_fit(x, said, onnx_file):
    with pytest.raises(InputError, match=said):
        metamixer.load_exported(onnx_file)(x)


def test_a_fork_loads_a_file_again(onnx_file):
    """It can't share the process that runs the file."""
    loaded, x = metamixer.load_exported(onnx_file), torch.rand(1, 3, SIZE, SIZE)
    loaded(x)
    fork = multiprocessing.get_context("fork")
    answers = fork.SimpleQueue()

    def ask():
        try:
            loaded(x)
        except InputError as error:
            answers.put(str(error))
        answers.put(metamixer.load_exported(onnx_file)(x).shape)

    asking = fork.Process(target=ask, daemon=True)
    asking.start()
    asking.join(60)
    asking.kill()
    assert asking.exitcode == 0
    assert "net.onnx: its process has ended, or is that of another process; load the file again" in answers.get()
    assert answers.get() == loaded(x).shape


@pytest.mark.parametrize("name", [pytest.param(name, marks=needs[name]) for name in FORMATS if name != "coreml"])
def test_a_truncated_file_is_refused(name, exported, tmp_path):
    for file in exported(name).path.parent.iterdir():
        shutil.copy(file, tmp_path / f"cut{file.suffix}")
    cut = tmp_path / f"cut{FORMATS[name].suffix}"
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    with pytest.raises(InputError, match=r"cut\."):
        metamixer.load_exported(cut)


@pytest.mark.parametrize("name", [pytest.param(name, marks=needs[name]) for name in FORMATS])
def test_a_folder_with_the_name_of_a_file_is_refused(name, tmp_path):
    folder = tmp_path / f"net{FORMATS[name].suffix}"
    folder.mkdir()
    with pytest.raises(InputError, match=rf"net{FORMATS[name].suffix}: "):
        metamixer.load_exported(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"description_version": 99}, "description version 99, expected 1"),
        ({"precision": "fp7"}, "later.onnx: description: .*precision='fp7'"),
        ({"shape": None}, "later.onnx: description.shape None"),
        ({"unheard": "of"}, "later.onnx: description.unheard 'of'"),
    ],
)
def test_a_file_of_another_version_or_altered_is_refused(change, said, onnx_file, tmp_path):
    import onnx

    model = onnx.load(onnx_file)
    description = json.loads(model.metadata_props[0].value)
    onnx.helper.set_model_props(model, {"metamixer": json.dumps({**description, **change})})
    onnx.save(model, tmp_path / "later.onnx")
    with pytest.raises(InputError, match=said):
        metamixer.load_exported(tmp_path / "later.onnx")


@needs["onnx"]
@pytest.mark.parametrize("use", ["export", "deploy"])
@pytest.mark.parametrize(
    ("example", "calibration", "said"),
    [
        (np.zeros((1, 3, SIZE, SIZE), np.float32), None, "example is a ndarray, expected a float32 tensor"),
        (
            torch.zeros(1, 3, SIZE, SIZE, dtype=torch.float64),
            None,
            "example of type torch.float64, expected torch.float32",
        ),
        (torch.zeros(0, 3, SIZE, SIZE), None, r"example of shape \[0, 3, 64, 64\], expected a batch of at least one"),
        (torch.zeros(1, 4, SIZE, SIZE), None, r"of shape \[1, 4, 64, 64\], expected"),
        (torch.zeros(1, SIZE), None, r"of shape \[1, 64\], expected"),
        (torch.zeros(1, 3, SIZE, SIZE), torch.zeros(0, 3, SIZE, SIZE), r"calibration of shape \[0, 3"),
        (
            torch.zeros(1, 3, SIZE, SIZE),
            torch.zeros(2, 3, 32, 32),
            r"calibration of shape .*, expected \(batch, 3, 64, 64\)",
        ),
    ],
)
def test_inputs_that_the_network_does_not_take_are_one_line(use, example, calibration, said, network, tmp_path):
    precision = "fp32" if calibration is None else "int8"
    with pytest.raises(InputError, match=said) as refusal:
        if use == "deploy":
            metamixer.deploy(network, example, precision, calibration=calibration)
        else:
            quantization = None if calibration is None else Quantization(calibration)
            export(network, tmp_path / "net.onnx", format="onnx", info=INFO, example=example, quantization=quantization)
    assert "\n" not in str(refusal.value)


def test_a_network_in_training_stays_as_it_is(tmp_path):
    training = classifier().train()
    before = {key: value.clone() for key, value in training.state_dict().items()}
    export(training, tmp_path / "net.pt2", format="torch", info=INFO)
    metamixer.deploy(training, torch.rand(1, 3, SIZE, SIZE), "fp32", backend="eager", cache=False)
    assert all(module.training for module in training.modules())
    assert all(torch.equal(value, before[key]) for key, value in training.state_dict().items())


class OneByOne(nn.Module):
    """A network whose code fixes the batch size when it is captured."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(8, 4)

    def forward(self, x):
        return torch.stack([self.layer(row) for row in x])


def test_a_network_with_a_fixed_batch_is_captured_with_the_examples(tmp_path):
    network, example = OneByOne().eval(), torch.rand(1, 8)
    for backend in {"openvino", "onnxruntime"} & set(installed_backends()):
        runtime = metamixer.deploy(network, example, "fp32", backend=backend, cache=False)
        assert torch.allclose(runtime(example), network(example), atol=1e-5)
    with pytest.raises(InputError, match="fixes the batch size: nothing written; --dynamic false"):
        export(network, tmp_path / "net.pt2", format="torch", example=example)
    export(network, tmp_path / "net.pt2", format="torch", example=example, dynamic=False)


class Narrow(nn.Module):
    """A network that refuses larger images, by a condition on a size that `torch.export` takes for free."""

    def forward(self, x):
        if x.shape[-1] > 40:
            raise ValueError("too wide")
        return x.mean((2, 3))


def test_a_file_that_fails_in_another_size_is_not_written(tmp_path):
    with pytest.raises(InputError, match=r"in another size than the example's .*--dynamic false fixes the sizes"):
        export(Narrow().eval(), tmp_path / "net.pt2", format="torch", example=torch.rand(1, 3, 32, 32))
    assert list(tmp_path.iterdir()) == []


@needs["openvino"]
def test_what_a_library_cannot_convert_is_one_line(tmp_path):
    with pytest.raises(InputError, match=r"OpenVINO can't represent this network .*No conversion rule found"):
        export(
            timm.create_model("test_vit").eval(),
            tmp_path / "net.xml",
            format="openvino",
            example=torch.rand(1, 3, 160, 160),
        )
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_not_the_network_is_not_written(network, tmp_path, monkeypatch):
    wrong = classifier(seed=1)
    monkeypatch.setattr("metamixer.deployment.exporting.fuse", lambda model: wrong)
    with pytest.raises(InputError, match="nothing written"):
        export(network, tmp_path / "net.pt2", format="torch", info=INFO)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "classes"), [("ffnet_seg_ade20k", 150), ("ffnet_seg_cityscapes", 19)])
def test_a_published_segmenter_s_normalisation_is_in_its_file(name, classes):
    info = info_of(name)
    assert len(info["classes"]) == classes
    assert isinstance(with_preprocessing(nn.Identity(), info), Normalize)
