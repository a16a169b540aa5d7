"""The Python code of the docs runs; their recipes, links and commands exist, and the options of the KubeRay file."""

import re
import shlex
from importlib import import_module
from inspect import signature
from pathlib import Path
from unittest.mock import patch

import pytest
import yaml

from metamixer import TOKEN_MIXERS, cli
from metamixer.models import registry

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w+)( no-run)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def blocks(page: Path, *languages: str) -> list[tuple[str, bool]]:
    """The page's code blocks in these languages, and whether they run: not if the fence says ```python no-run."""
    return [(code, not no_run) for language, no_run, code in BLOCK.findall(page.read_text()) if language in languages]


@pages
@patch.dict(TOKEN_MIXERS)
@patch.dict(registry._BUILDERS)
@patch.dict(registry._TASKS)
def test_python_runs(page, shallow, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace: dict = {}
    for i, (code, runs) in enumerate(blocks(page, "python")):
        compiled = compile(code, f"{page.name}, Python block {i + 1}", "exec")
        if runs:
            exec(compiled, namespace)


@pages
def test_recipes_and_links_exist(page):
    text = page.read_text()
    named = [ROOT / recipe for recipe in re.findall(r"recipes/[\w/]+\.yaml", text)]
    linked = [page.parent / link for link in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in link]
    assert not [str(path) for path in named + linked if not path.exists()]


@pages
def test_commands_exist(page):
    lines = [
        line for code, _ in blocks(page, "sh", "bash", "console") for line in code.replace("\\\n", " ").splitlines()
    ]
    called = {shlex.split(line)[1] for line in lines if re.match(r"(\$ )?metamixer ", line)}
    assert called <= {*cli.COMMANDS, "--help", "--version"}


def test_the_kuberay_file_calls_a_command_with_options_that_exist():
    page = (ROOT / "docs" / "scale.md").read_text()
    [job] = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if "RayJob" in text]
    program, command, *options = shlex.split(job["spec"]["entrypoint"])
    known = signature(import_module(f"metamixer.commands.{command}").segment).parameters
    assert program == "metamixer" and command == "segment"
    assert {option[2:] for option in options if option.startswith("--")} <= set(known)
    cluster = job["spec"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    images = [group["template"]["spec"]["containers"][0]["image"] for group in groups]
    assert len(set(images)) == 1
