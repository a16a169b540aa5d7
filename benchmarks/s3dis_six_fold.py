"""Compute S3DIS's 6-fold metrics: over the points of all six areas, each tested by the network trained on the others.

for area in 1 2 3 4 5 6; do
    metamixer fit --config recipes/points/s3dis.yaml --data.test_area $area --out runs/s3dis_$area
    metamixer test --config recipes/points/s3dis.yaml --data.test_area $area --out runs/s3dis_$area
done
python benchmarks/s3dis_six_fold.py runs/s3dis_*
"""

import argparse
from pathlib import Path

import torch

from metamixer.data.points.class_names import S3DIS_CLASSES
from metamixer.tasks.confusion import class_ious, read_confusion, segmentation_measures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs=6, help="the folders of the six runs, each with test_confusion.csv")
    counts = torch.zeros(len(S3DIS_CLASSES), len(S3DIS_CLASSES), dtype=torch.long)
    for run in parser.parse_args().runs:
        counts += read_confusion(run / "test_confusion.csv")
    for name, value in segmentation_measures(counts).items():
        print(f"{name:15s}{100 * value:6.2f} %")
    for name, iou in zip(S3DIS_CLASSES, class_ious(counts), strict=True):
        print(f"{name:15s}{100 * iou:6.2f} %")


if __name__ == "__main__":
    main()
