"""Data modules: one file a kind of data; none knows a network."""

from .detection.coco import CocoData as CocoData
from .detection.transforms import DetectionAugmentation as DetectionAugmentation
from .detection.transforms import DetectionPreprocessing as DetectionPreprocessing
from .images.corrupted import CorruptedImageData as CorruptedImageData
from .images.labelled import DigitsData as DigitsData
from .images.labelled import ImageData as ImageData
from .points.augmentation import PointAugmentation as PointAugmentation
from .points.benchmarks import S3DISData as S3DISData
from .points.benchmarks import ScanNetData as ScanNetData
from .points.benchmarks import SemanticKITTIData as SemanticKITTIData
from .points.scenes import CloudData as CloudData
from .points.voxelization import PointPreprocessing as PointPreprocessing
from .preprocessing import Augmentation as Augmentation
from .preprocessing import Preprocessing as Preprocessing
from .segmentation.pixels import SegmentationData as SegmentationData
from .segmentation.transforms import SegmentationAugmentation as SegmentationAugmentation
from .segmentation.transforms import SegmentationPreprocessing as SegmentationPreprocessing
from .series.windows import SeriesData as SeriesData
from .super_resolution.pairs import SuperResolutionData as SuperResolutionData
