"""The help of options that several commands have."""

SHARED_OPTIONS: dict[str, str] = {
    "images": "image files, folders and https URLs.",
    "json": 'file for the result as JSON; "-" for standard output, without other lines.',
    "overwrite": "replace existing results.",
    "max_pixels": "maximum number of pixels; larger images are refused before decoding.",
    "backend": "openvino, onnxruntime, compile, eager, or auto for the fastest; default: eager PyTorch.",
    "device": "the device to compute on, such as cpu or cuda.",
    "engine": "local, ray or ray:ACTORS, for very many inputs: also lists (.txt), Parquet files and URLs, with results "
    "as Parquet in `out`; the same command continues a stopped job.",
    "pictures": "with an engine, draw each result too.",
}
"""A command's docstring describes its other options, and those of these names that mean something else there."""
