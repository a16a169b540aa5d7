"""Jobs of an engine, without the engine, and images for them."""

import numpy as np
import pandas
from PIL import Image

from metamixer.engine.files import Files
from metamixer.engine.folder import Folder
from metamixer.engine.job import Job
from metamixer.engine.shard import PREDICTIONS
from pictures import save_small_upscaler


def run(work, out, **begin):
    """All of a job in this process; gives the results and the sum of what its shards answer."""
    job = Job(work, Folder(str(out))).begin(**begin)
    for unit in job.work.units():
        job.spread(unit)
    held = job.work.prepare()
    answers = [job.work_through(shard, held) for shard in job.shards()]
    results = pandas.read_parquet(out / PREDICTIONS).sort_values(job.work.key, ignore_index=True)
    return results, {key: sum(answer[key] for answer in answers) for key in ("inputs", "failed")}


def upscaling_work(folder):
    """Work with a small upscaler, whose file is in this folder; without inputs."""
    source = str(save_small_upscaler(folder / "up.safetensors"))
    return Files("super_resolution", [], {"source": source}, {}, shards=2)


def image(i=0, side=24):
    """A Pillow image of noise."""
    return Image.fromarray(np.random.RandomState(i).randint(0, 256, (side, side, 3), np.uint8))


def save_images(folder):
    """A new folder: seven images in two folders, one more that is none, and a text file that is nobody's business."""
    (folder / "deeper").mkdir(parents=True)
    for i in range(7):
        image(i).save(folder / ("deeper" if i % 2 else ".") / f"{i}.png")
    (folder / "broken.png").write_bytes(b"no image")
    (folder / "notes.md").write_text("nothing")
    return folder
