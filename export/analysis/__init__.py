"""What a graph costs, and which runtimes refuse it. Needs onnx-ir, not torch."""
