"""`python -m dna` is the `dna` command."""

from dna.cli import run

run()
