"""metamixer train"""


def train(
    data: str,
    *,
    out: str | None = None,
    minutes: float = 10,
    epochs: int | None = None,
    initial: str | None = None,
    seed: int = 0,
) -> None:
    """Train on a folder of your own data; what it holds, the recipe and its length are found out.

    Args:
        data: a folder with a folder of images for each class; images with a COCO json; folders images and masks;
            labeled clouds; large images, for super-resolution; or a table of series.
        out: the run's folder; none: runs/NAME.
        minutes: about how long it may take.
        epochs: how many; none: what fits into the minutes.
        initial: a checkpoint of ours to start from; none: the package's weights for the task, where it has some.
        seed: of everything random, the split too.
    """
    from ..predictors import own_training

    trained = own_training.train(data, out=out, minutes=minutes, epochs=epochs, initial=initial, seed=seed)
    print(trained)
    print(f"next: {trained.next_command}")
