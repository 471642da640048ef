"""ONNX files as models: their recurrent nodes, states, axes and reference."""
