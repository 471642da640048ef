"""From a torch module to an ONNX graph with one node of domain `torch` per recurrent call."""
