"""What runs a version: the generic ONNX service, its lean lane, the replica's launcher, the registration tool.

Nothing here imports `router/`, and nothing in `router/` imports this.
"""
