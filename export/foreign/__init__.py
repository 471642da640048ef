"""ONNX files that others made."""
