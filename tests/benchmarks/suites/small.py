"""A suite's file, of small logs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from recsim_drpo.benchmarks.reproduce.framework.compact import compacted
from recsim_drpo.benchmarks.reproduce.framework.study import Study
from recsim_drpo.benchmarks.suites.suite import first_facts


def suite_text(
    name: str, study: Study, references: Sequence[Mapping[str, Any]], **more: Any
) -> str:
    """The suite of what a study was run on, with its records as the references."""
    content = {
        "name": name,
        "title": "Two small logs.",
        "seeds": list(study.seeds),
        "training": {"steps": study.training.steps, "batch_size": study.training.batch_size},
        "num_test_users": study.num_test_users,
        "num_validation_users": study.num_validation_users,
        "rules": {"offline": "Logs alone.", "tuning": "None.", "references": "the defaults; here."},
        "conditions": [condition.as_dict() for condition in study.conditions],
        "logs": {
            c.label: {str(seed): first_facts(c, seed).model_dump() for seed in study.seeds}
            for c in study.conditions
        },
        "references": compacted(references),
        **more,
    }
    return json.dumps(content)
