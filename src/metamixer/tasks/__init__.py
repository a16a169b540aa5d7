"""Tasks: what to optimise and what to measure, one file a task."""

from .averaging import MovingAverage as MovingAverage
from .classification import Classification as Classification
from .corruption import CorruptionRobustness as CorruptionRobustness
from .detection import Detection as Detection
from .detection_optimization import DetectionOptimization as DetectionOptimization
from .distillation import Distillation as Distillation
from .distillation import Teacher as Teacher
from .forecasting import Forecasting as Forecasting
from .optimization import Optimization as Optimization
from .point_optimization import PointOptimization as PointOptimization
from .point_segmentation import PointSegmentation as PointSegmentation
from .segmentation import Segmentation as Segmentation
from .segmentation_optimization import SegmentationOptimization as SegmentationOptimization
from .super_resolution import SuperResolution as SuperResolution
