"""A trained policy as an ONNX file with its items, for programs that have no recsim_drpo.

The graph is written layer by layer, from the weights, for policies are plain perceptrons: no
tracing exporter is needed. What was written is run by onnxruntime and compared with the agent
before it is put in place.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from recsim_drpo.agents.engine.learner import Learner
from recsim_drpo.agents.engine.networks import LOG_STD_RANGE, policy_moments
from recsim_drpo.agents.protocol import Agent
from recsim_drpo.core.files import atomic_dir, check_new_folder
from recsim_drpo.core.provenance import versions
from recsim_drpo.datasets.importing.coding import ContextCoder
from recsim_drpo.datasets.items import resolve_decoder
from recsim_drpo.runs import folder as runs
from recsim_drpo.serving.onnx_context import CONTEXT, context_nodes
from recsim_drpo.serving.recommender import items_of_run
from recsim_drpo.simulator.catalogue import Catalogue
from recsim_drpo.simulator.index_files import INDEX, write_index
from recsim_drpo.simulator.retrieval import check_decoder, is_exact, make_decoder, sampled_recall

POLICY, ITEMS, ITEM_IDS, DESCRIPTION = "policy.onnx", "items.npy", "item_ids.npy", "export.json"
RETRIEVAL = "index"
"""The folder of an approximate decoder's index."""

TOLERANCE = 1e-5
"""Largest accepted difference between network and agent, relative to outputs above 1."""

_FORMAT = "recsim_drpo.serving.onnx_export/1"
_OPSET, _IR_VERSION = 18, 8  # of 2022, which every onnxruntime in use reads
_ACTIVATIONS = {nn.ReLU: "Relu", nn.Tanh: "Tanh", nn.Sigmoid: "Sigmoid"}
_CHECKED_BATCHES = (1, 2, 257)
_MISSING_SHARE = 0.1

Layer = tuple[NDArray[np.float32], NDArray[np.float32]] | str
Moments = Callable[[Tensor], dict[str, Tensor]]


class _Policy(NamedTuple):
    """A policy as a network.

    Attributes:
        layers: weight (out, in) and bias (out,), or the name of an ONNX activation.
        sigma: the kind of its log σ: one of ``SIGMA_MODES``, or ``None`` where it has none.
        log_std: float32 (a,), where ``sigma`` is ``"learned"``.
        outputs: computes the agent's own outputs, by name, of observations float32 (B, o).
    """

    layers: list[Layer]
    sigma: str | None
    log_std: NDArray[np.float32] | None
    outputs: Moments


def export_run(
    run: str | Path,
    folder: str | Path,
    *,
    embeddings: str | Path | None = None,
    normalize: bool = False,
    decoder: str | None = None,
) -> dict[str, Any]:
    """Write the policy of a run and its items; the folder appears whole or not at all.

    ``policy.onnx`` maps ``observations``, float32 (batch, o), to ``action`` (batch, a) and, where σ
    is learnt, ``log_std`` (batch, a); ``items.npy`` is float32 (N, a) with rows of unit length,
    ``item_ids.npy`` (N,) their names, and ``export.json`` says what is what. Where the run learnt
    from an imported log whose numbers were measured, ``observations`` is float64 and has them as
    they are in the log, NaN where one is missing: the graph transforms them.

    Args:
        run: folder of a run, of one of our algorithms, or of an agent whose ``policy_network()``
            returns what ``act`` computes as a ``torch.nn.Sequential`` of Linear, ReLU, Tanh and
            Sigmoid.
        folder: must not be there yet.
        embeddings: see :func:`recsim_drpo.serving.recommender.items_of_run`.
        normalize: likewise.
        decoder: as of :func:`recsim_drpo.serving.recommender.load_recommender`; of an approximate
            one the index is written into the folder ``index``, with its parameters set.

    Returns:
        what is in ``export.json``.

    Raises:
        FileExistsError, FileNotFoundError, OSError: about the files.
        ValueError: onnx or onnxruntime is missing; no such decoder; the policy cannot be read as a
            network, or the network differs from what the agent does; as :func:`items_of_run`.
    """
    onnx, onnxruntime = _packages()
    check_new_folder(Path(folder))
    config = runs.load_config(run)
    agent = runs.load_agent(run)
    policy = _policy_of(agent, config["agent"])
    items = items_of_run(config, embeddings=embeddings, normalize=normalize)
    name = resolve_decoder(config["source"] if embeddings is None else Path(embeddings), decoder)
    check_decoder(name, items.num_items, items.dim)
    dims = config["observation_dim"], config["action_dim"]
    coder = _coder_of(config)
    with atomic_dir(Path(folder)) as partial:
        onnx.save(_model(onnx, policy, *dims, coder), partial / POLICY)
        difference = _largest_difference(onnxruntime, partial / POLICY, policy, dims[0], coder)
        np.save(partial / ITEMS, items.embeddings)
        np.save(partial / ITEM_IDS, items.item_ids)
        packages = {"onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__}
        description = _description(config, policy, difference, items, packages, coder)
        description |= _write_retrieval(partial / RETRIEVAL, items, name)
        text = json.dumps(description, indent=2, ensure_ascii=False) + "\n"
        (partial / DESCRIPTION).write_text(text, encoding="utf-8")
    return description


def _write_retrieval(folder: Path, items: Catalogue, name: str) -> dict[str, Any]:
    """Write the index of an approximate decoder, and return what is told of it, if it is one."""
    vectors = torch.from_numpy(np.array(items.embeddings))
    decoder = make_decoder(name, vectors)
    if is_exact(decoder):
        return {}
    index: Any = decoder
    write_index(folder, index.index, index.factory, items.checksum)
    return {
        RETRIEVAL: {
            "file": f"{RETRIEVAL}/{INDEX}",
            "decoder": index.name,
            "settings": index.settings,
            "recall_at_1": sampled_recall(decoder, vectors),
            "queries": "means of neighbouring items",
            "reading": "faiss.read_index(file).search(action / ‖action‖, k + 15) proposes; the "
            "order of what it proposes is that of decoding",
        }
    }


def _description(
    config: Mapping[str, Any],
    policy: _Policy,
    difference: float,
    items: Catalogue,
    packages: Mapping[str, str],
    coder: ContextCoder | None,
) -> dict[str, Any]:
    """The content of ``export.json``."""
    inputs = {"dtype": "float32", "shape": ["batch", config["observation_dim"]]}
    if "context" in config["source"]:  # of an imported log: what the dimensions are
        inputs |= config["source"]["context"]
    if coder is not None:
        inputs |= {"dtype": "float64", "shape": ["batch", _input_dim(coder)]}
        inputs |= {"layout": coder.layout}
    output = {"dtype": "float32", "shape": ["batch", config["action_dim"]]}
    return {
        "format": _FORMAT,
        "agent": config["agent"],
        "dataset": config["source"].get("dataset"),
        "policy": {
            "file": POLICY,
            "opset": _OPSET,
            "inputs": {"observations": inputs},
            "outputs": {name: dict(output) for name in _outputs(policy)},
            "sigma": policy.sigma,
            "largest_difference": difference,
        },
        "items": {
            "file": ITEMS,
            "dtype": "float32",
            "shape": list(items.embeddings.shape),
            "ids": ITEM_IDS,
            "ids_dtype": str(items.item_ids.dtype),
            "checksum": items.checksum,
        },
        "metric": "cosine",
        "decoding": "scores = items @ (action / ‖action‖) summed in float64, rounded to float32; "
        "largest first, ties: smaller row",
        "versions": {**versions(), **packages},
    }


def _coder_of(config: Mapping[str, Any]) -> ContextCoder | None:
    """The coder whose transforms are put into the graph; ``None`` where there are none."""
    context = config["source"].get("context")
    coder = None if context is None else ContextCoder.of_description(context)
    return coder if coder is not None and coder.coding and coder.numbers else None


def _input_dim(coder: ContextCoder) -> int:
    return sum(int(column["size"]) for column in coder.layout)


def _packages() -> tuple[Any, Any]:
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise ValueError('Exporting needs pip install "recsim-drpo[onnx]".') from error
    return onnx, onnxruntime


def _policy_of(agent: Agent, name: str) -> _Policy:
    if isinstance(agent, Learner):
        return _policy_of_learner(agent)
    if not callable(getattr(agent, "policy_network", None)):
        raise ValueError(
            f"The agent {name!r} cannot be read as a network: it is none of our algorithms and "
            "has no method policy_network() that returns a torch.nn.Sequential (docs/serving.md)."
        )
    network = agent.policy_network()  # type: ignore[attr-defined]
    layers = _layers_of(network, name)
    return _Policy(
        layers, None, None, lambda inputs: {"action": torch.as_tensor(agent.act(inputs))}
    )


def _policy_of_learner(agent: Learner) -> _Policy:
    prefix = "parameters."
    parameters = {
        key.removeprefix(prefix): value.to("cpu", torch.float32)
        for key, value in agent.state_dict().items()
        if key.startswith(prefix)
    }
    layers: list[Layer] = []
    for i in range(agent.config.num_hidden_layers + 1):
        if i > 0:
            layers.append("Relu")
        layers.append(
            (parameters[f"policy.weight_{i}"].numpy(), parameters[f"policy.bias_{i}"].numpy())
        )
    sigma = agent.config.sigma

    def outputs(inputs: Tensor) -> dict[str, Tensor]:
        mean = agent.act(inputs)
        log_std = policy_moments(parameters, inputs, sigma)[1].expand_as(mean)
        return {"action": mean} if sigma == "fixed" else {"action": mean, "log_std": log_std}

    learned = parameters["log_std"].numpy() if sigma == "learned" else None
    return _Policy(layers, sigma, learned, outputs)


def _layers_of(network: Any, name: str) -> list[Layer]:
    """The layers of a network, those of nested Sequentials in their place."""
    if isinstance(network, nn.Sequential):
        return [layer for module in network for layer in _layers_of(module, name)]
    if isinstance(network, nn.Linear):
        weight = network.weight.detach().to("cpu", torch.float32)
        bias = torch.zeros(len(weight)) if network.bias is None else network.bias.detach()
        return [(weight.numpy(), bias.to("cpu", torch.float32).numpy())]
    if type(network) in _ACTIVATIONS:
        return [_ACTIVATIONS[type(network)]]
    known = ", ".join(("Sequential", "Linear", *(kind.__name__ for kind in _ACTIVATIONS)))
    raise ValueError(
        f"The agent {name!r} cannot be read as a network: a {type(network).__name__} in its "
        f"policy_network() is none of {known}."
    )


def _outputs(policy: _Policy) -> tuple[str, ...]:
    return ("action", "log_std") if policy.sigma in ("learned", "state") else ("action",)


def _model(
    onnx: Any, policy: _Policy, observation_dim: int, action_dim: int, coder: ContextCoder | None
) -> Any:
    """The graph: the context's transform, Gemm and activations, then log σ as the policy has it."""
    helper, constant = onnx.helper, onnx.numpy_helper.from_array
    nodes: list[Any] = []
    constants: list[Any] = []
    value, kind = "observations", onnx.TensorProto.FLOAT
    if coder is not None:
        nodes, constants = context_nodes(onnx, coder, value)
        value, kind, observation_dim = CONTEXT, onnx.TensorProto.DOUBLE, _input_dim(coder)
    for i, layer in enumerate(policy.layers):
        following = "outputs" if i == len(policy.layers) - 1 else f"hidden_{i}"
        if isinstance(layer, str):
            nodes.append(helper.make_node(layer, [value], [following]))
        else:
            names = [f"weight_{i}", f"bias_{i}"]
            constants += [constant(array, name) for array, name in zip(layer, names, strict=True)]
            nodes.append(helper.make_node("Gemm", [value, *names], [following], transB=1))
        value = following
    if policy.sigma == "state":
        bounds = ["log_std_low", "log_std_high"]
        constants += [
            constant(np.array(bound, dtype=np.float32), name)
            for bound, name in zip(LOG_STD_RANGE, bounds, strict=True)
        ]
        halves = ["action", "raw_log_std"]
        nodes.append(helper.make_node("Split", ["outputs"], halves, axis=1, num_outputs=2))
        nodes.append(helper.make_node("Clip", ["raw_log_std", *bounds], ["log_std"]))
    else:
        nodes.append(helper.make_node("Identity", ["outputs"], ["action"]))
    if policy.log_std is not None:
        constants.append(constant(policy.log_std, "log_std_vector"))
        nodes.append(helper.make_node("Shape", ["action"], ["action_shape"]))
        nodes.append(helper.make_node("Expand", ["log_std_vector", "action_shape"], ["log_std"]))

    def described(name: str, dim: int, kind: Any = onnx.TensorProto.FLOAT) -> Any:
        return helper.make_tensor_value_info(name, kind, ["batch", dim])

    graph = helper.make_graph(
        nodes,
        "policy",
        [described("observations", observation_dim, kind)],
        [described(name, action_dim) for name in _outputs(policy)],
        constants,
    )
    opset = helper.make_opsetid("", _OPSET)
    model = helper.make_model(
        graph, producer_name="recsim_drpo", ir_version=_IR_VERSION, opset_imports=[opset]
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def _largest_difference(
    onnxruntime: Any,
    path: Path,
    policy: _Policy,
    observation_dim: int,
    coder: ContextCoder | None,
) -> float:
    """Largest difference of the file's outputs from the agent's; ``ValueError`` if too large."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(0)
    largest = 0.0
    for size in _CHECKED_BATCHES:
        rows: NDArray[Any]
        if coder is None:
            inputs = torch.randn(size, observation_dim, generator=generator)
            rows = inputs.numpy()
        else:
            rows = _likely_rows(coder, size, generator)
            inputs = torch.from_numpy(coder.transformed(rows))
        arrays = session.run(None, {"observations": rows})
        for array, (name, tensor) in zip(arrays, policy.outputs(inputs).items(), strict=True):
            expected = tensor.detach().to("cpu", torch.float64).numpy()
            scale = np.maximum(1.0, np.abs(expected))
            difference = float((np.abs(array - expected) / scale).max())
            if not difference <= TOLERANCE:
                raise ValueError(
                    f"The network's {name} differs from the agent's by {difference:.3g}, above "
                    f"{TOLERANCE:g}: the agent does something else as well; nothing is exported."
                )
            largest = max(largest, difference)
    return largest


def _likely_rows(coder: ContextCoder, size: int, generator: torch.Generator) -> NDArray[np.float64]:
    """Rows such as the log's for :meth:`.ContextCoder.transformed`, some numbers missing."""
    shape = size, _input_dim(coder)
    rows: NDArray[np.float64] = torch.rand(*shape, generator=generator).numpy().astype(np.float64)
    for column, coding in enumerate(coder.numbers.values()):
        normal = torch.randn(size, generator=generator, dtype=torch.float64).numpy()
        missing = rows[:, column] < _MISSING_SHARE
        rows[:, column] = (coding.mean or 0.0) + (coding.deviation or 1.0) * normal
        rows[missing, column] = np.nan
    return rows
