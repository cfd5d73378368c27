"""Simulation of a Project against the reference and the model."""

from dna.verify.simulation import Case, LayerResult, RunResult, VerifyResult, verify, verify_many

__all__ = ["Case", "LayerResult", "RunResult", "VerifyResult", "verify", "verify_many"]
