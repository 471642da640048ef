"""Model files and live modules, brought to one form: an `nn.Module` or an ONNX file."""
