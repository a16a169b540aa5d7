"""Six tasks in a minute or two, on sample data of installed packages: `python examples/minute_one.py`.

Needs scikit-image and scikit-learn (`pip install 'metamixer[demo,forecasting]'`), but no downloads. Tasks without
packaged weights are skipped.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas
from PIL import Image
from skimage import data
from sklearn.datasets import load_sample_images

import metamixer
from metamixer.zoo.weights import default_weights


def packaged(task: str) -> str | None:
    """The name of the packaged weights that the task's command uses, or None."""
    weights = default_weights(task)
    return weights.name if weights and weights.packaged else None


def predict(photo: Image.Image, out: Path) -> object:
    return metamixer.load(packaged("classification"))(photo)


def segment(photo: Image.Image, out: Path) -> object:
    return metamixer.load(packaged("segmentation"))(photo).save(out / "labels.png")


def points(photo: Image.Image, out: Path) -> object:
    height = np.asarray(photo.convert("L"), dtype=float)[::4, ::4] / 50
    intensity = np.full(height.shape, 0.3)
    ground = np.stack([*np.indices(height.shape), height, intensity], axis=-1).reshape(-1, 4)
    return metamixer.load(packaged("points"))(ground).save(out / "points.npz")


def upscale(photo: Image.Image, out: Path) -> object:
    large = metamixer.load("ffnet_sr_nano", scale=2)(photo.resize((photo.width // 4, photo.height // 4)))
    large.save(out / "large.png")
    return large.size


def forecast(photo: Image.Image, out: Path) -> object:
    days = np.arange(200)
    sales = pandas.DataFrame(
        {"date": pandas.date_range("2024-01-01", periods=200), "sales": 50 + 9 * np.sin(days / 7 * 6.28)}
    )
    return metamixer.load("ffnet_ts_zero", horizon=14, levels=(80,))(sales).save(out / "forecast.csv")


PACKAGED = {predict: "classification", segment: "segmentation", points: "points"}
"""Tasks that may not have packaged weights."""


def photographs(folder: Path, *, of_each: int, side: int) -> Path:
    """A folder with four classes of crops from scikit-learn's and scikit-image's photographs."""
    random = np.random.RandomState(0)
    church, flower = load_sample_images().images
    sources = {"cat": data.chelsea(), "coffee": data.coffee(), "church": church, "flower": flower}
    for name, pixels in sources.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(of_each):
            top, left = (random.randint(length - 2 * side) for length in pixels.shape[:2])
            crop = Image.fromarray(pixels[top : top + 2 * side, left : left + 2 * side])
            crop.resize((side, side)).save(folder / name / f"{number}.jpg")
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("minute_one"))
    parser.add_argument("--minutes", type=float, default=1.5, help="approximate training time in minutes")
    parser.add_argument("--epochs", type=int, help="training epochs, instead of --minutes")
    parser.add_argument("--side", type=int, default=96, help="size of the training photographs in pixels")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    photo = Image.fromarray(data.chelsea())
    tasks: tuple[Callable[[Image.Image, Path], object], ...] = (predict, segment, points, upscale, forecast)
    for task in tasks:
        start = time.perf_counter()
        if task in PACKAGED and packaged(PACKAGED[task]) is None:
            print(f"{task.__name__}: skipped, no packaged weights")
            continue
        print(f"{task.__name__}: {task(photo, options.out)} ({time.perf_counter() - start:.1f} s)", flush=True)
    folder = photographs(options.out / "photographs", of_each=10, side=options.side)
    trained = metamixer.train(folder, out=options.out / "run", minutes=options.minutes, epochs=options.epochs)
    print(f"train: {trained}")
    print(f"train: {trained.predictor(next(folder.glob('cat/*.jpg')))!r}")


if __name__ == "__main__":
    main()
