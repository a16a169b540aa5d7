"""Our networks equal the authors', and read every published form of their checkpoints."""

import argparse
import pickle
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

import metamixer
from metamixer.errors import InputError
from published_weights import GOLDEN, image, state_dict, zeros_as_initialization

VARIANTS = ("ffnet_1", "ffnet_2", "ffnet_3", "ffnet_4")
FILE = "ffnet_1.pth.tar"


@pytest.fixture(autouse=True)
def fast_initialization():
    with zeros_as_initialization():
        yield


@pytest.fixture(scope="module")
def golden():
    return np.load(GOLDEN / "vision.npz")


@pytest.fixture(scope="module")
def published():
    """The published state dict of FFNet-1."""
    return state_dict("cls/ffnet_1")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty download cache."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    return tmp_path / "hub" / "checkpoints"


@pytest.fixture
def server(tmp_path, published, monkeypatch):
    """A local release page; return its URL and the list of requested paths."""
    release = tmp_path / "release"
    release.mkdir()
    save_release(published, release / FILE)
    asked = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            asked.append(self.path)

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=release))
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield f"http://127.0.0.1:{httpd.server_port}", asked
    httpd.shutdown()
    httpd.server_close()


def save_release(state, path):
    """A file in the form of the published ones."""
    torch.save(
        {"state_dict": state, "epoch": 299, "arch": "ffnet_1", "args": argparse.Namespace(lr=1e-3, amp=True)}, path
    )


def ffnet_1(**kwargs):
    return timm.create_model("ffnet_1", **kwargs).eval()


@torch.no_grad()
def logits_difference(network, golden):
    return np.abs(network.eval()(image("x/ffnet_1", (2, 3, 96, 96))).numpy() - golden["cls/ffnet_1/logits"]).max()


@pytest.fixture(scope="module", params=VARIANTS)
def variant(request):
    """A variant's name and the published weights of its classifier and its backbone, which share nearly all names."""
    classifier = state_dict(f"cls/{request.param}")
    return request.param, classifier, state_dict(f"det/{request.param}", known=classifier)


@torch.no_grad()
def test_classifier_computes_what_the_published_one_does(variant, golden):
    name, weights, _ = variant
    network = metamixer.load_published(timm.create_model(name).eval(), weights)
    logits = network(image(f"x/{name}", (2, 3, 96, 96)))
    np.testing.assert_allclose(logits, golden[f"cls/{name}/logits"], rtol=0, atol=2e-5)


@torch.no_grad()
def test_backbone_computes_what_the_published_one_does(variant, golden):
    name, _, weights = variant
    network = timm.create_model(name, features_only=True, feature_norms=True).eval()
    checkpoint = {f"backbone.{key}": tensor for key, tensor in weights.items()}
    if name == "ffnet_4":
        checkpoint |= {key.replace("backbone.", "backbone.ema_"): tensor + 1 for key, tensor in checkpoint.items()}
    checkpoint["neck.lateral_convs.0.conv.weight"] = torch.zeros(1)
    metamixer.load_published(network, {"meta": {"epoch": 36}, "state_dict": checkpoint})
    for i, feature in enumerate(network(image(f"det/{name}", (1, 3, 64, 64)))):
        np.testing.assert_allclose(feature, golden[f"det/{name}/feat{i}"], rtol=0, atol=2e-5)


def test_reads_the_published_file(published, golden, tmp_path):
    save_release(published, tmp_path / FILE)
    assert logits_difference(metamixer.load_published(ffnet_1(), tmp_path / FILE), golden) <= 2e-5


def test_loads_the_chosen_entry(published, golden):
    averaged = {key: tensor + 1 for key, tensor in published.items()}
    checkpoint = {"state_dict": averaged, "state_dict_ema": published}
    assert logits_difference(metamixer.load_published(ffnet_1(), checkpoint, weights="state_dict_ema"), golden) <= 2e-5
    with pytest.raises(InputError, match="no entry 'state_dict_swa', expected one of state_dict, state_dict_ema"):
        metamixer.load_published(ffnet_1(), checkpoint, weights="state_dict_swa")
    with pytest.raises(
        InputError, match=r"^state dict: no entry 'state_dict_ema', expected one of [\w., ]+ and \d+ more$"
    ):
        metamixer.load_published(ffnet_1(), published, weights="state_dict_ema")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"norm.bias": None}, "1 missing: norm.bias"),
        ({"neck.weight": torch.zeros(2)}, "1 unexpected: neck.weight"),
        ({"head.bias": torch.zeros(7)}, r"1 of another shape: head.bias \[7\] instead of \[1000\]"),
        ({"norm.bias": None, "neck.weight": torch.zeros(2)}, "1 missing: norm.bias; 1 unexpected: neck.weight"),
    ],
)
def test_refuses_keys_that_do_not_match_and_leaves_the_network(change, message, published):
    network = ffnet_1()
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    state = {key: tensor for key, tensor in {**published, **change}.items() if tensor is not None}
    with pytest.raises(InputError, match=message):
        metamixer.load_published(network, state)
    assert all(torch.equal(tensor, before[key]) for key, tensor in network.state_dict().items())


class Payload:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_refuses_code_without_running_it(tmp_path):
    torch.save({"state_dict": {}, "args": Payload(tmp_path / "executed")}, tmp_path / FILE)
    with pytest.raises(InputError, match=r"contains .*open, expected tensors and plain values"):
        metamixer.load_published(ffnet_1(), tmp_path / FILE)
    assert not (tmp_path / "executed").exists()


def test_refuses_what_is_no_checkpoint(tmp_path):
    (tmp_path / FILE).write_bytes(b"<html>not found</html>")
    with pytest.raises(InputError, match="not a readable checkpoint"):
        metamixer.load_published(ffnet_1(), tmp_path / FILE)
    with pytest.raises(InputError, match="no such file"):
        metamixer.load_published(ffnet_1(), tmp_path / "absent.pth.tar")


def test_downloads_once_and_compares_the_checksum_later(server, hub, golden):
    url, asked = server
    for _ in range(2):
        assert logits_difference(metamixer.load_published(ffnet_1(), f"{url}/{FILE}"), golden) <= 2e-5
    assert asked == [f"/{FILE}"]
    (cached,) = hub.glob(f"*-{FILE}")
    content = bytearray(cached.read_bytes())
    content[len(content) // 2] ^= 1
    cached.write_bytes(content)
    with pytest.raises(InputError, match=f"{FILE}: SHA-256 .* expected .*: delete the file"):
        metamixer.load_published(ffnet_1(), f"{url}/{FILE}")


def test_keeps_no_download_that_cannot_be_read(server, hub, tmp_path, golden):
    url, _ = server
    whole = (tmp_path / "release" / FILE).read_bytes()
    (tmp_path / "release" / FILE).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="not a readable checkpoint"):
        metamixer.load_published(ffnet_1(), f"{url}/{FILE}")
    (tmp_path / "release" / FILE).write_bytes(whole)
    assert logits_difference(metamixer.load_published(ffnet_1(), f"{url}/{FILE}"), golden) <= 2e-5


def test_names_a_url_that_cannot_be_downloaded(server, hub):
    url, _ = server
    with pytest.raises(InputError, match=f"{url}/absent.pth.tar: can't be downloaded"):
        metamixer.load_published(ffnet_1(), f"{url}/absent.pth.tar")


@pytest.mark.parametrize("create", [timm.create_model, metamixer.create_model])
@pytest.mark.parametrize("name", ["ffnet_1", "ffnet_1.distilled_in1k"])
def test_pretrained_downloads_the_weights_of_the_tag(create, name, server, hub, golden, tmp_path, monkeypatch):
    url, asked = server
    (tmp_path / "release" / FILE).rename(tmp_path / "release" / "ffnet_1_distillation.pth.tar")
    (tmp_path / "release" / FILE).symlink_to("ffnet_1_distillation.pth.tar")
    point_release_at(url, monkeypatch)
    network = create(name, pretrained=True)
    assert logits_difference(network, golden) <= 2e-5
    assert asked == ["/ffnet_1_distillation.pth.tar" if "distilled" in name else f"/{FILE}"]
    assert len(list(hub.glob(f"*-{asked[0][1:]}.sha256"))) == 1
    assert len(pickle.dumps(network.pretrained_cfg)) < 10_000


def point_release_at(url, monkeypatch):
    """Let timm's configurations of FFNet-1 use this server instead of the release page."""
    for name in ("ffnet_1", "ffnet_1.in1k", "ffnet_1.distilled_in1k"):
        config = timm.models.get_pretrained_cfg(name)
        config.url = f"{url}/{config.url.rsplit('/', 1)[1]}"
        monkeypatch.setitem(timm.models._registry._model_pretrained_cfgs, name, config)


@pytest.fixture
def file(published, tmp_path):
    save_release(published, tmp_path / FILE)
    return {"file": str(tmp_path / FILE)}


def test_pretrained_fits_another_number_of_classes_and_channels(file, published):
    network = ffnet_1(pretrained=True, pretrained_cfg_overlay=file, num_classes=5, in_chans=1)
    assert network(torch.rand(1, 1, 32, 32)).shape == (1, 5)
    gray = published["patch_embed.0.c.weight"].sum(dim=1, keepdim=True)
    torch.testing.assert_close(network.stem[0].conv.weight, gray)
    torch.testing.assert_close(network.head.norm.weight, published["norm.weight"])


def test_pretrained_gives_features(file, golden):
    classifier = ffnet_1(pretrained=True, pretrained_cfg_overlay=file)
    features = ffnet_1(pretrained=True, pretrained_cfg_overlay=file, features_only=True, out_indices=(1, 3))
    x = image("x/ffnet_1", (2, 3, 96, 96))
    expected = classifier.forward_intermediates(x, indices=[1, 3], intermediates_only=True)
    torch.testing.assert_close(features(x), expected, rtol=0, atol=0)
    dense = ffnet_1(pretrained=True, pretrained_cfg_overlay=file, features_only=True, feature_norms=True)
    torch.testing.assert_close(dense.model.stages.state_dict(), classifier.stages.state_dict())


def test_pretrained_takes_our_own_names_too(published, tmp_path, golden):
    network = metamixer.load_published(ffnet_1(), published)
    save_file(network.state_dict(), tmp_path / "ours.safetensors")
    overlay = {"file": str(tmp_path / "ours.safetensors")}
    assert logits_difference(ffnet_1(pretrained=True, pretrained_cfg_overlay=overlay), golden) <= 2e-5


def test_pretrained_drops_no_key(published):
    overlay = {"state_dict": {**published, "neck.weight": torch.zeros(1)}}
    with pytest.raises(InputError, match=r"1 unexpected: neck\.weight"):
        ffnet_1(pretrained=True, pretrained_cfg_overlay=overlay, num_classes=5)


def test_pretrained_refuses_a_network_without_published_weights():
    with pytest.raises(InputError, match=r"ffnet_1_hybrid.: no weights are published"):
        metamixer.create_model("ffnet_1_hybrid", pretrained=True)
