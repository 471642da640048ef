"""Recurrent calls to ONNX operators: layers, masks for lengths, loops, projections."""
