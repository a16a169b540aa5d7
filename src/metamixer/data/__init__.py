"""Data modules: one file a kind of data; none knows a network."""

from .images import DigitsData as DigitsData
from .images import ImageData as ImageData
from .preprocessing import Augmentation as Augmentation
from .preprocessing import Preprocessing as Preprocessing
from .windows import SeriesData as SeriesData
