"""The model zoo: published networks, built in code at any image size, width and number of classes."""

from dna.network.zoo.builder import Request
from dna.network.zoo.catalogue import ENTRIES, ZooEntry, build, names

__all__ = ["ENTRIES", "Request", "ZooEntry", "build", "names"]
