"""The command line: one command a module, put together here; their errors become one line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from recsim_drpo.cli.agents import agents
from recsim_drpo.cli.arguments import Command
from recsim_drpo.cli.compare import compare
from recsim_drpo.cli.demo import demo
from recsim_drpo.cli.doctor import doctor
from recsim_drpo.cli.evaluate import evaluate
from recsim_drpo.cli.export import export
from recsim_drpo.cli.generate import generate
from recsim_drpo.cli.import_log import import_
from recsim_drpo.cli.locate import locate
from recsim_drpo.cli.ope import ope
from recsim_drpo.cli.recommend import recommend
from recsim_drpo.cli.report import report
from recsim_drpo.cli.reproduce import reproduce
from recsim_drpo.cli.serve import serve
from recsim_drpo.cli.train import train
from recsim_drpo.core import interrupts

_PROGRAM = interrupts.PROGRAM
_COMPLETION = "_RECSIM_DRPO_COMPLETE"
_COMMANDS: dict[str, Callable[..., None]] = {
    "generate": generate,
    "import": import_,
    "train": train,
    "evaluate": evaluate,
    "recommend": recommend,
    "serve": serve,
    "export": export,
    "ope": ope,
    "compare": compare,
    "agents": agents,
    "reproduce": reproduce,
    "locate": locate,
    "report": report,
    "demo": demo,
    "doctor": doctor,
}
_MISTAKES = (ValueError, TypeError, OSError, RuntimeError, ImportError, ArithmeticError)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"{_PROGRAM} {version(_PROGRAM)}")
        raise typer.Exit


class _Commands(TyperGroup):
    """The commands; options before a command's name default to off.

    Their default is None else, and checking that imports pydantic: as long again as help takes.
    """

    def get_params(self, ctx: Any) -> list[Any]:
        params: list[Any] = super().get_params(ctx)
        for option in params:
            option.default = option.default or False
        return params


# Rich's help is prettier, and takes as long again.
app = typer.Typer(
    name=_PROGRAM,
    cls=_Commands,
    rich_markup_mode=None,
    subcommand_metavar="COMMAND",
    context_settings={"help_option_names": ["-h", "--help"]},
)
"""The commands, for Typer's own tools."""


@app.callback()
def _recsim_drpo(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and exit.", callback=_show_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Simulate recommendation, log it, learn from logs offline, and measure what was learnt."""


for _name, _function in _COMMANDS.items():
    _summary = (_function.__doc__ or "").partition("\n")[0]
    app.command(_name, cls=Command, short_help=_summary)(_function)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: words of the command line; ``None``: those that the process was started with.

    Returns:
        the exit status: 0; 2, after one line that says what was wrong; 130, 143 or 129 if SIGINT,
        SIGTERM or SIGHUP told it to end.

    Raises:
        SystemExit: after help, or after one line that says how the words cannot be read.
    """
    if arguments is None:
        return interrupts.run_program(lambda: _run(sys.argv[1:]))
    return _run(list(arguments))


def _run(words: list[str]) -> int:
    program: Any = typer.main.get_command(app)
    if os.environ.get(_COMPLETION):
        program.main(words, prog_name=_PROGRAM, complete_var=_COMPLETION)  # answers, and exits
    try:
        with program.make_context(_PROGRAM, words) as context:
            program.invoke(context)
        sys.stdout.flush()
    except typer.Exit as shown:  # help or the version
        sys.exit(shown.exit_code)
    except typer.TyperException as error:
        print(f"{_PROGRAM}: error: {error.format_message()}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # whoever reads has had enough; Python would complain at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt as interrupt:
        return interrupts.status_of(interrupt)
    except Exception as error:
        if interrupts.was_interrupted():  # and a library made another error of it
            return interrupts.status_of(error)
        if not isinstance(error, _MISTAKES):
            raise
        print(f"{_PROGRAM}: error: {_text(error)}", file=sys.stderr)
        return 2
    return 0


def _text(error: Exception) -> str:
    text = f"{error.strerror}" if isinstance(error, OSError) and error.strerror else str(error)
    if isinstance(error, OSError) and error.filename:
        text = f"{text}: {error.filename!r}"
    return text
