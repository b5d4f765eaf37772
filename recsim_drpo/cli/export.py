"""``recsim-drpo export``: a run's policy for other runtimes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recsim_drpo.cli.arguments import Decoder, Normalize, ReplacedVectors, RunFolder, run_folder

Out = Annotated[Path, typer.Option("--out", help="Folder, must not be there.")]


def export(
    run: RunFolder,
    out: Out,
    embeddings: ReplacedVectors = None,
    normalize: Normalize = False,
    decoder: Decoder = None,
) -> None:
    """Export a trained run's policy as ONNX, with its items."""
    from recsim_drpo.serving.onnx_export import export_run

    description = export_run(
        run_folder(run), out, embeddings=embeddings, normalize=normalize, decoder=decoder
    )
    outputs = " and ".join(description["policy"]["outputs"])
    found = description.get("index")
    print(
        f"{out}: the policy's {outputs}, within "
        f"{description['policy']['largest_difference']:.1g} of the agent's, and "
        f"{description['items']['shape'][0]:,} items."
    )
    if found is not None:
        print(
            f"{out / found['file']}: items by {found['decoder']}, recall@1 "
            f"{found['recall_at_1']:.1%} on {found['queries']}."
        )
