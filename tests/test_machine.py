"""Capabilities of the processor, simulated for other processors, and their effects."""

import platform
from types import SimpleNamespace

import pytest
import torch

import metamixer
from metamixer.deployment.fastest import Form, candidates, time_forms
from metamixer.errors import InputWarning
from metamixer.system import machine
from metamixer.system.device import computing_in
from shapes import SIZE, classifier

AVX512 = "fpu sse4_2 avx2 avx512f avx512bw"
PROCESSORS = {
    "AVX2": ("x86_64", "flags", "fpu sse4_2 avx2", False, False, False),
    "AVX-512": ("x86_64", "flags", AVX512, True, False, False),
    "AVX-512 with VNNI": ("x86_64", "flags", f"{AVX512} avx512_vnni", True, False, True),
    "AVX-512 with bf16": ("x86_64", "flags", f"{AVX512} avx512_vnni avx512_bf16", True, True, True),
    "AMX": ("x86_64", "flags", f"{AVX512} avx512_vnni amx_bf16 amx_tile amx_int8", True, True, True),
    "Arm": ("aarch64", "Features", "fp asimd asimddp", False, False, True),
    "Arm with bf16": ("aarch64", "Features", "fp asimd asimddp i8mm bf16", True, True, True),
}
"""Architecture, Linux's name of the instruction sets, its instruction sets, whether oneDNN accepts bf16; whether the
processor has bf16 and int8.
"""

EMULATING = [name for name, (*_, bfloat16, _) in PROCESSORS.items() if not bfloat16]
COMPUTING = [name for name in PROCESSORS if name not in EMULATING]


@pytest.fixture
def simulate(tmp_path, monkeypatch):
    """Simulate one of `PROCESSORS`, with OpenVINO's own list of capabilities."""

    def run(name: str, openvino: tuple[str, ...] = ("FP32", "INT8")):
        architecture, field, flags, onednn, *_ = PROCESSORS[name]
        info = tmp_path / name
        info.write_text("".join(f"processor\t: {i}\nmodel name\t: {name}\n{field}\t\t: {flags}\n\n" for i in range(2)))
        monkeypatch.setattr(machine, "CPUINFO", info)
        monkeypatch.setattr(machine, "onednn_takes_bfloat16", lambda: onednn)
        monkeypatch.setattr(platform, "machine", lambda: architecture)
        core = SimpleNamespace(get_property=lambda device, name: openvino, compile_model=lambda *settings: settings)
        monkeypatch.setattr("metamixer.deployment.runtimes.openvino.core", lambda: core)

    return run


@pytest.mark.parametrize("name", PROCESSORS)
def test_instructions_are_read_from_the_processor(name, simulate):
    simulate(name)
    assert machine.processor() == name
    assert (machine.computes_bfloat16(), machine.multiplies_int8()) == PROCESSORS[name][4:]


def test_without_cpuinfo_pytorch_is_used(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "CPUINFO", tmp_path / "none")
    found = {"avx512_bf16": True, "avx512_vnni": False, "l1d_cache_size": 1, "cpu_name": "x"}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found, raising=False)
    assert machine.instructions() == {"avx512_bf16"}


def bf16_forms(precision: str) -> set[str]:
    """The backends that `deploy` would try in bf16."""
    forms = candidates(precision, "auto", torch.zeros(1, 3, SIZE, SIZE), calibrated=False)
    return {form.backend for form in forms if form.precision == "bf16"}


@pytest.mark.parametrize("name", EMULATING)
def test_auto_leaves_out_emulated_bf16_and_asking_for_it_warns(name, simulate):
    pytest.importorskip("openvino")
    simulate(name)
    assert bf16_forms("auto") == set()
    with pytest.warns(InputWarning, match="precision 'bf16': this processor has no instructions for bfloat16"):
        assert bf16_forms("bf16") == {"openvino", "eager"}
    with pytest.warns(InputWarning, match="no instructions for bfloat16"):
        computing_in(torch.bfloat16, torch.device("cpu"))


@pytest.mark.parametrize("name", COMPUTING)
def test_auto_uses_what_processor_and_openvino_support(name, simulate, recwarn):
    pytest.importorskip("openvino")
    simulate(name, openvino=("FP32", "BF16"))
    assert bf16_forms("auto") == bf16_forms("bf16") == {"openvino", "eager"}
    simulate(name)
    assert bf16_forms("auto") == {"eager"}
    computing_in(torch.bfloat16, torch.device("cpu"))
    assert not [warning for warning in recwarn if issubclass(warning.category, InputWarning)]


@pytest.mark.parametrize("name", PROCESSORS)
def test_openvino_never_emulates_bfloat16(name, simulate):
    openvino = pytest.importorskip("metamixer.deployment.runtimes.openvino")
    simulate(name, openvino=("FP32", "BF16"))  # as in oneDNN
    _, _, settings = openvino.OpenVino("model", "bf16", (None,)).compiled
    assert settings["INFERENCE_PRECISION_HINT"] == ("bf16" if name in COMPUTING else "f32")


def test_deploy_in_emulated_bfloat16_gives_the_networks_outputs(simulate):
    simulate("AVX-512")
    network, x = classifier(), torch.randn(1, 3, SIZE, SIZE)
    with pytest.warns(InputWarning, match="fp32 is faster and more accurate"):
        runtime = metamixer.deploy(network, x, "bf16", backend="eager", cache=False)
    assert runtime.name == "eager bf16"
    assert metamixer.deploy(network, x, backend="eager", cache=False).name == "eager fp32"


def test_load_on_the_machine_does_not_decide_the_choice(monkeypatch):
    """The faster form is slowed down in two of three rounds."""
    clock = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    calls = iter(range(1000))

    def fast(x):
        clock[0] += 0.01 if next(calls) % 3 == 0 else 0.05

    def slow(x):
        clock[0] += 0.02

    forms = {Form("eager", "fp32"): slow, Form("openvino", "fp32"): fast}
    seconds = time_forms(forms, torch.zeros(1))
    assert min(seconds, key=seconds.__getitem__) == Form("openvino", "fp32")
