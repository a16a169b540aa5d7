"""The zoo: every name stands for its file, from the package, the release or a mirror, and the table is right."""

import hashlib
import json
import os
import re
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import timm
import torch

import metamixer
from metamixer.checkpoints.source import load_network, weights_name
from metamixer.cli import main
from metamixer.errors import InputError
from metamixer.models.cascade_mask_rcnn.network import VARIANTS as DETECTORS
from metamixer.models.cascade_mask_rcnn.network import published_detector_name
from metamixer.models.ffnet.ffnet import VARIANTS as IMAGE_NETWORKS
from metamixer.models.ffnet_sr import VARIANTS as UPSCALERS
from metamixer.models.published_names import published_name
from metamixer.models.registry import task_of
from metamixer.models.segmentation.networks import VARIANTS as SEGMENTERS
from metamixer.models.segmentation.networks import published_segmenter_name
from metamixer.models.tasks import TASKS
from metamixer.ops.fusion import fuse
from metamixer.system.downloads import RELEASE, download
from metamixer.zoo.files import source_of
from metamixer.zoo.networks import METRICS, NETWORKS
from metamixer.zoo.weights import DATA, WEIGHTS, default_weights, find_weights, weights_of
from random_statistics import randomize

PUBLISHED = [weights for weights in WEIGHTS if not weights.packaged]
PACKAGED = [weights for weights in WEIGHTS if weights.packaged]
BACKBONE = {"depths": (1, 1, 1, 1), "dims": (8, 16, 32, 64), "stem_dim": 8}
HEADS = {"upernet": {"dim": 16, "auxiliary_dim": 8}, "ffnet_seg": {"head_args": {"dim": 16, "out_dim": 32, "depth": 1}}}


def names(entries):
    return [weights.name for weights in entries]


@pytest.fixture
def small(monkeypatch):
    """Every published network, small: the same layers by the same names."""
    for name, variant in IMAGE_NETWORKS.items():
        monkeypatch.setitem(IMAGE_NETWORKS, name, {**variant, **BACKBONE})
    for name, variant in DETECTORS.items():
        monkeypatch.setitem(DETECTORS, name, {**variant, "channels": 16, "hidden_dim": 32})
    for name, (builder, variant) in SEGMENTERS.items():
        head = next((head for start, head in HEADS.items() if name.startswith(start)), {})
        monkeypatch.setitem(SEGMENTERS, name, (builder, {**variant, **head}))
    for name in UPSCALERS:
        monkeypatch.setitem(UPSCALERS, name, {"dim": 24, "depth": 2})


@pytest.fixture
def release(tmp_path, monkeypatch):
    """The release on this machine as the mirror: its folder, and the list of files asked of it."""
    folder, asked = tmp_path / "release", []
    folder.mkdir()

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            asked.append(self.path.strip("/"))

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder))
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("METAMIXER_WEIGHTS", f"http://127.0.0.1:{httpd.server_port}")
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    yield folder, asked
    httpd.shutdown()
    httpd.server_close()


def authors_name(network, name):
    """The published key of a parameter of ours."""
    if hasattr(network, "published_name"):
        return network.published_name(name)
    if hasattr(network, "pyramid"):
        return published_detector_name(name)
    if hasattr(network, "backbone"):
        return published_segmenter_name(name, network.backbone.model.published_names)
    return published_name(name, network.published_names)


def publish(weights, folder):
    """Write the file as the authors do, and give the network whose weights are in it."""
    network = randomize(metamixer.create_model(weights.name).eval())
    state = {authors_name(network, name): tensor for name, tensor in network.state_dict().items()}
    if weights.name.endswith("rcnn_ffnet_4"):
        state |= {"ema_" + key.replace(".", "_"): tensor for key, tensor in state.items()}
    path = folder / weights.file
    torch.save({"params": state} if weights.task == "super_resolution" else {"meta": {}, "state_dict": state}, path)
    if path.suffix == ".zip":
        whole = path.rename(path.with_suffix(".pth"))
        with zipfile.ZipFile(path, "w") as archive:
            archive.write(whole, whole.name)
        whole.unlink()
    return network


def assert_same_weights(network, expected):
    state = expected.state_dict()
    assert network.state_dict().keys() == state.keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("weights", PUBLISHED, ids=names(PUBLISHED))
def test_a_published_name_stands_for_its_file(weights, small, release):
    folder, asked = release
    expected = publish(weights, folder)
    assert_same_weights(metamixer.create_model(weights.name, pretrained=True), expected)
    network, info = load_network(weights.name, task=weights.task)
    assert_same_weights(network, expected)
    assert not network.training
    assert (info["task"], len(info["classes"] or ()) or None) == (weights.task, weights.classes)
    assert asked == [weights.file]


@pytest.mark.parametrize("weights", PACKAGED, ids=names(PACKAGED))
def test_a_packaged_name_stands_for_its_file(weights):
    path = source_of(weights)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == weights.sha256
    assert path.stat().st_size == pytest.approx(1e6 * weights.megabytes, abs=6e4)
    network, info = load_network(weights.name, task=weights.task)
    assert_same_weights(metamixer.create_model(weights.name, pretrained=True), network)
    assert info["task"] == weights.task


def test_every_file_in_the_package_is_in_the_table():
    there = {path.name for path in source_of(PACKAGED[0]).parent.glob("*.safetensors")}
    assert there == {weights.file for weights in PACKAGED}
    assert sum(weights.megabytes for weights in PACKAGED) <= 25


def test_a_networks_keywords_choose_its_weights():
    assert metamixer.create_model("ffnet_sr_nano", pretrained=True, scale=3).scale == 3
    assert find_weights("ffnet_1").name == "ffnet_1.in1k"
    with pytest.raises(InputError, match="ffnet_sr_nano: no weights for scale 7, expected scale 2 or scale 3 or scale"):
        metamixer.create_model("ffnet_sr_nano", pretrained=True, scale=7)


@pytest.mark.parametrize("name", ["cascade_mask_rcnn_ffnet_2", "upernet_ffnet_2"])
def test_other_classes_get_last_layers_of_their_own(name, small, release):
    expected = publish(find_weights(name), release[0]).state_dict()
    network = metamixer.create_model(name, pretrained=True, num_classes=3)
    assert network.num_classes == 3
    state = network.state_dict()
    other = [key for key, tensor in state.items() if tensor.shape != expected[key].shape]
    assert other and all(key.startswith(network.pretrained_cfg["classifier"]) for key in other)
    trained = [key for key in state if "backbone" in key]
    assert trained and all(torch.equal(state[key], expected[key]) for key in trained)


def test_without_classes_the_trained_features_are_left():
    expected = metamixer.create_model("ffnet_3d_nano", pretrained=True).state_dict()
    state = metamixer.create_model("ffnet_3d_nano", pretrained=True, num_classes=0).state_dict()
    assert expected.keys() - state.keys() == {"head.weight", "head.bias"}
    assert all(torch.equal(tensor, expected[key]) for key, tensor in state.items())


@pytest.mark.parametrize("name", ["ffnet_1_hybrid", "ffnet_3d", "cascade_mask_rcnn_ffnet_nano", "ffnet_ts"])
def test_a_network_without_weights_says_so(name):
    for load in (partial(metamixer.create_model, pretrained=True), load_network):
        with pytest.raises(InputError, match=f"model '{name}': no weights are published"):
            load(name)


class TestMirror:
    URL = f"{RELEASE}/file.pth"

    def test_a_folder(self, tmp_path, monkeypatch):
        monkeypatch.setenv("METAMIXER_WEIGHTS", str(tmp_path))
        with pytest.raises(InputError, match=f"METAMIXER_WEIGHTS {tmp_path}: doesn't contain file.pth"):
            download(self.URL)
        (tmp_path / "file.pth").write_bytes(b"weights")
        assert download(self.URL) == tmp_path / "file.pth"
        assert [path.name for path in tmp_path.iterdir()] == ["file.pth"]

    def test_a_pinned_checksum(self, tmp_path, monkeypatch):
        monkeypatch.setenv("METAMIXER_WEIGHTS", str(tmp_path))
        (tmp_path / "file.pth").write_bytes(b"weights")
        digest = hashlib.sha256(b"weights").hexdigest()
        assert download(f"{self.URL}#sha256={digest}") == tmp_path / "file.pth"
        (tmp_path / "file.pth").write_bytes(b"others")
        with pytest.raises(InputError, match=f"file.pth: SHA-256 .*, expected {digest}"):
            download(f"{self.URL}#sha256={digest}")

    def test_a_server_of_which_a_file_is_asked_once(self, release):
        folder, asked = release
        (folder / "file.pth").write_bytes(b"weights")
        paths = {download(self.URL) for _ in range(2)}
        assert asked == ["file.pth"]
        assert [path.read_bytes() for path in paths] == [b"weights"]
        kept = paths.pop().with_name("file.pth.sha256").read_text()
        assert kept == f"{hashlib.sha256(b'weights').hexdigest()}  file.pth\n"

    @pytest.mark.parametrize("mirror", ["http://a b", "http://host:port", "http://[1"])
    def test_a_mirror_that_is_no_url_is_named(self, mirror, tmp_path, monkeypatch):
        monkeypatch.setenv("METAMIXER_WEIGHTS", mirror)
        monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
        with pytest.raises(InputError, match=rf"{re.escape(mirror)}/file.pth: can't be .* METAMIXER_WEIGHTS"):
            download(self.URL)

    def test_says_what_to_do_where_nothing_is_to_be_had(self, release):
        with pytest.raises(InputError, match=r"file.pth: can't be downloaded .* METAMIXER_WEIGHTS"):
            download(self.URL)


def test_files_of_one_name_at_other_addresses_are_other_files(release):
    folder, asked = release
    server = os.environ["METAMIXER_WEIGHTS"]
    for owner in ("one", "two"):
        (folder / owner).mkdir()
        (folder / owner / "file.pth").write_bytes(owner.encode())
    contents = [download(f"{server}/{owner}/file.pth").read_bytes() for owner in ("one", "two", "one")]
    assert contents == [b"one", b"two", b"one"]
    assert asked == ["one/file.pth", "two/file.pth"]


def test_an_archive_that_unpacks_to_far_more_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("weights.pth", bytes(10_000_000))
    with pytest.raises(InputError, match=r"bomb.zip: weights.pth unpacks to 10,000,000 bytes: not loaded"):
        load_network(tmp_path / "bomb.zip", "cascade_mask_rcnn_ffnet_4")


def test_each_task_has_a_default_where_there_are_weights():
    assert {task: default.name for task in TASKS if (default := default_weights(task))} == {
        "classification": "ffnet_nano.mini_imagenet",
        "detection": "cascade_mask_rcnn_ffnet_2",
        "segmentation": "ffnet_head_ffnet_nano_camvid",
        "super_resolution": "ffnet_sr_nano_x2",
        "restoration": "ffnet_restore",
        "zero_shot_forecasting": "ffnet_ts_zero",
        "points": "ffnet_3d_nano_semantickitti",
    }
    with pytest.raises(InputError, match="no weights for forecasting are published or packaged"):
        weights_name(None, "forecasting")


class TestTable:
    def test_has_every_network_and_its_task(self):
        assert {name: network.task for name, network in NETWORKS.items()} == {
            name: task_of(name).name for name in metamixer.list_models()
        }
        assert list(METRICS) == list(TASKS)

    @pytest.mark.parametrize("name", ["ffnet_nano", "ffnet_1", "ffnet_head_ffnet_nano", "ffnet_ts", "ffnet_3d_nano"])
    def test_has_the_networks_sizes(self, name):
        """`tests/test_published.py` has those of the others, as the paper's table gives them."""
        with torch.device("meta"):
            network = fuse(metamixer.create_model(name))
        assert sum(parameter.numel() for parameter in network.parameters()) == NETWORKS[name].parameters

    def test_names_each_file_and_each_data_set_once(self):
        assert len({weights.name for weights in WEIGHTS}) == len({weights.file for weights in WEIGHTS}) == len(WEIGHTS)
        assert {weights.data for weights in WEIGHTS} == set(DATA)
        assert len(PUBLISHED) == 19

    def test_agrees_with_timm(self):
        for name in IMAGE_NETWORKS:
            tags = [tag for tag in timm.list_models(name, include_tags=True) if not tag.endswith(".untrained")]
            assert sorted(tags) == sorted(names(weights_of(name)))
            for weights in weights_of(name):
                config = timm.get_pretrained_cfg(weights.name)
                assert (config.file if weights.packaged else config.url) == str(source_of(weights))


def test_the_packaged_classifier_is_the_default_and_where_trainings_start():
    assert metamixer.create_model("ffnet_nano", device="meta").num_classes == 1000, "of a network without weights"
    start = metamixer.create_model("ffnet_nano", pretrained=True)
    assert start.num_classes == 100
    other = metamixer.create_model("ffnet_nano", pretrained=True, num_classes=7)
    assert other.num_classes == 7
    features = timm.create_model("ffnet_nano", pretrained=True, features_only=True)
    for network in (other, features):
        state = network.state_dict()
        same = {key for key, value in start.state_dict().items() if key in state and torch.equal(value, state[key])}
        assert {key for key in state if key.startswith(("stem.", "stages."))} <= same
    assert default_weights("classification").name == "ffnet_nano.mini_imagenet"
    classes = metamixer.load("ffnet_nano.mini_imagenet").classes
    assert len(classes) == 100 and "golden retriever" in classes


def test_models_as_json_tells_all(capsys):
    assert main(["models", "--json", "-", "--task", "detection"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    row = rows["cascade_mask_rcnn_ffnet_4"]
    assert row["url"] == f"{RELEASE}/casc_mask_rcnn_ffnet_4_fpn_3x_coco.zip"
    assert (row["figures"], row["weights"], row["licence"]) == ([53.4, 45.9], "download 549 MB", "Apache-2.0")
    assert rows["cascade_mask_rcnn_ffnet_nano"]["weights"] == "no weights"


def test_models_says_where_published_weights_without_a_download_are(capsys):
    assert main(["models", "--task", "points"]) == 0
    [line] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("ffnet_3d ")]
    assert line.endswith("published, see docs/points.md")


def test_models_names_the_test_set_of_each_restorer(capsys):
    assert main(["models", "--task", "restoration"]) == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert re.search(r" val_color \d\d\.\d\d / \d\d\.\d\d \(ours\)", rows["ffnet_restore"])
    assert re.search(r" Set12 \d\d\.\d\d / Classic5 \d\d\.\d\d \(ours\)", rows["ffnet_restore_gray"])
    assert re.search(r" Set5 \d\d\.\d\d \(ours\)", rows["ffnet_photograph_x2"])


def test_figures_of_restorers_are_the_stored_ones():
    kinds = {"noise": "noise of", "jpeg": "JPEG of quality"}
    stored = {}
    for row in stored_rows("restoration"):
        kind, amount = row["degradation"].split("_")
        stored[1, f"{row['set']}, {kinds[kind]} {amount}"] = round(row["restored"], 2)
    for row in stored_rows("photograph_enlarging"):
        test = f"{row['set']}, {row['spoiled'].replace(' ', ' of quality ')}"
        stored[row["scale"], test] = round(row["psnr"]["one network"], 2)
    stated = {
        (weights.arguments["scale"], test): figure
        for weights in WEIGHTS
        if weights.task == "restoration"
        for test, figure in zip(weights.tests, weights.figures, strict=True)
    }
    checked = stated.keys() & stored.keys()
    assert len(checked) >= 5
    assert {place: stated[place] for place in checked} == {place: stored[place] for place in checked}


def stored_rows(benchmark):
    return json.loads((Path(__file__).parent.parent / f"benchmarks/results/{benchmark}.json").read_text())["rows"]
