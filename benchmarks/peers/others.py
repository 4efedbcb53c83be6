"""The instrument of the other engines. It runs in `.peers/`."""

from . import ctranslate2_engine, onnx_engine, openvino_engine
from .measuring import Measuring

if __name__ == "__main__":
    Measuring(
        {
            "OpenVINO": openvino_engine,
            "ONNX Runtime": onnx_engine,
            "CTranslate2": ctranslate2_engine,
        }
    ).serve()
