"""URLs as inputs of commands, from a server on this machine."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from metamixer.cli import main
from metamixer.commands import downloads
from metamixer.commands.help import options_of
from metamixer.errors import InputError
from metamixer.system import web
from tables import wide


def photograph():
    file = BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 48, 3), np.uint8)).save(file, "PNG")
    return file.getvalue()


def cloud():
    file = BytesIO()
    points = np.random.default_rng(0).random((200, 3)) * 10
    np.savez(file, coord=points, strength=points[:, 0] / 10)
    return file.getvalue()


FILES = {
    "/my%20cat.png": photograph(),
    "/cloud.npz": cloud(),
    "/sales.csv": wide(60).to_csv(index=False).encode(),
    "/broken.png": b"no image",
}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        content = FILES.get(self.path.partition("?")[0])
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content) + 9 * self.path.endswith("?short")))
        self.end_headers()
        if self.path.endswith("?slow"):
            for number in range(40):  # never silent for long enough to be a timeout of the socket
                self.wfile.write(content[number : number + 1])
                threading.Event().wait(0.05)
            return
        self.wfile.write(content)

    def log_message(self, *about):
        pass


@pytest.fixture
def server(monkeypatch, tmp_path):
    """The address of the server; a certificate would need one of the system's own, so HTTP is let through."""
    monkeypatch.setattr(web, "SCHEMES", ("http", "https"))
    monkeypatch.chdir(tmp_path)
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{http.server_port}"
    http.shutdown()
    http.server_close()


@pytest.mark.parametrize(
    ("command", "name", "wrote"),
    [
        (["predict"], "/my%20cat.png", None),
        (["upscale"], "/my%20cat.png?size=large", "my cat_upscaled.png"),
        (["restore", "--strength", "1"], "/my%20cat.png", "my cat_restored.png"),
        (["segment"], "/my%20cat.png", "segmented/my cat_labels.png"),
        (["points"], "/cloud.npz", "labeled/cloud.npz"),
        (["forecast", "--horizon", "2", "--out", "forecast.csv"], "/sales.csv", "forecast.csv"),
    ],
)
def test_a_command_reads_a_url_and_names_it(command, name, wrote, server, tmp_path, capsys):
    assert main([*command[:1], server + name, *command[1:], "--json", "result.json"]) == 0
    said, result = capsys.readouterr(), (tmp_path / "result.json").read_text()
    if "cat" in name:
        assert json.loads(result)[0]["image"] == server + name
    assert not any("metamixer-" in text for text in (said.out, said.err, result))
    assert wrote is None or (tmp_path / wrote).stat().st_size
    assert not downloads.ORIGINS


def test_files_and_urls_of_the_same_name_go_together(server, tmp_path, capsys):
    (tmp_path / "my cat.png").write_bytes(photograph())
    url = f"{server}/my%20cat.png"
    assert main(["predict", "my cat.png", url, f"{server}/broken.png", "--json", "found.json"]) == 2
    assert [row["image"] for row in json.loads((tmp_path / "found.json").read_text())] == ["my cat.png", url]
    error = capsys.readouterr().err
    assert f"failed: {server}/broken.png: not a readable image" in error and "metamixer-" not in error


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("/no.png", "can't be downloaded (HTTP Error 404: Not Found); download the file yourself and give its path"),
        ("/broken.png", "not a readable image"),
        ("/my%20cat.png?short", "ended 9 bytes early; try again"),
    ],
)
def test_what_fails_is_one_line_that_names_the_url(name, said, server, tmp_path, capsys):
    assert main(["upscale", server + name]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"metamixer: error: {server}{name}: {said}") and error.count("\n") == 1
    assert not [path for path in tmp_path.iterdir() if path.suffix]


def test_size_and_time_are_limited(server):
    with pytest.raises(InputError, match="more than 0 MiB, expected a smaller file"):
        web.fetch(f"{server}/cloud.npz", largest=1000)
    with pytest.raises(InputError, match=r"not downloaded in 0\.2 s; download the file yourself"):
        web.fetch(f"{server}/cloud.npz?slow", longest=0.2)


@pytest.mark.parametrize("command", ["predict", "upscale", "restore", "segment", "detect", "points", "forecast"])
def test_every_command_that_predicts_takes_urls(command):
    (given,) = (option for option in options_of(command) if option.positional)
    assert given.name in downloads.INPUTS and "https URL" in given.about


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://a.org/x/cat.jpg?size=3#top", "cat.jpg"),
        ("https://a.org/%2e%2e%2fcat.jpg", "cat.jpg"),
        ("https://a.org/..", "file"),
        ("https://a.org/..%5C..%5Ccat.jpg", "_.._cat.jpg"),
        (f"https://a.org/{'x' * 300}.jpg", "x" * 96 + ".jpg"),
    ],
)
def test_the_name_of_a_download_stays_in_its_folder(url, name):
    assert web.name_in(url) == name
