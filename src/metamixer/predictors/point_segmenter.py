"""Point cloud segmentation: clouds in, a class for every point out."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from torch import Tensor, nn

from ..data.points.clouds import Cloud, check_cloud, read_cloud
from ..data.points.given import clouds_of
from ..data.points.voxelization import PointPreprocessing
from ..inference.voting import point_scores, voting
from ..models.tasks import POINTS
from .point_labels import PointLabels
from .predictor import Predictor, class_names, preprocessing_of


class PointSegmenter(Predictor):
    """A network with its preprocessing and classes: `PointSegmenter.load("best.ckpt")("street.ply")`."""

    task = POINTS.name

    def __init__(
        self, network: nn.Module, preprocessing: PointPreprocessing, classes: Sequence[str], *, precision: str = "fp32"
    ):
        super().__init__(network, precision=precision)
        self.preprocessing = preprocessing
        self.classes = list(classes)

    @classmethod
    def of(cls, network: nn.Module, info: Mapping[str, Any], *, intensity_max: float | None = None) -> Self:
        """intensity_max: the intensity in files that stands for 1; None: as in the training."""
        preprocessing = preprocessing_of(PointPreprocessing, info)
        if intensity_max is not None:
            preprocessing = replace(preprocessing, intensity_max=intensity_max)
        return cls(network, preprocessing, class_names(info, network.num_classes))

    def check(self, cloud: Cloud, name: str, *, votes: int = 1) -> None:
        """Raise InputError if the network can't process the cloud in one of the views."""
        self.preprocessing.check(cloud, name, scale=max(view.scale for view in voting(votes)))
        self.preprocessing.warn_if_dark(cloud, name)

    def read(self, path: str | Path) -> Cloud:
        """Read a cloud in the network's units."""
        return read_cloud(path, self.preprocessing.intensity_max)

    def settings(self) -> dict[str, Any]:
        return {"classes": len(self.classes)}

    def inputs(self, given: Any) -> Cloud | Path | list[Cloud | Path]:
        return clouds_of(given, self.preprocessing.intensity_max)

    def scores(
        self, cloud: Cloud | str | Path, *, votes: int = 1, fragments: bool = False, name: str | None = None
    ) -> Tensor:
        """Class probabilities (N, classes) of every point of a cloud or file; votes: 1 to 13 views; fragments: see
        `point_scores`; name: of the cloud in messages.
        """
        name = name or ("cloud" if isinstance(cloud, Cloud) else str(cloud))
        cloud = check_cloud(cloud, name) if isinstance(cloud, Cloud) else self.read(cloud)
        self.check(cloud, name, votes=votes)
        with self.computing():
            return point_scores(self.network, cloud, self.preprocessing, views=voting(votes), fragments=fragments)

    def result(self, cloud: Cloud | Path, *, votes: int = 1, fragments: bool = False) -> PointLabels:
        """The class of every point; options: see `scores`."""
        file = None if isinstance(cloud, Cloud) else cloud
        points = self.read(file) if file else cloud
        scores = self.scores(points, votes=votes, fragments=fragments, name=file and str(file))
        labels = scores.argmax(dim=1).cpu().numpy()
        return PointLabels.of(labels, classes=self.classes, cloud=points, file=file)
