"""Taggers that are ONNX files, anybody's: run by onnxruntime's CPU provider alone, each in a process of its own."""
