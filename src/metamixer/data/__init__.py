"""Data modules: one file a kind of data; none knows a network."""

from .coco import CocoData as CocoData
from .corrupted import CorruptedImageData as CorruptedImageData
from .detection_transforms import DetectionAugmentation as DetectionAugmentation
from .detection_transforms import DetectionPreprocessing as DetectionPreprocessing
from .images import DigitsData as DigitsData
from .images import ImageData as ImageData
from .point_augmentation import PointAugmentation as PointAugmentation
from .point_sets import S3DISData as S3DISData
from .point_sets import ScanNetData as ScanNetData
from .point_sets import SemanticKITTIData as SemanticKITTIData
from .points import CloudData as CloudData
from .preprocessing import Augmentation as Augmentation
from .preprocessing import Preprocessing as Preprocessing
from .segmentation import SegmentationData as SegmentationData
from .segmentation_transforms import SegmentationAugmentation as SegmentationAugmentation
from .segmentation_transforms import SegmentationPreprocessing as SegmentationPreprocessing
from .super_resolution import SuperResolutionData as SuperResolutionData
from .voxelization import PointPreprocessing as PointPreprocessing
from .windows import SeriesData as SeriesData
