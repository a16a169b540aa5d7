"""Tasks: losses and metrics, one file per task."""

from .averaging import MovingAverage as MovingAverage
from .classification import Classification as Classification
from .corruption import CorruptionRobustness as CorruptionRobustness
from .detection import Detection as Detection
from .distillation import Distillation as Distillation
from .distillation import Teacher as Teacher
from .distilled_classification import DistilledClassification as DistilledClassification
from .forecasting import Forecasting as Forecasting
from .freezing import FrozenStages as FrozenStages
from .freezing import HeadFirst as HeadFirst
from .optimization.detection import DetectionOptimization as DetectionOptimization
from .optimization.points import PointOptimization as PointOptimization
from .optimization.recipe import Optimization as Optimization
from .optimization.segmentation import SegmentationOptimization as SegmentationOptimization
from .point_segmentation import PointSegmentation as PointSegmentation
from .restoration import Restoration as Restoration
from .segmentation import Segmentation as Segmentation
from .stopping import EarlyStop as EarlyStop
from .super_resolution import SuperResolution as SuperResolution
