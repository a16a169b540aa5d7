"""`metamixer bench`: what it times, and its table and plot."""

import json
import multiprocessing

import pytest
import torch
from PIL import Image

import metamixer
from metamixer.bench.accuracy import PUBLISHED
from metamixer.bench.complexity import Complexity, measure
from metamixer.bench.processes import Worker
from metamixer.bench.protocol import PUBLISHED_FORM, Entry, Result, own_sizes
from metamixer.bench.report import draw_pareto, fastest_forms, table
from metamixer.cli import main
from metamixer.errors import InputError
from metamixer.ops.sparse import SparseVoxels
from metamixer.ops.voxels import SubmanifoldConv3d


def result(network, backend, seconds, *, size=256, batch=1):
    entry = Entry(network, size, batch, backend, "fp32")
    return Result(entry, tuple(seconds), error=0.0, gflops=2.0, memory=10**6, build_seconds=1.0)


RESULTS = [
    result("ffnet_1", PUBLISHED_FORM, (0.4, 0.8, 0.4)),
    result("ffnet_1", "eager", (0.3, 0.4, 0.3)),
    result("ffnet_1", "openvino", (0.1, 0.4, 0.2)),
    result("ffnet_1", "openvino", (0.05, 0.05, 0.05), batch=8),
    result("convnext_tiny", "eager", (0.2, 0.2, 0.2), size=224),
    result("unheard_of", "eager", (0.2, 0.2, 0.2)),
]


@pytest.fixture
def one_import(monkeypatch):
    """Fork the processes of a benchmark from one that has imported PyTorch, which each would take seconds to do."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["metamixer.bench.protocol"])
    monkeypatch.setattr("metamixer.bench.processes.multiprocessing.get_context", lambda method: context)


def test_times_forms_and_the_published_form(one_import, tmp_path, capsys):
    out = tmp_path / "bench.json"
    forms = ["--backends", "eager", "--precisions", "fp32", "int8", "--rounds", "2", "--warmup", "1"]
    assert main(["bench", "test_convnext", *forms, "--json", str(out), "--sizes", "64", "--threads", "1"]) == 0
    assert "Left out, because the backend doesn't support the precision: eager int8." in capsys.readouterr().out
    told = json.loads(out.read_text())
    assert (told["threads"], told["rounds"], told["warmup"], told["left_out"]) == (1, 2, 1, ["eager int8"])
    assert told["versions"]["torch"]
    results = told["results"]
    assert all(low <= result["median"] <= high for result in results for low, high in [result["quartiles"]])
    assert [result["entry"]["backend"] for result in results] == ["published", "eager"]
    assert all(result["memory"] > 0 and result["median"] > 0 and result["error"] < 1e-4 for result in results)
    assert main(["bench", "ffnet_nano", "--backends", "abacus"]) == 2
    assert "backend 'abacus'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "ffnet_ts",
            "network 'ffnet_ts' for forecasting, expected one for classification, segmentation, super_resolution",
        ),
        ("ffnet_3d_nano", "network 'ffnet_3d_nano' for points"),
        ("ffnet_9", "'ffnet_9'"),
    ],
)
def test_refuses_networks_that_take_no_images(name, message, capsys):
    assert main(["bench", name]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("rounds", 0, "0, expected an integer from 1 to 1000000"),
        ("threads", -1, "-1, expected an integer from 1 to 1024"),
        ("threads", 10**20, f"{10**20}, expected an integer from 1 to 1024"),
        ("warmup", -1, "-1, expected an integer from 0 to 1000000"),
        ("sizes", 0, "0, expected at least 1"),
        ("batch", 0, "0, expected at least 1"),
        ("batch", "", "'', expected a value, or no --batch"),
        ("sizes", "[]", "'', expected a value, or no --sizes"),
    ],
)
def test_numbers_out_of_range_are_refused_before_anything_is_built(option, value, expected, monkeypatch, capsys):
    monkeypatch.setattr("metamixer.bench.protocol.Worker", lambda *args, **kwargs: pytest.fail("a form is built"))
    assert main(["bench", "ffnet_nano", f"--{option}", str(value)]) == 2
    assert capsys.readouterr().err == f"metamixer: error: {option} {expected}\n"


@pytest.mark.parametrize(("option", "shape"), [("batch", (10**20, 3, 96, 96)), ("sizes", (1, 3, 10**5, 10**5))])
def test_inputs_without_room_in_memory_are_refused(option, shape, monkeypatch, capsys):
    monkeypatch.setattr("metamixer.bench.protocol.Worker", lambda *args, **kwargs: pytest.fail("a form is built"))
    assert main(["bench", "ffnet_nano", f"--{option}", str(shape[0 if option == "batch" else 2])]) == 2
    said = f"for an input of {'x'.join(map(str, shape))}, expected at most 268,435,456 values"
    assert capsys.readouterr().err == f"metamixer: error: batch and sizes {said}\n"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--picture", "pareto.xyz"], "pareto.xyz: expected a name that ends in one of"),
        (["--picture", "old.png"], "old.png: exists, expected another name or folder, or --overwrite"),
        (["--json", "old.png"], "old.png: exists, expected another name or folder, or --overwrite"),
        (["--picture", "new.png"], "picture of ffnet_nano at 96 px: no published accuracies"),
        (["--json", "folder", "--overwrite"], "folder: can't be written, it is a folder"),
    ],
)
def test_results_that_cannot_be_written_are_refused_before_anything_is_built(
    options, said, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old.png").touch()
    (tmp_path / "folder").mkdir()
    monkeypatch.setattr("metamixer.bench.protocol.Worker", lambda *args, **kwargs: pytest.fail("a form is built"))
    assert main(["bench", "ffnet_nano", *options]) == 2
    assert said in capsys.readouterr().err


def test_a_form_whose_process_fails_is_named():
    worker = Worker.__new__(Worker)
    worker.name = str(RESULTS[1].entry)
    worker.pipe, theirs = multiprocessing.Pipe()
    theirs.close()
    with pytest.raises(InputError, match=r"ffnet_1 at 256 px, batch 1, eager fp32: its process ended"):
        worker.run(counts=True)


def test_every_image_network_has_a_size():
    sizes = own_sizes(["ffnet_1", "ffnet_4", "convnext_tiny", "ffnet_sr_light", "ffnet_head_ffnet_nano"])
    assert list(sizes.values()) == [256, 384, 224, 64, 256]


def test_speed_is_the_median_of_the_rounds_ratios_to_the_first_form():
    rows = [line.split(" | ") for line in table(RESULTS[:3], peak=100).splitlines()[2:]]
    assert [row[6] for row in rows] == ["1.00", "1.33", "2.00"]
    assert [row[8] for row in rows] == ["5", "7", "10"]
    assert [row[9] for row in rows] == ["5%", "7%", "10%"]


def test_the_fastest_form_of_each_network_is_of_the_first_batch():
    assert fastest_forms(RESULTS) == [RESULTS[2], RESULTS[4], RESULTS[5]]


def test_the_plot_has_the_networks_with_a_published_accuracy(tmp_path):
    draw_pareto(RESULTS, tmp_path / "new" / "pareto.png")
    with Image.open(tmp_path / "new" / "pareto.png") as picture:
        assert picture.width > 600


@pytest.mark.parametrize(("network", "size", "top1"), [("ffnet_1", 256, 81.3), ("ffnet_4", 384, 85.3)])
def test_accuracies_of_ours_are_the_paper_s(network, size, top1):
    assert PUBLISHED[network, size].top1 == top1


@pytest.mark.parametrize("groups", [1, 8])
def test_macs_of_voxels_are_those_of_the_neighbors_that_there_are(groups):
    x = SparseVoxels.of(torch.rand(3, 8), torch.tensor([[0, 0, 0], [0, 0, 1], [5, 5, 5]]))
    layer = SubmanifoldConv3d(8, 16, 3, groups=groups)
    assert measure(layer, x) == Complexity(16 * 8 // groups * 27 + 16, 16 * 8 // groups * (2 + 2 + 1))


@pytest.mark.parametrize("name", ["ffnet_ts", "ffnet_ts_zero"])
def test_macs_of_series_are_those_of_its_convolutions_on_every_device(name):
    network = metamixer.create_model(name)
    x = torch.rand(2, 96, 7) if name == "ffnet_ts" else torch.rand(2, 64)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    network.head.eval()  # as a frozen part of a network in training is
    found = measure(network, x)
    assert network.training and not network.head.training
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    convolutions = [(layer, []) for layer in network.modules() if isinstance(layer, torch.nn.Conv1d)]
    for layer, lengths in convolutions:
        layer.register_forward_hook(lambda layer, x, y, lengths=lengths: lengths.append(y.shape[0] * y.shape[2]))
    network(x)
    expected = sum(layer.weight.numel() * sum(lengths) for layer, lengths in convolutions)
    if name == "ffnet_ts":
        assert found.macs == expected + 2 * 7 * network.head.linear.weight.numel()
        assert measure(metamixer.create_model(name, device="meta"), x.to("meta")) == found
    else:
        assert expected < found.macs < 1.01 * expected, "and the matrix product that finds periods"
