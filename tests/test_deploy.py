"""`deploy`: the fastest form gives the network's outputs; its timings are cached."""

import threading
from pathlib import Path

import pytest
import torch
from torch import nn

import metamixer
from metamixer.deployment.backends import build
from metamixer.deployment.fastest import Form, candidates, keep_trial, read_trials, trial_key, trials_file
from metamixer.deployment.runtime import Runtime
from metamixer.errors import InputError
from metamixer.ops.fusion import fuse
from shapes import SIZE, classifier


@pytest.fixture(scope="module")
def network():
    """Shared by the tests, so none may change it."""
    return classifier()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("backend", ["openvino", "onnxruntime", "eager"])
def test_deploy_gives_the_networks_outputs_from_several_threads(backend, precision, network):
    x = torch.randn(2, 3, SIZE, SIZE)
    if backend == "onnxruntime" and precision == "bf16":
        with pytest.raises(InputError, match="precision 'bf16', expected one of fp32, int8"):
            metamixer.deploy(network, x, precision, backend=backend)
        return
    runtime = metamixer.deploy(network, x, precision, backend=backend)
    with torch.inference_mode():
        wanted = network(x)
    answers = [None] * 4

    def ask(i):
        answers[i] = runtime(x[i % 2 : i % 2 + 1])

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tolerance = {"fp32": 1e-4, "bf16": 5e-2}[precision] * wanted.abs().max().item()
    for i, answer in enumerate(answers):
        assert (answer - wanted[i % 2]).abs().max() <= tolerance


def test_deploy_caches_its_timings(network, cache, monkeypatch):
    monkeypatch.setattr("metamixer.deployment.fastest.installed_backends", lambda: ["openvino", "eager"])
    x = torch.randn(1, 3, SIZE, SIZE)
    first = metamixer.deploy(network, x, "fp32")
    assert {path.name for path in trials_file().parent.iterdir()} == {"fastest.json", "fastest.json.lock"}
    monkeypatch.setattr("metamixer.deployment.fastest.time_forms", lambda *args: pytest.fail("a second trial"))
    assert metamixer.deploy(network, x, "fp32").name == first.name
    trials_file().write_text("not json")
    with pytest.raises(pytest.fail.Exception, match="a second trial"):
        metamixer.deploy(network, x, "fp32")


def test_a_cached_choice_is_checked_with_the_current_weights(cache):
    network, x = nn.Linear(2, 1, bias=False).eval(), torch.tensor([[1.0, 1.001]])
    network.weight.data = torch.tensor([[1000.0, -1000.0]])
    forms = candidates("auto", "eager", x, calibrated=False)
    keep_trial(trial_key(fuse(network), x, forms), Form("eager", "bf16"))
    assert metamixer.deploy(network, x, backend="eager").name == "eager fp32"


@pytest.mark.parametrize("known", [True, False])
def test_an_unwritable_cache_stops_nothing(known, tmp_path, monkeypatch):
    def home():
        if known:
            return tmp_path
        raise RuntimeError("no home directory")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", home)
    (tmp_path / ".cache").touch()
    keep_trial("key", Form("eager", "fp32"))
    assert read_trials() == {}


def test_a_backend_that_cannot_convert_the_network_is_skipped(network, monkeypatch):
    def only_eager(backend, *args, **settings):
        if backend != "eager":
            raise RuntimeError("no such operator\nin line 3")
        return build(backend, *args, **settings)

    monkeypatch.setattr("metamixer.deployment.fastest.build", only_eager)
    x = torch.randn(1, 3, SIZE, SIZE)
    assert metamixer.deploy(network, x, "fp32", cache=False).name == "eager fp32"
    with pytest.raises(InputError, match=r"^onnxruntime fp32: no such operator$"):
        metamixer.deploy(network, x, "fp32", backend="onnxruntime", cache=False)


def test_int8_in_openvino_needs_nncf(network, monkeypatch):
    monkeypatch.setattr(
        "metamixer.deployment.formats.find_spec", lambda package: None if package == "nncf" else package
    )
    x = torch.randn(1, 3, SIZE, SIZE)
    with pytest.raises(InputError, match=r"nncf is not installed: pip install 'metamixer\[openvino\]'"):
        metamixer.deploy(network, x, "int8", backend="openvino", calibration=x, cache=False)


def test_int8_is_compared_on_its_calibration_inputs(monkeypatch):
    class Cut(Runtime):
        def run(self, x):
            return x.clamp(max=1)

    monkeypatch.setattr("metamixer.deployment.fastest.build", lambda *args, **settings: Cut((None, None)))
    network, example, calibration = nn.Identity(), torch.rand(1, 8), torch.rand(4, 8)
    settings = {"backend": "onnxruntime", "cache": False}
    assert metamixer.deploy(network, example, "int8", calibration=calibration, **settings).name == "onnxruntime int8"
    with pytest.raises(InputError, match="dB of signal to noise, expected at least 20 dB in int8"):
        metamixer.deploy(network, example, "int8", calibration=3 * calibration, **settings)
