"""``recsim-drpo export``: a run's policy for other runtimes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recsim_drpo.cli.arguments import Normalize, ReplacedVectors, RunFolder, run_folder

Out = Annotated[Path, typer.Option("--out", help="Folder, must not be there.")]


def export(
    run: RunFolder,
    out: Out,
    embeddings: ReplacedVectors = None,
    normalize: Normalize = False,
) -> None:
    """Export a trained run's policy as ONNX, with its items."""
    from recsim_drpo.serving.onnx_export import export_run

    description = export_run(run_folder(run), out, embeddings=embeddings, normalize=normalize)
    outputs = " and ".join(description["policy"]["outputs"])
    print(
        f"{out}: the policy's {outputs}, within "
        f"{description['policy']['largest_difference']:.1g} of the agent's, and "
        f"{description['items']['shape'][0]:,} items."
    )
