"""An OpenVINO file, run by OpenVINO in a process of its own (`system.worker`)."""

from typing import Any

HELD: dict[str, Any] = {}


def answer(about: dict[str, Any], parts: list[bytes]) -> tuple[dict[str, Any], list[bytes]]:
    """The metadata of the file at `path`; nothing, where it is compiled with `settings`; or the output of an input."""
    import numpy as np
    import openvino

    if "shape" in about:
        output = HELD["request"].infer([np.frombuffer(parts[0], np.float32).reshape(about["shape"])])[0]
        output = np.ascontiguousarray(output, np.float32)
        return {"shape": output.shape}, [output.tobytes()]
    if "settings" in about:
        compiled = openvino.Core().compile_model(HELD.pop("model"), "CPU", about["settings"])
        HELD["request"] = compiled.create_infer_request()
        return {"inputs": len(compiled.inputs)}, []
    HELD["model"] = model = openvino.Core().read_model(about["path"])
    key = [about["key"]]
    return {"metadata": {about["key"]: model.get_rt_info(key).astype(str)} if model.has_rt_info(key) else {}}, []
