"""No .pt2 file runs code, whatever it holds: each of these is a good one of `export` with something changed."""

import json
import re
import time
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

from metamixer.deployment.description import Description
from metamixer.deployment.program import Program
from metamixer.deployment.runtimes import torch_program
from metamixer.deployment.torch_archive import _is_expression
from metamixer.errors import InputError

CODE = "__import__('os').system('touch PWNED')"


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    path = tmp_path_factory.mktemp("program") / "good.pt2"
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    torch_program.write(Program(network, torch.rand(2, 3, 16, 16), Description("fp32")), path)
    return path


def changed(good: Path, path: Path, change) -> Path:
    """A copy of an archive; change: name, content -> what stands for them, pairs of the same kind."""
    with zipfile.ZipFile(good) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            for entry in change(name, old.read(name)):
                new.writestr(*entry)
    return path


def with_graph(edit):
    """Change the graph's JSON alone."""

    def change(name, content):
        if not name.endswith("models/model.json"):
            return [(name, content)]
        graph = json.loads(content)
        return [(name, json.dumps(edit(graph) or graph))]

    return change


def text_of_sizes(text: str):
    """Every size that is an expression becomes this text."""
    return with_graph(
        lambda graph: json.loads(
            re.sub(r'"expr_str": "[^"]*"', lambda _: f'"expr_str": {json.dumps(text)}', json.dumps(graph))
        )
    )


def renamed(name, content):
    return [(name.replace(".json", ".JSON"), content)] if "models/" in name else [(name, content)]


def target(name: str):
    def edit(graph):
        graph["graph_module"]["graph"]["nodes"][0]["target"] = name

    return with_graph(edit)


def nested(graph):
    for _ in range(200):
        graph["verifiers"] = [graph["verifiers"]]


def pickled(name, content):
    return [(name, content.replace(b'"use_pickle": false', b'"use_pickle": true'))]


def stretched(name, content):
    return [(name, content.replace(b'{"as_int": 16}', b'{"as_int": 1000000000000}').replace(b"4}", b"4000000000}"))]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (renamed, "the entry 'good/models/model.JSON'|the entry 'archive/models/model.JSON'"),
        (lambda name, content: [(name, content)] * (1 + name.endswith("model.json")), "the entry"),
        (lambda name, content: [(name, content), ("archive/data/aotinductor/m/a.so", b"")], "the entry"),
        (lambda name, content: [(name, content), ("archive/data/constants/custom_obj_0", b"")], "the entry"),
        (lambda name, content: [(name, content), ("archive/models/other.json", b"{}")], "the entry"),
        (text_of_sizes(CODE), "expr_str"),
        (text_of_sizes("9**9**9**9"), "expr_str"),
        (text_of_sizes("Pow(Pow(Integer(9), Integer(8)), Integer(8))"), "expr_str"),
        (target("torch.os.system"), "target 'torch.os.system'"),
        (target("torch.ops.aten.from_file.default"), "target"),
        (target("math.pow"), "target"),
        (with_graph(nested), "levels"),
        (pickled, "use_pickle"),
        (stretched, "fewer bytes than"),
        (with_graph(lambda graph: {**graph, "hooks": ["os.system"]}), "hooks"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_program_with_anything_else_in_it_is_refused_before_torch_sees_it(
    good, tmp_path, monkeypatch, change, message
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.export, "load", lambda *_, **__: pytest.fail("given to torch"))
    path = changed(good, tmp_path / "bad.pt2", change)
    start = time.process_time()
    with pytest.raises(InputError, match=rf"bad\.pt2: holds .*({message}).*not loaded"):
        torch_program.read(path)
    assert time.process_time() - start < 20  # a hang, where it isn't refused
    assert not Path("PWNED").exists()


def test_guards_which_are_code_are_left_out(good, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = changed(good, tmp_path / "guards.pt2", with_graph(lambda graph: {**graph, "guards_code": [CODE]}))
    x = torch.rand(3, 3, 20, 20)
    assert torch_program.read(path)(x).equal(torch_program.read(good)(x))
    assert not Path("PWNED").exists()


def test_a_graph_that_does_not_hold_together_is_one_message_without_pytorch_s_log(good, tmp_path, capfd):
    """The first node is missing, whose result the second one takes."""

    def without_first_node(graph):
        del graph["graph_module"]["graph"]["nodes"][0]

    path = changed(good, tmp_path / "torn.pt2", with_graph(without_first_node))
    with pytest.raises(InputError, match=r"torn\.pt2: not a readable program"):
        torch_program.read(path)
    assert capfd.readouterr() == ("", "")


def test_weights_must_be_finite(good, tmp_path):
    bad = b"\xff" * 16
    path = changed(
        good,
        tmp_path / "nan.pt2",
        lambda name, content: [(name, bad if name.endswith("weight_1") else content)],
    )
    with pytest.raises(InputError, match=r"nan\.pt2: 0.bias holds values that are NaN or infinite"):
        torch_program.read(path)


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("Mul(Integer(2), Pow(Symbol('s77', positive=True, integer=True), Integer(-1)))", True),
        ("Add(FloorDiv(Add(Symbol('s0'), Integer(-1)), Integer(32)), Integer(1))", True),
        ("Symbol('os')", False),
        ("Symbol('s0').__class__", False),
        ("Pow(Integer(9), Integer(9))", False),
        ("Pow(Integer(9), Symbol('s0'))", False),
        ("Integer(" + "9" * 40 + ")", False),
        ("Add(" * 100 + "Integer(1)" + ")" * 100, False),
        ("Add(Integer(1)", False),
        ("", False),
    ],
)
def test_sizes_are_arithmetic(text, passes):
    assert _is_expression(text) == passes
