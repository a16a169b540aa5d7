"""A pytest plugin that runs timm's model tests on our networks; load it before the test module (`-p only_ours`)."""

import os

import pytest
import timm
import timm.models

from metamixer.models import ffnet

MODELS = os.environ.get("METAMIXER_TIMM_MODELS", " ".join(ffnet.VARIANTS)).split()
if depths := os.environ.get("METAMIXER_TIMM_DEPTHS"):
    for name in MODELS:
        ffnet.VARIANTS[name]["depths"] = tuple(map(int, depths.split()))

_list_all_models = timm.list_models


def list_our_models(filter="", module="", *args, **kwargs) -> list[str]:
    """Like `timm.list_models`, for our networks; a test of some of timm's modules also gets our module."""
    if module:
        module = [module, "ffnet"] if isinstance(module, str) else [*module, "ffnet"]
    return [name for name in _list_all_models(filter, module, *args, **kwargs) if _is_ours(name)]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect tests of timm's models or of no model."""
    ours = [item for item in items if hasattr(item, "callspec") and _is_ours(item.callspec.params.get("model_name"))]
    config.hook.pytest_deselected(items=[item for item in items if item not in ours])
    items[:] = ours


def _is_ours(name: object) -> bool:
    return isinstance(name, str) and name.split(".")[0] in MODELS


timm.list_models = timm.models.list_models = list_our_models
