"""The `dna` command. Thin: each command parses, calls one function of the package, and prints what came back."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from dna import __version__
from dna.errors import UserError

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130
EXIT_CLOSED_PIPE = 141

OVERVIEW = """Co-searches a convolutional network and its accelerator, and writes it out as verified hardware.

\b
  dna doctor                   what this machine has, what is missing, how to get it
  dna search --board zc706     network + accelerator + mapping     -> runs/zc706-001/design
  dna generate                 Verilog, program, test bench        -> runs/zc706-001/project
  dna verify                   RTL = reference bit for bit, RTL = model cycle for cycle
  dna report                   one HTML page                       -> runs/zc706-001/report

\b
  dna space                    what a search chooses from, with what it means
  dna networks                 networks to begin with; dna search --network takes one, or an ONNX file
  dna export --onnx FILE       the integer network for other tools

Each command goes on with the latest run unless told otherwise. `dna demo` does all of it in some minutes.
"""


class LazyGroup(click.Group):
    """Imports a command's module only when it is called: `dna --help` does not wait for PyTorch."""

    commands_at: dict[str, tuple[str, str]] = {
        "doctor": ("dna.cli_info", "doctor"),
        "boards": ("dna.cli_info", "boards"),
        "networks": ("dna.cli_networks", "networks"),
        "search": ("dna.cli_search", "search"),
        "space": ("dna.cli_space", "space"),
        "generate": ("dna.cli_project", "generate"),
        "verify": ("dna.cli_project", "verify"),
        "diff": ("dna.cli_project", "diff"),
        "report": ("dna.cli_project", "report"),
        "export": ("dna.cli_project", "export"),
        "demo": ("dna.cli_search", "demo"),
    }

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands_at)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.commands_at:
            return None
        module, name = self.commands_at[cmd_name]
        command = getattr(__import__(module, fromlist=[name]), name)
        assert isinstance(command, click.Command)
        return command


@click.group(
    cls=LazyGroup,
    help=OVERVIEW,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, prog_name="dna", message="%(prog)s %(version)s")
def cli() -> None:
    """The group itself does nothing."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns the exit code.

    0 done, 1 a check failed (a difference, a missing dependency), 2 the user's mistake, 130 stopped by Ctrl-C,
    141 the reader of the output went away.
    """
    try:
        code = cli.main(args=None if arguments is None else list(arguments), prog_name="dna", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except UserError as error:
        print(f"dna: {error}", file=sys.stderr)
        return EXIT_USER_ERROR
    except click.ClickException as error:
        error.show()
        return EXIT_USER_ERROR
    except (KeyboardInterrupt, click.Abort):
        print("dna: stopped", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Python flushes stdout at exit: give it something that can be written to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_CLOSED_PIPE


def run() -> None:
    """The console script."""
    sys.exit(main())


if __name__ == "__main__":
    run()
