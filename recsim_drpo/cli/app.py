"""The command line: generate, import, train, evaluate, recommend, export, reproduce and more."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gymnasium.envs.registration import EnvSpec
from tqdm import tqdm

from recsim_drpo.agents import AgentSpec, agent_names
from recsim_drpo.agents.builtin import BUILT_IN
from recsim_drpo.agents.engine.options import EXECUTIONS, PRECISIONS
from recsim_drpo.cli import import_command
from recsim_drpo.cli.demo import run_demo
from recsim_drpo.core.files import check_new_folder, whole_folder
from recsim_drpo.core.policy import Policy, PolicyEvaluator
from recsim_drpo.core.torch_settings import resolve_device
from recsim_drpo.core.validation import check_integer, check_seeds
from recsim_drpo.datasets.generate import generate_dataset
from recsim_drpo.datasets.imported import imported_context, is_imported
from recsim_drpo.datasets.load import load_transitions, open_dataset
from recsim_drpo.envs.registration import ENV_ID, SESSION_ENV_ID
from recsim_drpo.evaluation.bandit import Evaluation
from recsim_drpo.evaluation.evaluate import evaluator_for
from recsim_drpo.evaluation.references import reference_policies_for
from recsim_drpo.evaluation.sessions import SessionEvaluation
from recsim_drpo.ope.held_out import load_and_hold_out
from recsim_drpo.reporting import plots
from recsim_drpo.reporting.tables import markdown_table
from recsim_drpo.runs import folder as runs
from recsim_drpo.runs.checkpoints import flatten
from recsim_drpo.serving.formats import FORMATS, SUFFIXES
from recsim_drpo.serving.onnx_export import export_run
from recsim_drpo.serving.recommender import load_recommender
from recsim_drpo.simulator.config import SCENARIOS, SPLITS, LoggingConfig
from recsim_drpo.training.config import HELD_OUT_SHARE, TrainingConfig
from recsim_drpo.training.online import learns_online, train_online
from recsim_drpo.training.sweep import Trained, train_many
from recsim_drpo.training.trackers import TRACKERS, tracker

Results = dict[str, Evaluation | SessionEvaluation]

_TRAINING = TrainingConfig()
_NO_HYPERPARAMETERS = {
    "name": "--agent",
    "observation_dim": "another dataset",
    "action_dim": "another dataset",
    "seed": "--seeds",
    "device": "--device",
    "batch_size": "--batch-size",
    "precision": "--precision",
    "execution": "--execution",
    "dtype": "Python's make_agent",
}
_OF_LIBRARIES = {
    "d3rlpy:NAME": "an algorithm of d3rlpy with continuous actions, such as IQL (extra d3rlpy)",
    "sb3:NAME": "SAC, PPO, TD3 or DDPG of Stable-Baselines3, which learn online (extra sb3)",
}
_MISTAKES = (ValueError, TypeError, OSError, RuntimeError, ImportError, ArithmeticError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit status: 0, or 2 with one line that says what was wrong."""
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], None] = options.command
    try:
        command(options)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads has had enough; Python would complain at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except _MISTAKES as error:
        text = f"{error.strerror}" if isinstance(error, OSError) and error.strerror else str(error)
        if isinstance(error, OSError) and error.filename:
            text = f"{text}: {error.filename!r}"
        print(f"recsim-drpo: error: {text}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("recsim-drpo: interrupted; what was not complete is gone.", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="recsim-drpo", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    generate = commands.add_parser("generate", help="log rounds into a Minari dataset")
    generate.set_defaults(command=_generate)
    generate.add_argument("dataset_id", help="Minari id, for example recsim/extreme-v0")
    generate.add_argument("--env", default=ENV_ID, help=f"{ENV_ID} (default), {SESSION_ENV_ID}")
    mixture = generate.add_mutually_exclusive_group()
    mixture.add_argument("--scenario", default="medium", help=f"{', '.join(SCENARIOS)}")
    mixture.add_argument(
        "--weights",
        nargs="+",
        action="extend",
        metavar="NAME=W",
        help="mixture weights in place of a scenario",
    )
    generate.add_argument("--rounds", type=int, default=100_000, help="rounds (default 100,000)")
    generate.add_argument("--seed", type=int, default=0)
    generate.add_argument("--no-card", action="store_true", help="write no dataset card")
    _add_world(generate)
    _add_device(generate)

    importing = commands.add_parser("import", help="logs of your own into a Minari dataset")
    importing.set_defaults(command=import_command.run)
    import_command.add_arguments(importing)

    training = commands.add_parser("train", help="train an agent on a dataset")
    training.set_defaults(command=_train)
    training.add_argument("--dataset", required=True, help="id of a local Minari dataset")
    training.add_argument(
        "--agent",
        required=True,
        help=f"{', '.join(BUILT_IN)}, the name of an installed plug-in, module:Class, or an "
        "algorithm of a library: d3rlpy:IQL, sb3:SAC",
    )
    training.add_argument(
        "--out",
        type=Path,
        required=True,
        help="a run folder for each seed is made in it: OUT/seed-0",
    )
    training.add_argument("--seeds", type=int, nargs="+", action="extend", help="default 0")
    training.add_argument(
        "--steps",
        type=int,
        default=_TRAINING.steps,
        help="updates, or rounds with users for an agent that learns online (default 5,000)",
    )
    training.add_argument("--batch-size", type=int, default=_TRAINING.batch_size)
    training.add_argument("--log-every", type=int, default=_TRAINING.log_every)
    training.add_argument("--evaluate-every", type=int, default=_TRAINING.evaluate_every)
    training.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=VALUE",
        help="hyper-parameters",
    )
    training.add_argument(
        "--fleet-size",
        type=int,
        help="most seeds trained as one batched computation (default 8 on a CPU, else 512)",
    )
    training.add_argument(
        "--infos",
        nargs="+",
        action="extend",
        default=[],
        metavar="COLUMN",
        help="info columns for agents that read batch.infos, for example propensity",
    )
    training.add_argument(
        "--held-out",
        type=float,
        metavar="SHARE",
        help="last rounds of an imported log to measure on, not to learn from "
        f"(default {HELD_OUT_SHARE:g})",
    )
    training.add_argument("--precision", default="float32", help=f"{', '.join(PRECISIONS)}")
    training.add_argument("--execution", default="auto", help=f"{', '.join(EXECUTIONS)}")
    training.add_argument("--tracker", help=f"{', '.join(TRACKERS)} (extras), into OUT as well")
    _add_device(training)

    evaluation = commands.add_parser("evaluate", help="value of trained runs and of references")
    evaluation.set_defaults(command=_evaluate)
    evaluation.add_argument("runs", type=Path, nargs="+", help="run folders")
    evaluation.add_argument("--num-users", type=int, default=10_000)
    evaluation.add_argument("--seed", type=int, default=0, help="of the users")
    evaluation.add_argument("--split", default="test", help=f"{', '.join(SPLITS)}")
    evaluation.add_argument("--out", type=Path, help="folder for evaluation.json, .md and .png")
    _add_device(evaluation)

    recommendation = commands.add_parser("recommend", help="the top items of contexts, by a run")
    recommendation.set_defaults(command=_recommend)
    recommendation.add_argument("run", type=Path, help="run folder")
    recommendation.add_argument(
        "--contexts", default="-", metavar="FILE", help=f"{', '.join(SUFFIXES)} (default - : stdin)"
    )
    recommendation.add_argument(
        "--out",
        default="-",
        metavar="FILE",
        help="likewise; must not be there (default - : stdout)",
    )
    recommendation.add_argument("-k", type=int, default=10, help="items a context (default 10)")
    recommendation.add_argument(
        "--columns",
        nargs="+",
        action="extend",
        metavar="NAME",
        help="the context's columns, or patterns, in the policy's order (default context_0 …, "
        "or the list column context)",
    )
    recommendation.add_argument("--id-column", metavar="NAME", help="default: numbers from 0, row")
    for option in ("--input-format", "--output-format"):
        recommendation.add_argument(option, help=f"{', '.join(FORMATS)} (default: by the suffix)")
    _add_items(recommendation)
    _add_device(recommendation)

    exporting = commands.add_parser("export", help="a run's policy as ONNX, with its items")
    exporting.set_defaults(command=_export)
    exporting.add_argument("run", type=Path, help="run folder")
    exporting.add_argument("--out", type=Path, required=True, help="folder, must not be there")
    _add_items(exporting)

    off_policy = commands.add_parser("ope", help="value of trained runs from a log alone")
    off_policy.set_defaults(command=_ope)
    off_policy.add_argument("runs", type=Path, nargs="+", help="run folders")
    off_policy.add_argument(
        "--dataset",
        required=True,
        help="id of a local Minari dataset that they have not learnt from",
    )
    off_policy.add_argument(
        "--samples",
        type=int,
        default=0,
        help="draws in each context of the stochastic policy (default 0: the deterministic one)",
    )
    off_policy.add_argument("--clusters", type=int, help="of items, for mips (default √items)")
    off_policy.add_argument(
        "--embeddings", help="file of the catalogue, where the dataset's environment has none"
    )
    off_policy.add_argument("--normalize", action="store_true", help="scale them to unit length")
    off_policy.add_argument("--seed", type=int, default=0, help="of models, clusters and draws")
    off_policy.add_argument("--out", type=Path, help="folder for ope.json, .md and .png")
    _add_device(off_policy)

    listing = commands.add_parser("agents", help="list the agents")
    listing.set_defaults(command=lambda options: print(_agent_list()))

    reproduction = commands.add_parser(
        "reproduce", help="a table or figure of the paper, with intervals and verdicts"
    )
    reproduction.set_defaults(command=_reproduce)
    reproduction.add_argument("names", nargs="+", metavar="NAME", help="an experiment, or all")
    reproduction.add_argument(
        "--quick", action="store_true", help="few seeds and short training: minutes, no evidence"
    )
    reproduction.add_argument(
        "--out", type=Path, help="default reproduction, or reproduction-quick; goes on if stopped"
    )
    reproduction.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    reproduction.add_argument(
        "--seeds", type=int, help="how many, in place of the experiment's (theory has none)"
    )
    reproduction.add_argument("--execution", default="auto", help=f"{', '.join(EXECUTIONS)}")
    _add_device(reproduction)

    location = commands.add_parser(
        "locate", help="where a log lies on the phase map: filter, weigh or clone"
    )
    location.set_defaults(command=_locate)
    location.add_argument("dataset", help="id of a local Minari dataset with item_id")
    location.add_argument(
        "--results", type=Path, metavar="FOLDER", help="another map than the published one"
    )

    report = commands.add_parser("report", help="one HTML page of what reproduce left")
    report.set_defaults(command=_report)
    report.add_argument(
        "--results",
        type=Path,
        default=Path("reproduction"),
        metavar="FOLDER",
        help="where reproduce left results (default reproduction)",
    )
    report.add_argument("--out", type=Path, default=Path("report.html"), help="default report.html")

    demo = commands.add_parser("demo", help="the whole line in one command")
    demo.set_defaults(command=_demo)
    demo.add_argument("--out", type=Path, default=Path("demo"))
    demo.add_argument("--scenario", default="extreme", help=f"{', '.join(SCENARIOS)}")
    demo.add_argument("--rounds", type=int, default=200_000)
    demo.add_argument("--steps", type=int, default=_TRAINING.steps)
    demo.add_argument("--seeds", type=int, nargs="+", action="extend", help="default 0 1 2")
    _add_world(demo)
    _add_device(demo)
    return parser


def _add_world(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--embeddings",
        help="file of real item vectors for the catalogue (in the demo, scaled to unit length)",
    )
    parser.add_argument("--normalize", action="store_true", help="scale them to unit length")
    parser.add_argument(
        "--world",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=VALUE",
        help="other world parameters",
    )


def _add_items(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--embeddings", help="file of item vectors in place of the catalogue that the log was of"
    )
    parser.add_argument("--normalize", action="store_true", help="scale them to unit length")


def _add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="cpu", help="cpu, cuda, … (default cpu)")


def _assignments(pairs: Sequence[str]) -> dict[str, Any]:
    """Read NAME=VALUE pairs; a value is JSON where it can be, else text."""
    values: dict[str, Any] = {}
    for pair in pairs:
        name, separator, text = pair.partition("=")
        if not separator or not name:
            raise ValueError(f"{pair!r} is not of the form NAME=VALUE.")
        if name in values:
            raise ValueError(f"{name!r} is given twice; once is clear.")
        try:
            values[name] = json.loads(text)
        except ValueError:
            values[name] = text
    return values


def _world_kwargs(options: argparse.Namespace) -> dict[str, Any]:
    kwargs = _assignments(options.world)
    if options.embeddings is not None:
        kwargs["embeddings"] = options.embeddings
    if options.normalize:
        kwargs["normalize"] = True
    return kwargs


def _generate(options: argparse.Namespace) -> None:
    dataset = generate_dataset(
        options.dataset_id,
        env=options.env,
        scenario=_assignments(options.weights) if options.weights else options.scenario,
        num_rounds=options.rounds,
        seed=options.seed,
        env_kwargs=_world_kwargs(options),
        device=options.device,
        card=not options.no_card,
    )
    folder = Path(dataset.spec.data_path).parent
    print(
        f"{dataset.total_steps:,} rounds in {folder}" + ("" if options.no_card else ", README.md")
    )


def _train(options: argparse.Namespace) -> None:
    config = TrainingConfig(
        options.steps, options.batch_size, options.log_every, options.evaluate_every
    )
    seeds = check_seeds(options.seeds or [0])
    hyperparameters = _assignments(options.set)
    device = resolve_device(options.device)
    for name, instead in _NO_HYPERPARAMETERS.items():
        if name in hyperparameters:
            raise ValueError(f"--set {name}=… is no hyper-parameter; use {instead}.")
    folders = {seed: options.out / f"seed-{seed}" for seed in seeds}
    for folder in folders.values():
        check_new_folder(folder)
    dataset = open_dataset(options.dataset)
    evaluator: PolicyEvaluator | None
    source = runs.source_of(dataset)
    if is_imported(dataset):
        source["held_out"] = HELD_OUT_SHARE if options.held_out is None else options.held_out
        transitions, evaluator = load_and_hold_out(
            dataset, source["held_out"], infos=options.infos, device=device
        )
    elif options.held_out is not None:
        raise ValueError(f"--held-out is for imported logs; {options.dataset!r} is none.")
    else:
        transitions = load_transitions(dataset, device=device, infos=options.infos)
        # Training asks an evaluator for headlines only, which those of sessions have as well.
        evaluator = evaluator_for(
            dataset.spec.env_spec, 2_000, split="validation", device=options.device
        )
    how = {"precision": options.precision, "execution": options.execution}
    dims = transitions.observation_dim, transitions.action_dim
    # What cannot be made, or kept in a run folder, is refused before work goes into it.
    first = AgentSpec(options.agent, *dims, seeds[0], hyperparameters).make(device, **how)
    flatten(first.state_dict())
    online = learns_online(first)
    if online and options.infos:
        raise ValueError(f"--infos: {options.agent} learns online and reads no column of a log.")
    if online:
        source["online"] = True

    def keep(one: Trained) -> None:
        folder = folders[one.run.seed]
        runs.save_trained(folder, one, config, source)
        last = one.history[-1]
        shown = ", ".join(f"{name} {last[name]:.3g}" for name in last if name != "step")
        marked = "" if one.diverged_at is None else f" (diverged at step {one.diverged_at}, marked)"
        label = f"{options.agent}, seed {one.run.seed}"
        tqdm.write(f"{label}: step {int(last['step']):,}, {shown}; {folder}{marked}")

    about = {"dataset": options.dataset, **asdict(config), **hyperparameters}
    chosen = options.tracker
    with tracker(chosen, options.out, about) if chosen else nullcontext() as on_log:
        if online:
            train_online(
                options.agent,
                hyperparameters,
                dataset.spec.env_spec,
                config,
                seeds=seeds,
                device=device,
                evaluator=evaluator,
                on_log=on_log,
                on_done=keep,
            )
            return
        train_many(
            {options.agent: [hyperparameters]},
            transitions,
            config,
            seeds=seeds,
            evaluator=evaluator,
            on_log=on_log,
            on_done=keep,
            fleet_size=options.fleet_size,
            **how,
        )


def _evaluate(options: argparse.Namespace) -> None:
    check_integer("--num-users", options.num_users, 1)
    if options.out is not None:
        check_new_folder(options.out)
    folders = _run_folders(options.runs)
    sources = [runs.load_config(folder)["source"] for folder in folders]
    source = sources[0]
    for key in ("env_spec", "weights", "logging_config"):
        for folder, other in zip(folders, sources, strict=True):
            if other.get(key) is None:
                raise ValueError(
                    f"The log of {str(folder)!r} has no {key}: it is of no environment of ours. "
                    "What is known of a log from outside is in the runs' history.csv."
                )
            if other[key] != source[key]:
                raise ValueError(
                    f"{str(folder)!r} and {str(folders[0])!r} learnt from logs of different "
                    f"{key}; evaluate together only runs of one environment and logging agent."
                )
    spec = EnvSpec.from_json(source["env_spec"])
    evaluator = evaluator_for(spec, options.num_users, options.seed, options.split, options.device)
    if evaluator is None:
        raise ValueError(f"The runs' logs are of {spec.id}, which is no environment of ours.")
    logging = LoggingConfig(**source["logging_config"])
    below, above = reference_policies_for(evaluator, source["weights"], logging)
    agents: dict[str, Policy] = {
        folder.as_posix()
        + (" (online)" if source.get("online") else "")
        + (" (diverged)" if source.get("diverged_at") is not None else ""): (
            runs.load_agent(folder, device=options.device)
        )
        for folder, source in zip(folders, sources, strict=True)
    }
    policies = below | agents | above
    results: Results = {
        name: evaluator(policy)
        for name, policy in tqdm(policies.items(), "evaluate", unit="policy", disable=None)
    }
    table = _evaluation_table(results)
    print(table)
    print(
        f"\n{options.num_users:,} {options.split} users; 95 % intervals are over users: they "
        "describe one policy each, not what another seed would learn."
    )
    if options.out is not None:
        _save_evaluation(options.out, table, results)


def _ope(options: argparse.Namespace) -> None:
    # Needed by no other command.
    from recsim_drpo.ope import report as ope_report
    from recsim_drpo.ope.evaluator import OffPolicyEvaluator
    from recsim_drpo.ope.logs import read_item_log

    check_integer("--samples", options.samples, 0)
    if options.out is not None:
        check_new_folder(options.out)
    folders = _run_folders(options.runs)
    configs = [runs.load_config(folder) for folder in folders]
    dataset = open_dataset(options.dataset)
    log = read_item_log(
        dataset,
        embeddings=options.embeddings,
        normalize=options.normalize,
        device=options.device,
    )
    dims = log.contexts.shape[1], log.embeddings.shape[1]
    checksum = dataset.storage.metadata.get("catalogue_checksum")
    for folder, config in zip(folders, configs, strict=True):
        theirs = config["observation_dim"], config["action_dim"]
        if theirs != dims:
            raise ValueError(
                f"{str(folder)!r} acts from {theirs[0]} to {theirs[1]} dimensions, dataset "
                f"{dataset.id!r} has contexts of {dims[0]} and items of {dims[1]}."
            )
        learnt_on = config["source"].get("catalogue_checksum")
        if None not in (checksum, learnt_on) and checksum != learnt_on:
            raise ValueError(
                f"{str(folder)!r} learnt on another catalogue than that of {dataset.id!r}."
            )
        coding = config["source"].get("context")
        if coding and is_imported(dataset) and coding != imported_context(dataset):
            raise ValueError(
                f"The contexts of {dataset.id!r} are not coded as those that {str(folder)!r} "
                "learnt from; import the log with --columns and the columns.json of that dataset."
            )
    agents = {f.as_posix(): runs.load_agent(f, device=options.device) for f in folders}
    for name, agent in agents.items():
        if options.samples and not callable(getattr(agent, "sample", None)):
            raise ValueError(f"{name!r} has no method 'sample' to draw by; leave out --samples.")
    evaluator = OffPolicyEvaluator(
        log, num_clusters=options.clusters, seed=options.seed, progress=True
    )
    results = {name: evaluator(agent, samples=options.samples) for name, agent in agents.items()}
    print(ope_report.as_text(results))
    for folder, config in zip(folders, configs, strict=True):
        if config["source"].get("dataset") == dataset.id:
            print(f"\n{folder.as_posix()} learnt from this very log: its value is overestimated.")
    if options.out is not None and (problem := ope_report.save(options.out, results)):
        print(problem)


def _save_evaluation(folder: Path, table: str, results: Results) -> None:
    plain = {name: one.as_dict() for name, one in results.items()}
    with whole_folder(folder) as partial:
        (partial / "evaluation.md").write_text(table + "\n", encoding="utf-8")
        text = json.dumps(plain, indent=1) + "\n"
        (partial / "evaluation.json").write_text(text, encoding="utf-8")
        try:
            plots.estimates(
                partial / "evaluation.png",
                {name: one.value for name, one in results.items()},
                f"{next(iter(results.values())).value_name}, 95 % interval over users",
            )
        except plots.PlotsMissingError as error:
            print(error)


def _recommend(options: argparse.Namespace) -> None:
    recommender = load_recommender(
        _one_run(options.run),
        embeddings=options.embeddings,
        normalize=options.normalize,
        device=options.device,
    )
    recommender.recommend(
        options.contexts,
        options.out,
        k=options.k,
        columns=options.columns,
        id_column=options.id_column,
        input_format=options.input_format,
        output_format=options.output_format,
    )


def _export(options: argparse.Namespace) -> None:
    description = export_run(
        _one_run(options.run),
        options.out,
        embeddings=options.embeddings,
        normalize=options.normalize,
    )
    outputs = " and ".join(description["policy"]["outputs"])
    print(
        f"{options.out}: the policy's {outputs}, within "
        f"{description['policy']['largest_difference']:.1g} of the agent's, and "
        f"{description['items']['shape'][0]:,} items."
    )


def _one_run(path: Path) -> Path:
    folders = _run_folders([path])
    if len(folders) > 1:
        raise ValueError(f"There are {len(folders)} runs in {str(path)!r}; name one of them.")
    return folders[0]


def _run_folders(paths: Sequence[Path]) -> list[Path]:
    """The runs named: a folder without one of its own stands for all that are below it."""
    folders: list[Path] = []
    for path in paths:
        below = sorted({file.parent for file in path.rglob(runs.CONFIG)}, key=_natural_order)
        folders += below if below and path not in below else [path]
    if len(set(folders)) < len(folders):
        raise ValueError(f"A run is named twice among {', '.join(map(str, folders))}.")
    return folders


def _natural_order(path: Path) -> list[tuple[int, str]]:
    return [(len(part), part) if part.startswith("seed-") else (0, part) for part in path.parts]


def _evaluation_table(results: Results) -> str:
    rows = [{"policy": name} | one.cells() for name, one in results.items()]
    return markdown_table(list(rows[0]), [list(row.values()) for row in rows])


def _agent_list() -> str:
    names = agent_names() | _OF_LIBRARIES
    width = max(12, *map(len, names))
    return "\n".join(f"{name:{width}} {summary}" for name, summary in names.items())


def _reproduce(options: argparse.Namespace) -> None:
    # Experiments bring statistics and drawing along, which no other command needs.
    from recsim_drpo.benchmarks.reproduce import runner
    from recsim_drpo.benchmarks.reproduce.framework.settings import Settings

    resolve_device(options.device)
    folder = options.out or Path("reproduction-quick" if options.quick else "reproduction")
    settings = Settings(
        options.quick,
        folder,
        options.processes if options.device == "cpu" else 1,
        options.seeds,
        options.execution,
        options.device,
    )
    for result in runner.reproduce(options.names, settings):
        print(runner.as_markdown(result))
    print(f"Everything is in {folder}/: result.json, tables.md and pictures, by experiment.")


def _locate(options: argparse.Namespace) -> None:
    from recsim_drpo.benchmarks.reproduce import runner
    from recsim_drpo.benchmarks.reproduce.advice import locate
    from recsim_drpo.benchmarks.reproduce.advice.log_features import features_of_log

    points, elsewhere = locate.points_of(runner.load_results(options.results or locate.PUBLISHED))
    features = features_of_log(load_transitions(options.dataset, infos=["item_id"]))
    tables = locate.locate(features, points, elsewhere)
    print("\n\n".join(table.markdown() for table in tables))


def _report(options: argparse.Namespace) -> None:
    from recsim_drpo.benchmarks.reproduce import runner
    from recsim_drpo.benchmarks.reproduce.publishing import report

    report.write(options.out, runner.load_results(options.results))
    print(f"{options.out}: opens in any browser, without a network.")


def _demo(options: argparse.Namespace) -> None:
    world = _world_kwargs(options)
    if "embeddings" in world:
        world["normalize"] = True
    run_demo(
        options.out,
        scenario=options.scenario,
        num_rounds=options.rounds,
        steps=options.steps,
        seeds=options.seeds or (0, 1, 2),
        env_kwargs=world,
        device=options.device,
    )


if __name__ == "__main__":
    sys.exit(main())
