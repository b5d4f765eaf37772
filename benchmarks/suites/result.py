"""Results of a suite as a file: its schema, checked once when it is read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from recsim_drpo.benchmarks.reproduce.framework import compact
from recsim_drpo.benchmarks.reproduce.results import check_compact
from recsim_drpo.benchmarks.suites.suite import Tuned
from recsim_drpo.core.files import read_text, write_atomically
from recsim_drpo.core.messages import one_line, shown_path
from recsim_drpo.core.provenance import revision, versions

SCHEMA = "recsim-drpo-benchmark-1"
TUNED = get_args(Tuned)

Record = dict[str, Any]


class _SuiteName(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    name: str
    sha256: str


class _File(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    schema_name: Literal["recsim-drpo-benchmark-1"]
    suite: _SuiteName
    label: str
    agent: str
    hyperparameters: dict[str, Any]
    tuned_by: Tuned
    quick: bool
    exact_logs: bool
    seeds: list[int]
    execution: str
    command: str
    source: str
    revision: str
    versions: dict[str, str]
    records: dict[str, Any]
    reads: list[str] | None = None


@dataclass(frozen=True)
class Result:
    """What an agent did on a suite.

    Attributes:
        suite, sha256: name of the suite and checksum of its file.
        label: what tables call the agent.
        agent: the name that it is made by.
        hyperparameters: that are not its defaults.
        tuned_by: one of :data:`TUNED`, as its author states it.
        quick: whether it is a short run, which is no evidence.
        exact_logs: whether the logs were to the byte those of the suite.
        seeds: that were run.
        execution: of :class:`recsim_drpo.agents.engine.options.EngineOptions`.
        records: of its runs.
        command: that made it.
        source: where the agent's code is, as its author states it; may be empty.
        revision: of this package then; several, separated by commas, where a stopped run was gone
            on with at another one.
        versions: of libraries then.
        reads: what the agent reads of a log besides contexts, actions, rewards and ends: names of
            info columns, and ``catalogue``; ``None`` where it does not say, or the file is of
            before.
    """

    suite: str
    sha256: str
    label: str
    agent: str
    hyperparameters: Mapping[str, Any]
    tuned_by: str
    quick: bool
    exact_logs: bool
    seeds: tuple[int, ...]
    execution: str
    records: Sequence[Record]
    command: str
    source: str = ""
    revision: str = ""
    versions: Mapping[str, str] | None = None
    reads: Sequence[str] | None = None

    @property
    def strict(self) -> bool:
        """Whether no user had a part in it: hyper-parameters were chosen by nothing, or logs."""
        return self.tuned_by != "true-reward"

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        content = {
            "schema_name": SCHEMA,
            "suite": {"name": self.suite, "sha256": self.sha256},
            "label": self.label,
            "agent": self.agent,
            "hyperparameters": dict(self.hyperparameters),
            "tuned_by": self.tuned_by,
            "quick": self.quick,
            "exact_logs": self.exact_logs,
            "seeds": list(self.seeds),
            "execution": self.execution,
            "command": self.command,
            "source": self.source,
            "revision": self.revision or revision(),
            "versions": dict(self.versions or versions()),
            "records": compact.compacted(self.records, curves=True),
            "reads": None if self.reads is None else list(self.reads),
        }
        write_atomically(path, json.dumps(content, indent=1) + "\n")


def read(path: Path) -> Result:
    """The result that a file holds.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is of another shape; the message says where.
    """
    try:
        content = _File.model_validate(json.loads(read_text(path)))
        check_compact(content.records)
        records = compact.expanded(content.records)
    except (ValidationError, ValueError, TypeError, KeyError, IndexError) as error:
        raise ValueError(
            f"{shown_path(path)} is no result of a benchmark: {one_line(error)}."
        ) from error
    own = content.model_dump(exclude={"schema_name", "suite", "records", "seeds"})
    name, digest = content.suite.name, content.suite.sha256
    return Result(name, digest, seeds=tuple(content.seeds), records=records, **own)
