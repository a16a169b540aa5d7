"""An ONNX file, run by ONNX Runtime in a process of its own (`system.worker`)."""

from typing import Any

HELD: dict[str, Any] = {}


def answer(about: dict[str, Any], parts: list[bytes]) -> tuple[dict[str, Any], list[bytes]]:
    """The metadata of the file in the first part; its session, if `threads` are given; or the output of an input."""
    import numpy as np

    if "shape" in about:
        (name,), session = HELD["inputs"], HELD["session"]
        output = session.run(None, {name: np.frombuffer(parts[0], np.float32).reshape(about["shape"])})[0]
        output = np.ascontiguousarray(output, np.float32)
        return {"shape": output.shape}, [output.tobytes()]
    if "threads" in about:
        HELD["session"] = session = open_session(HELD["content"], about["threads"])
        HELD["inputs"] = [each.name for each in session.get_inputs()]
        return {"inputs": len(HELD["inputs"])}, []
    import onnx

    model = onnx.load_from_string(parts[0])
    HELD["model"], HELD["content"] = model, parts[0]
    tensors = onnx.external_data_helper._get_all_tensors(model)
    external = any(onnx.external_data_helper.uses_external_data(tensor) for tensor in tensors)
    return {"metadata": {entry.key: entry.value for entry in model.metadata_props}, "external": external}, []


def open_session(content: bytes, threads: int):
    """A session on the CPU, after onnx has checked the graph."""
    import onnx
    import onnxruntime

    onnx.checker.check_model(HELD.pop("model"))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
