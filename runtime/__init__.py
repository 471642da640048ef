"""Run time: an artifact or graph through ONNX Runtime, without torch."""
