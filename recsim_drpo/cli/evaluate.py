"""``recsim-drpo evaluate``: the value of runs on simulated users."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recsim_drpo.cli.arguments import Decoder, Device, RunFolders, integer, one_of, run_folders
from recsim_drpo.simulator.config import SPLITS

if TYPE_CHECKING:
    from gymnasium.envs.registration import EnvSpec

    from recsim_drpo.core.policy import Policy
    from recsim_drpo.evaluation.bandit import Evaluation
    from recsim_drpo.evaluation.sessions import SessionEvaluation

    Results = dict[str, Evaluation | SessionEvaluation]

NumUsers = Annotated[int, typer.Option("--num-users", parser=integer, help="Simulated users.")]
Seed = Annotated[int, typer.Option("--seed", parser=integer, help="Of the users.")]
Split = Annotated[
    str,
    typer.Option(
        "--split", help=f"Whose users: {', '.join(SPLITS)}.", autocompletion=one_of(SPLITS)
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out", help="Folder for evaluation.json, .md and .png.", show_default="printed only"
    ),
]


def evaluate(
    runs: RunFolders,
    num_users: NumUsers = 10_000,
    seed: Seed = 0,
    split: Split = "test",
    out: Out = None,
    decoder: Decoder = None,
    device: Device = "cpu",
) -> None:
    """Value of trained runs, and of references, on simulated users."""
    from tqdm import tqdm

    from recsim_drpo.core.config import build_config
    from recsim_drpo.core.files import check_new_folder
    from recsim_drpo.core.validation import check_integer
    from recsim_drpo.envs.spec import spec_of_json
    from recsim_drpo.evaluation.evaluate import evaluator_for
    from recsim_drpo.evaluation.limits import MAX_USERS
    from recsim_drpo.evaluation.references import reference_policies_for
    from recsim_drpo.runs.folder import load_config
    from recsim_drpo.simulator.config import LoggingConfig

    check_integer("--num-users", num_users, 1, MAX_USERS)
    if out is not None:
        check_new_folder(out)
    folders = run_folders(runs)
    sources = [load_config(folder)["source"] for folder in folders]
    _check_comparable(folders, sources)
    source = sources[0]
    spec = spec_of_json(source["env_spec"])
    evaluator = evaluator_for(spec, num_users, seed, split, device, decoder=decoder)
    if evaluator is None:
        raise ValueError(_why_no_evaluator(spec))
    logging = build_config(
        LoggingConfig, source.get("logging_config") or {}, "parameter of the logging agent"
    )
    below, above = reference_policies_for(evaluator, source.get("weights"), logging)
    policies = below | _agents(folders, sources, device) | above
    results: Results = {
        name: evaluator(policy)
        for name, policy in tqdm(policies.items(), "evaluate", unit="policy", disable=None)
    }
    table = _evaluation_table(results)
    if line := next(iter(results.values())).retrieval_line():
        table += f"\n\n{line}"
    print(table)
    print(
        f"\n{num_users:,} {split} users; 95 % intervals are over users: they "
        "describe one policy each, not what another seed would learn."
    )
    if out is not None:
        _save_evaluation(out, table, results)


def _why_no_evaluator(spec: EnvSpec) -> str:
    from recsim_drpo.envs.spec import translating_wrappers

    if wrappers := translating_wrappers(spec):
        return (
            f"The runs' logs are of {spec.id} through {', '.join(wrappers)}, which changes what a "
            "policy sees or does: these policies cannot be measured in the world behind it."
        )
    return f"The runs' logs are of {spec.id}, which is no environment of ours."


def _check_comparable(folders: Sequence[Path], sources: Sequence[dict[str, Any]]) -> None:
    """Raise ``ValueError`` unless all runs learnt from logs of one environment and mixture.

    Logs that others than our logging agent made, or that Minari combined, are of no mixture.
    """
    for key in ("env_spec", "weights", "logging_config"):
        for folder, source in zip(folders, sources, strict=True):
            if key == "env_spec" and source.get(key) is None:
                raise ValueError(
                    f"The log of {str(folder)!r} has no {key}: it is of no environment of ours. "
                    "What is known of a log from outside is in the runs' history.csv."
                )
            if source.get(key) != sources[0].get(key):
                raise ValueError(
                    f"{str(folder)!r} and {str(folders[0])!r} learnt from logs of different "
                    f"{key}; evaluate together only runs of one environment and logging agent."
                )


def _agents(
    folders: Sequence[Path], sources: Sequence[dict[str, Any]], device: str
) -> dict[str, Policy]:
    """Trained agents by their folders, marked where they learnt online or diverged."""
    from recsim_drpo.runs.folder import load_agent

    agents: dict[str, Policy] = {}
    for folder, source in zip(folders, sources, strict=True):
        online = " (online)" if source.get("online") else ""
        diverged = " (diverged)" if source.get("diverged_at") is not None else ""
        agents[folder.as_posix() + online + diverged] = load_agent(folder, device=device)
    return agents


def _save_evaluation(folder: Path, table: str, results: Results) -> None:
    """Write the table, the numbers and, where they can be drawn, the pictures."""
    from recsim_drpo.core.files import atomic_dir
    from recsim_drpo.reporting import plots

    plain = {name: result.as_dict() for name, result in results.items()}
    with atomic_dir(folder) as partial:
        (partial / "evaluation.md").write_text(table + "\n", encoding="utf-8")
        text = json.dumps(plain, indent=1) + "\n"
        (partial / "evaluation.json").write_text(text, encoding="utf-8")
        try:
            plots.estimates(
                partial / "evaluation.png",
                {name: result.value for name, result in results.items()},
                f"{next(iter(results.values())).value_name}, 95 % interval over users",
            )
        except plots.PlotsMissingError as error:
            print(error)


def _evaluation_table(results: Results) -> str:
    from recsim_drpo.reporting.tables import markdown_table

    rows = [{"policy": name} | result.cells() for name, result in results.items()]
    return markdown_table(list(rows[0]), [list(row.values()) for row in rows])
