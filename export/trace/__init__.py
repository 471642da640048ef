"""From a torch module to ONNX operators with every recurrent state a port."""
