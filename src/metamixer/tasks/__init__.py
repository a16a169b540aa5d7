"""Tasks: what to optimise and what to measure, one file a task."""

from .classification import Classification as Classification
from .distillation import Distillation as Distillation
from .distillation import Teacher as Teacher
from .forecasting import Forecasting as Forecasting
from .optimization import Optimization as Optimization
