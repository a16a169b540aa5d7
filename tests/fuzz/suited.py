"""The changes that suit each kind of file."""

from . import archives, arrays, pictures
from .mutations import BLIND, Mutation, cell, json_value, line, number_in_text, packed, yaml_text
from .programs import PROGRAMS

ARCHIVE = (archives.in_archive, archives.zip_records)
SUITED: dict[str, tuple[Mutation, ...]] = {
    ".json": (json_value, json_value, number_in_text),
    ".yaml": (number_in_text, line, yaml_text, yaml_text),
    ".csv": (number_in_text, line, cell, cell),
    ".csv.gz": (packed,),
    ".txt": (line, number_in_text),
    ".parquet": (arrays.in_parquet,),
    ".ply": (arrays.in_ply, arrays.in_ply, number_in_text),
    ".npy": (arrays.in_npy,),
    ".npz": ARCHIVE,
    ".zip": ARCHIVE,
    ".las": (arrays.in_las,),
    ".laz": (arrays.in_las,),
    ".safetensors": (archives.in_safetensors,),
    ".ckpt": (archives.in_checkpoint, archives.in_checkpoint, *ARCHIVE),
    ".pt": (archives.in_checkpoint, archives.in_checkpoint, *ARCHIVE),
    ".pth": (archives.in_checkpoint,),
    ".tar": (archives.in_tar,),
    ".png": (pictures.in_png,),
    ".jpg": (pictures.in_jpeg,),
    ".tif": (pictures.in_tiff,),
    ".webp": (pictures.in_riff,),
    ".gif": (pictures.in_gif,),
    ".bmp": (pictures.in_bmp,),
    **PROGRAMS,
}
"""Suffix -> changes that know the format."""


def mutations_of(suffix: str) -> tuple[Mutation, ...]:
    """Blind ones, and twice as many knowing ones, where there are any."""
    knowing = SUITED.get(suffix, ())
    return (*BLIND, *(knowing * -(-2 * len(BLIND) // max(len(knowing), 1)) if knowing else ()))
