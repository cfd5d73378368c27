"""DNA: co-searches a network and its accelerator, and writes the accelerator out as verified hardware."""

__version__ = "0.1.0"
