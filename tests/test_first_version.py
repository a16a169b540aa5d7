"""Files that version 0.1.0 wrote still load: `fuse`, `export` and `Forecaster.save` of commit db5b525."""

from pathlib import Path

import numpy as np
import pandas
import pytest
from PIL import Image

from metamixer.predictors.classifier import Classifier
from metamixer.predictors.forecasting.forecaster import Forecaster

FILES = Path(__file__).parent / "golden/first_version"


def scores(name):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (28, 28, 3), dtype=np.uint8))
    return dict(Classifier.load(FILES / name)(image).top(10))


@pytest.mark.parametrize(
    ("name", "package"), [("net.pt2", "torch"), ("net.onnx", "onnxruntime"), ("net.xml", "openvino")]
)
def test_exported_files_give_the_fused_networks_scores(name, package):
    pytest.importorskip(package)
    assert scores(name) == pytest.approx(scores("fused.safetensors"), abs=1e-4)


def test_a_forecaster_forecasts():
    dates = pandas.date_range("2024-01-01", periods=400, freq="h")
    steps = np.arange(400)
    table = pandas.DataFrame({"date": dates, "a": np.sin(steps / 4), "b": np.cos(steps / 7)})
    forecast = Forecaster.load(FILES / "forecaster.safetensors").predict(table)
    assert len(forecast) == 12 and forecast[["a", "b"]].notna().all(axis=None)
