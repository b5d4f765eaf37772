"""``recsim-drpo serve``: a run's recommendations over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recsim_drpo.cli.arguments import (
    Decoder,
    Device,
    Normalize,
    ReplacedVectors,
    RunFolder,
    assignments,
    integer,
    number,
    run_folder,
)
from recsim_drpo.cli.recommend import Allow, Deny, Explore, K, MaxPer, category_limit

if TYPE_CHECKING:
    from recsim_drpo.serving.recommender import Recommender

Host = Annotated[str, typer.Option("--host", help="Address to listen at.")]
Port = Annotated[int, typer.Option("--port", parser=integer, help="0 for any that is free.")]
MaxK = Annotated[int, typer.Option("--max-k", parser=integer, help="Items a context at most.")]
MaxContexts = Annotated[
    int, typer.Option("--max-contexts", parser=integer, help="Contexts a request at most.")
]
MaxBytes = Annotated[
    int, typer.Option("--max-bytes", parser=integer, help="Length of a request at most.")
]
MaxWaiting = Annotated[
    int,
    typer.Option("--max-waiting", parser=integer, help="Requests that wait; others are refused."),
]
MaxBatch = Annotated[
    int,
    typer.Option(
        "--max-batch",
        parser=integer,
        help="Contexts of requests that wait together and are calculated together; 1: none are.",
    ),
]
BatchWindow = Annotated[
    float,
    typer.Option(
        "--batch-window",
        parser=number,
        help="Seconds to wait for more of them, while requests come together.",
    ),
]
Timeout = Annotated[
    float,
    typer.Option(
        "--timeout", parser=number, help="Seconds for a request to come and to have its turn."
    ),
]
Grace = Annotated[
    float,
    typer.Option("--grace", parser=number, help="Seconds to end what has begun when stopped."),
]
Seed = Annotated[
    int | None,
    typer.Option(
        "--seed", parser=integer, help="Of --explore.", show_default="another at every start"
    ),
]


def serve(
    run: RunFolder,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    k: K = 10,
    max_k: MaxK = 100,
    max_contexts: MaxContexts = 1024,
    max_bytes: MaxBytes = 1048576,
    max_waiting: MaxWaiting = 64,
    max_batch: MaxBatch = 64,
    batch_window: BatchWindow = 0.001,
    timeout: Timeout = 5.0,
    grace: Grace = 10.0,
    explore: Explore = None,
    seed: Seed = None,
    allow: Allow = None,
    deny: Deny = None,
    max_per: MaxPer = None,
    embeddings: ReplacedVectors = None,
    normalize: Normalize = False,
    decoder: Decoder = None,
    device: Device = "cpu",
) -> None:
    """Answer requests for top items over HTTP, by a trained run."""
    import secrets

    from recsim_drpo.serving.exploration import Exploration
    from recsim_drpo.serving.http import run_server
    from recsim_drpo.serving.online import Service, ServiceLimits
    from recsim_drpo.serving.rules import Rules

    if seed is not None and not explore:
        raise ValueError("--seed is about the draws of --explore.")
    drawn_by = secrets.randbits(62) if seed is None else seed
    exploration = Exploration.of(assignments(explore), drawn_by) if explore else None
    limits = ServiceLimits(
        k, max_k, max_contexts, max_bytes, timeout, max_waiting, max_batch, batch_window
    )
    categories, limit = category_limit(max_per)
    rules = Rules(allow=allow, deny=deny, categories=categories, max_per=limit)

    def load() -> tuple[Recommender, dict[str, Any]]:
        return _loaded(
            run, embeddings=embeddings, normalize=normalize, device=device, decoder=decoder
        )

    run_server(Service(load, limits, exploration, rules), host, port, grace=grace)


def _loaded(path: Path, **options: Any) -> tuple[Recommender, dict[str, Any]]:
    """The recommender of the run that is at a path now, and what is told of it."""
    from recsim_drpo.runs.folder import load_config
    from recsim_drpo.serving.recommender import load_recommender

    folder = run_folder(path)
    recommender, config = load_recommender(folder, **options), load_config(folder)
    return recommender, {
        "run": folder.resolve().name if folder.is_symlink() else folder.name,
        "agent": config["agent"],
        "dataset": config["source"].get("dataset"),
        "observation_dim": recommender.observation_dim,
        "num_items": recommender.items.num_items,
        "items_checksum": recommender.items.checksum,
        **_retrieval(recommender),
    }


def _retrieval(recommender: Recommender) -> dict[str, Any]:
    """How items are found, and what an approximate decoder finds of sampled queries."""
    from recsim_drpo.simulator.retrieval import is_exact, label, sampled_recall

    decoder = recommender.decoder
    if is_exact(decoder):
        return {"decoder": label(decoder)}
    recall = sampled_recall(decoder, recommender.embeddings)
    return {"decoder": label(decoder), "recall_at_1": round(recall, 4)}
