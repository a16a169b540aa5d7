"""Query-key-value mixers and the FFNet family (arXiv 2406.02021)."""

from .checkpoints import load_checkpoint as load_checkpoint
from .deployment.fastest import deploy as deploy
from .deployment.formats import load_exported as load_exported
from .errors import InputError as InputError
from .fusion import fuse as fuse
from .mixer import TOKEN_MIXERS as TOKEN_MIXERS
from .mixer import MetaMixer as MetaMixer
from .models import create_model as create_model
from .models import list_models as list_models
from .published import load_published as load_published
