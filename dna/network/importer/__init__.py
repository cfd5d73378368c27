"""Networks brought from elsewhere: ONNX, QDQ, QONNX and torch."""

from dna.network.importer.imported import FloatWeights, ImportedNetwork, InputFormat, Normalisation, TensorScale
from dna.network.importer.load import load_network

__all__ = ["FloatWeights", "ImportedNetwork", "InputFormat", "Normalisation", "TensorScale", "load_network"]
