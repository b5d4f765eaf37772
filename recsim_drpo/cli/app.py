"""The command line: one command a module, put together here; their errors become one line."""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from recsim_drpo.cli.agents import agents
from recsim_drpo.cli.arguments import Command
from recsim_drpo.cli.benchmark import benchmark
from recsim_drpo.cli.compare import compare
from recsim_drpo.cli.datasets import datasets
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
from recsim_drpo.cli.sweep import sweep
from recsim_drpo.cli.train import train
from recsim_drpo.core import interrupts
from recsim_drpo.core.compiler_cache import no_empty_cache
from recsim_drpo.core.messages import one_line, short_line

_PROGRAM = interrupts.PROGRAM
_COMPLETION = "_RECSIM_DRPO_COMPLETE"
_COMMANDS: dict[str, Callable[..., None]] = {
    "generate": generate,
    "import": import_,
    "train": train,
    "sweep": sweep,
    "evaluate": evaluate,
    "recommend": recommend,
    "serve": serve,
    "export": export,
    "ope": ope,
    "compare": compare,
    "agents": agents,
    "benchmark": benchmark,
    "datasets": datasets,
    "reproduce": reproduce,
    "locate": locate,
    "report": report,
    "demo": demo,
    "doctor": doctor,
}
_MISTAKES: tuple[type[Exception], ...] = (ValueError, TypeError, OSError, RuntimeError)
_MISTAKES += (ImportError, ArithmeticError, MemoryError)
_NO_MEMORY = re.compile("allocate memory|out of memory")  # as torch says it


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


def _told(error: typer.TyperException) -> str:
    """What cannot be read of a command line and, where something is missing, what says more."""
    text, context = error.format_message(), getattr(error, "ctx", None)
    if context is None or not text.startswith("Missing"):
        return text
    return f"{text} `{context.command_path} --help` says what there is."


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
        with (
            program.make_context(_PROGRAM, words) as context,
            no_empty_cache(),
            _of_arithmetic_at_the_end(),
        ):
            program.invoke(context)
        sys.stdout.flush()
    except typer.Exit as shown:  # help or the version
        sys.exit(shown.exit_code)
    except typer.TyperException as error:
        _say(_told(error))
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
        _say(_text(error))
        return 2
    return 0


@contextmanager
def _of_arithmetic_at_the_end() -> Iterator[None]:
    """Print RuntimeWarnings when the block has ended well; its error is one line, and says more."""
    held: list[tuple[Any, ...]] = []
    with warnings.catch_warnings():
        show = warnings.showwarning

        def hold(message: Warning | str, category: type[Warning], *where: Any) -> None:
            if issubclass(category, RuntimeWarning):
                held.append((message, category, *where))
            else:
                show(message, category, *where)

        warnings.showwarning = hold  # type: ignore[assignment]  # fewer names, the same arguments
        yield
    for warning in held:
        show(*warning)


def _text(error: Exception) -> str:
    """What an error says, with the file that it is about; of memory that is not there, so much."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename!r}" if error.filename else error.strerror
    if isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and _NO_MEMORY.search(str(error))
    ):
        return f"There is not enough memory for this ({one_line(error)}); take a smaller size."
    return str(error) or f"{type(error).__name__}."


def _say(text: str) -> None:
    """Print an error as one line."""
    start = f"{_PROGRAM}: error: "
    print(f"{start}{short_line(text)}", file=sys.stderr)
