"""The GPU kernels in Triton's interpreter, compared with float64 convolutions. Only their speed needs a GPU."""

import copy
import functools
import importlib
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.nn import functional as F

from metamixer.errors import InputError
from metamixer.mixer import FFNifiedAttention
from metamixer.ops import accelerate, fused, kernels

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton isn't made for this platform"),
    pytest.mark.usefixtures("operators"),
]


def reference(x, weight, bias=None, *, gelu=False):
    y = F.conv2d(x, weight, bias, padding=[size // 2 for size in weight.shape[2:]], groups=x.shape[1])
    return F.gelu(y) if gelu else y


def example(batch, channels, height, width, kernel, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    shapes = ((batch, channels, height, width), (channels, 1, *kernel), (channels,))
    return [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_() for shape in shapes]


def largest(actual, expected):
    return float((actual.double() - expected.double()).abs().max() / expected.double().abs().max().clamp(min=1e-6))


"""All kinds of layers; the interpreter's time grows with channels and blocks."""

SHAPES = [
    ((2, 2, 7, 7), (7, 7)),  # the whole image is one window
    ((17, 1, 5, 6), (3, 3)),
    ((1, 2, 14, 14), (7, 7)),  # two rows at a time
    ((1, 2, 19, 37), (3, 3)),  # tiles that cross both borders
    ((1, 1, 33, 12), (9, 9)),
    ((2, 1, 9, 20), (3, 5)),
    ((2, 2, 1, 48), (1, 51)),
    ((1, 1, 1, 150), (1, 51)),
]


CHANNELS_LAST = [
    ((2, 3, 3, 5), (7, 7)),
    ((1, 34, 5, 2), (3, 3)),  # two blocks of channels, the second not full
    ((3, 2, 4, 19), (3, 3)),  # segments of a row, and rows of several images
    ((1, 2, 2, 3), (5, 9)),
    ((1, 2, 1, 12), (1, 51)),  # too wide for registers: windows
]


def laid_out(inputs, layout):
    x, *others = inputs
    return [x.detach().contiguous(memory_format=layout).requires_grad_(), *others]


CASES = [(*case, torch.contiguous_format) for case in SHAPES] + [(*case, torch.channels_last) for case in CHANNELS_LAST]


@pytest.mark.parametrize(
    ("shape", "kernel", "layout", "gelu"),
    [(*case, True) for case in CASES] + [(*case, False) for case in (CASES[1], CASES[len(SHAPES)])],
)
def test_outputs_and_gradients_are_those_of_the_convolution(operators, shape, kernel, layout, gelu):
    inputs = laid_out(example(*shape, kernel), layout)
    actual, expected = operators.depthwise(*inputs, gelu=gelu), reference(*inputs, gelu=gelu)
    grad = torch.randn_like(expected)
    for ours, theirs in zip(
        (actual, *torch.autograd.grad(actual, inputs, grad)),
        (expected, *torch.autograd.grad(expected, inputs, grad)),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("shape", "kernel", "layout"),
    [(*case, torch.contiguous_format) for case in SHAPES[:4]]
    + [(*case, torch.channels_last) for case in CHANNELS_LAST[:3]],
)
def test_moments_and_their_gradients_are_those_of_the_convolutions(operators, shape, kernel, layout):
    x, weight, _ = laid_out(example(*shape, kernel), layout)
    inner = weight[:, :, 1:-1, 1:-1].flip(2)
    weights = [kernel[:, 0].detach().requires_grad_() for kernel in (weight, inner)]  # parallel branches
    actual = operators.moments(x, weights)
    outputs = torch.stack([reference(x, kernel[:, None]) for kernel in weights])
    expected = (outputs.mean((1, 3, 4)), outputs.var((1, 3, 4), unbiased=False))
    factors = [torch.randn_like(value) for value in actual]
    losses = [
        sum((value * factor).sum() for value, factor in zip(values, factors, strict=True))
        for values in (actual, expected)
    ]
    gradients = [torch.autograd.grad(loss, (x, *weights)) for loss in losses]
    for ours, theirs in zip((*actual, *gradients[0]), (*expected, *gradients[1]), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


@settings(max_examples=6, deadline=None, derandomize=True)
@given(
    st.integers(1, 3),
    st.integers(1, 2),
    st.integers(1, 11),
    st.integers(1, 11),
    st.sampled_from([1, 3, 5, 7]),
    st.sampled_from([1, 3, 5, 9]),
    st.sampled_from([torch.contiguous_format, torch.channels_last]),
)
def test_any_size(batch, channels, height, width, rows, columns, layout):
    from metamixer.ops.kernels import operators

    inputs = laid_out(example(batch, channels, height, width, (rows, columns)), layout)
    actual, expected = operators.depthwise(*inputs), reference(*inputs)
    torch.testing.assert_close(actual, expected)
    for ours, theirs in zip(
        torch.autograd.grad(actual.sum(), inputs), torch.autograd.grad(expected.sum(), inputs), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    ("shape", "layout"), [((1, 2, 14, 14), torch.contiguous_format), ((1, 2, 3, 5), torch.channels_last)]
)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float16, 2e-3), (torch.bfloat16, 2e-2)])
def test_every_type(operators, dtype, tolerance, shape, layout):
    x, weight, bias = laid_out(example(*shape, (7, 7), dtype), layout)
    bias = bias.float()
    actual = operators.depthwise(x, weight, bias, gelu=True)
    wide = [value.detach().double().requires_grad_() for value in (x, weight, bias)]
    expected = reference(*wide, gelu=True)
    assert actual.dtype == dtype
    assert largest(actual, expected) < tolerance
    grad = torch.randn_like(expected).to(dtype)
    ours, theirs = (
        torch.autograd.grad(actual, (x, weight), grad),
        torch.autograd.grad(expected, wide[:2], grad.double()),
    )
    assert max(map(largest, ours, theirs)) < tolerance


@pytest.mark.parametrize("arrange", [
    lambda x: x.contiguous(memory_format=torch.channels_last),
    lambda x: x.transpose(0, 1).contiguous().transpose(0, 1),
    lambda x: x.repeat(1, 1, 1, 2)[..., ::2],
    lambda x: x[:, :, 1:, 1:],
])  # fmt: skip
def test_any_layout(operators, arrange):
    x, weight, bias = example(2, 3, 8, 9, (3, 3))
    x = arrange(x.detach()).requires_grad_()
    actual, expected = operators.depthwise(x, weight, bias), reference(x, weight, bias)
    torch.testing.assert_close(actual, expected)
    grad = torch.ones(1, dtype=x.dtype).expand_as(expected)
    for ours, theirs in zip(
        torch.autograd.grad(actual, (x, weight), grad), torch.autograd.grad(expected, (x, weight), grad), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


def test_gradients_hold_numerically(operators):
    x, weight, bias = example(2, 1, 4, 5, (3, 3))
    check = functools.partial(torch.autograd.gradcheck, fast_mode=True)  # else it runs the kernels for every element
    assert check(lambda *inputs: operators.depthwise(*inputs, gelu=True), (x, weight, bias))
    assert check(lambda x, weight: operators.moments(x, [weight[:, 0]]), (x, weight))


def test_operators_keep_pytorchs_rules(operators):
    x, weight, bias = example(1, 2, 4, 4, (3, 3))
    tests = ("test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_static")
    torch.library.opcheck(
        torch.ops.metamixer.depthwise, (x, weight.detach()[:, 0].requires_grad_(), bias, True), test_utils=tests
    )
    torch.library.opcheck(torch.ops.metamixer.moments, (x, [weight.detach()[:, 0].requires_grad_()]), test_utils=tests)
    x, taps, bias = x.detach(), weight.detach()[:, 0], bias.detach()
    torch.library.opcheck(
        torch.ops.metamixer.depthwise_twice, (x, taps, bias, taps, bias), test_utils=("test_schema", "test_faketensor")
    )


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_mixer_is_one_kernel_without_gradients(operators, monkeypatch, layout):
    mixer = accelerate(fused(FFNifiedAttention(2, 3).double().eval()))
    x = torch.randn(2, 2, 8, 8, dtype=torch.float64).contiguous(memory_format=layout)
    expected = mixer.value(F.gelu(mixer.key(mixer.query(x))))
    calls = []
    twice = operators.depthwise_twice
    monkeypatch.setattr(operators, "depthwise_twice", lambda *inputs: calls.append(1) or twice(*inputs))
    with torch.no_grad():
        torch.testing.assert_close(mixer(x), expected)
    assert calls


@pytest.mark.parametrize(
    ("shape", "kernel", "layout"),
    [
        ((2, 2, 7, 7), (7, 7), torch.contiguous_format),
        ((3, 1, 13, 29), (3, 3), torch.contiguous_format),
        ((1, 2, 31, 5), (3, 5), torch.contiguous_format),
        ((3, 2, 5, 4), (3, 3), torch.channels_last),
        ((1, 33, 19, 2), (3, 3), torch.channels_last),  # two strips, and two blocks of channels
        ((2, 2, 2, 19), (5, 3), torch.channels_last),  # two segments of a row
    ],
)
def test_two_convolutions_in_one_kernel(operators, shape, kernel, layout):
    """The whole image at once, and parts of odd images with their margins."""
    x, key, bias = (value.detach() for value in laid_out(example(*shape, kernel), layout))
    value, offset = key.flip(2), bias.flip(0)
    expected = reference(reference(x, key, bias, gelu=True), value, offset)
    torch.testing.assert_close(operators.depthwise_twice(x, key, bias, value, offset), expected)


def test_two_kernels_where_margins_would_cost_more(operators):
    assert operators.launch.pays_twice(56, 56, (3, 3))
    assert not operators.launch.pays_twice(16, 16, (7, 7))
    assert not operators.launch.pays_twice(56, 56, (31, 31))
    assert operators.launch_rows.pays_twice(56, 56, (3, 3))
    assert not operators.launch_rows.pays_twice(14, 14, (7, 7))


@pytest.fixture
def table(operators, tmp_path, monkeypatch):
    """A function that lets `measured` read times (convolve, correlate, PyTorch) of 3x3 kernels at 9x9."""

    def write(convolve, correlate, theirs, gpu="none"):
        numbers = dict(operators.launch.NUMBERS, M=16)
        times = {"convolve": convolve, "correlate": correlate}
        form = {name: {"ms": ms, "numbers": numbers} for name, ms in times.items()}
        row = {"kernel": [3, 3], "image": [9, 9], "windows": form, "PyTorch": {"windows": theirs}}
        file = tmp_path / "kernels.json"
        file.write_text(json.dumps({"gpu": gpu, "sizes": [row]}))
        monkeypatch.setenv(kernels.measured.TABLE, str(file))
        kernels.measured.load()

    yield write
    monkeypatch.undo()
    kernels.measured.load()


def test_a_table_says_for_which_sizes_the_kernels_pay(table):
    table(convolve=1.0, correlate=2.0, theirs=4.5)
    assert kernels.measured.pays("windows", (3, 3), (9, 9))
    table(convolve=1.0, correlate=2.0, theirs=3.5)
    assert not kernels.measured.pays("windows", (3, 3), (9, 9))
    assert kernels.measured.pays("windows", (3, 3), (9, 10))
    table(convolve=1.0, correlate=2.0, theirs=3.5, gpu="another")
    assert kernels.measured.pays("windows", (3, 3), (9, 9))


def test_a_table_says_how_kernels_are_launched(operators, table, monkeypatch):
    table(convolve=1.0, correlate=2.0, theirs=4.5)
    compiled, run = [], operators.launch.run
    monkeypatch.setattr(
        operators.launch,
        "run",
        lambda kernel, grid: (
            lambda *sizes, **constants: compiled.append(constants) or run(kernel, grid)(*sizes, **constants)
        ),
    )
    for size in (9, 8):
        x, weight, bias = example(20, 1, size, size, (3, 3))
        torch.testing.assert_close(operators.depthwise(x, weight, bias), reference(x, weight, bias))
    assert [constants["M"] for constants in compiled] == [16, 64]


@pytest.mark.parametrize("wrong", [{"M": 0}, {"M": 48}, {"PROGRAMS": 2**30}, {"M": "many"}])
def test_a_table_with_impossible_numbers_is_named(operators, table, tmp_path, wrong):
    table(convolve=1.0, correlate=2.0, theirs=4.5)
    content = json.loads((tmp_path / "kernels.json").read_text())
    content["sizes"][0]["windows"]["convolve"]["numbers"] |= wrong
    (tmp_path / "kernels.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"kernels.json: can't be read .*, expected a table"):
        kernels.measured.load()


def test_numbers_that_a_table_lacks_are_the_default(operators, table):
    table(convolve=1.0, correlate=2.0, theirs=4.5)
    del kernels.measured.LAUNCHES["windows", "convolve", (3, 3, 9, 9)]["WARPS"]
    launch = kernels.measured.launch("windows", "convolve", (3, 3), (9, 9), operators.launch.NUMBERS)
    assert launch == dict(operators.launch.NUMBERS, M=16)


def test_channels_last_images_stay_so_and_train_as_before(operators):
    torch.manual_seed(0)
    mixer = FFNifiedAttention(2, 7)
    fast = accelerate(copy.deepcopy(mixer)).to(memory_format=torch.channels_last)
    x = torch.randn(2, 2, 4, 5)
    outputs = []
    for module in (fast.query.conv, fast.query.norm, fast.key, fast.value):
        module.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    expected, actual = mixer(x), fast(x.contiguous(memory_format=torch.channels_last))
    assert len(outputs) == 4
    assert all(output.is_contiguous(memory_format=torch.channels_last) for output in outputs)
    for y in (expected, actual):
        y.square().sum().backward()
    for ours, theirs in zip(
        (actual, *(parameter.grad for parameter in fast.parameters())),
        (expected, *(parameter.grad for parameter in mixer.parameters())),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_an_exported_graph_holds_the_operators(operators):
    mixer = accelerate(FFNifiedAttention(2, 3).eval())
    program = torch.export.export(mixer, (torch.randn(1, 2, 8, 8),))
    assert "metamixer" in str(program.graph)


def test_the_same_bits_every_time(operators):
    x, weight, bias = example(3, 2, 9, 9, (3, 3), torch.float32)
    runs = [
        torch.autograd.grad(operators.depthwise(x, weight, bias).square().sum(), (x, weight, bias)) for _ in range(2)
    ]
    assert all(torch.equal(first, second) for first, second in zip(*runs, strict=True))


def test_the_kernels_compile_without_a_gpu():
    script = Path(__file__).parent.parent / "benchmarks/kernels_compile.py"
    environment = os.environ | {"TRITON_INTERPRET": "0"}
    found = subprocess.run(
        [sys.executable, script, "--quick"], env=environment, capture_output=True, text=True, timeout=300
    )
    assert found.returncode == 0, found.stderr
    assert "windows.convolve" in found.stdout
    assert "rows.convolve" in found.stdout


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_only_the_batch_may_be_unknown(operators, monkeypatch, layout):
    """torch.compile may leave any size unknown; what a kernel is compiled for must be numbers."""
    x, weight = torch.empty(8, 6, 14, 15).to(memory_format=layout), torch.empty(6, 7, 7)
    form = operators.kernels_for(x)
    launched = []
    monkeypatch.setattr(
        form, "run", lambda kernel, grid: lambda *sizes, **constants: launched.append((grid, constants))
    )
    with FakeTensorMode(shape_env=ShapeEnv()) as mode:
        x, weight = mode.from_tensor(x), mode.from_tensor(weight)
        form.convolve(x, weight, None, epilogue=operators.windows.PLAIN)
        form.moments(x, [weight, weight[:, 2:5, 2:5]])
        form.correlate(x, x, (7, 7))
    assert isinstance(launched[0][0][0], torch.SymInt)  # the grid grows with the batch
    assert not any(isinstance(value, torch.SymInt) for _, constants in launched for value in constants.values())
