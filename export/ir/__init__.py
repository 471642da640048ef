"""What all stages need from onnx-ir; imports no torch and nothing above it."""
