"""Answer requests for recommendations: what an online service does, without the web.

:mod:`recsim_drpo.serving.http` puts it behind HTTP. A request names one or many contexts, an answer
has for each its top items with scores and propensities.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from recsim_drpo.core.config import Config, Count, NonNegative, Positive
from recsim_drpo.core.json_text import json_value
from recsim_drpo.core.messages import one_line
from recsim_drpo.core.validation import check_integer, unknown_name
from recsim_drpo.serving.exploration import Exploration, Shown
from recsim_drpo.serving.readers import contexts_of
from recsim_drpo.serving.recommender import Recommender
from recsim_drpo.serving.rules import ItemRules, Rules
from recsim_drpo.simulator.decoder import NO_ITEM

_KEYS = ("contexts", "context", "k", "candidates", "exclude")


@dataclass(frozen=True)
class ServiceLimits(Config):
    """What a request may ask for.

    Attributes:
        k: items a context, where the request does not say.
        max_k: at most so many.
        max_contexts: at most so many contexts in a request.
        max_bytes: at most so long a request's body.
        timeout: seconds in which a request is read and its turn comes.
        max_waiting: at most so many requests that wait for their turn; others are sent away.
        max_batch: at most so many contexts of several requests that are calculated together; 1:
            each request by itself.
        batch_window: seconds that are waited, while requests come together, for more of them.
    """

    k: Count = 10
    max_k: Count = 100
    max_contexts: Count = 1_024
    max_bytes: Count = 2**20
    timeout: Positive = 5.0
    max_waiting: Count = 64
    max_batch: Count = 64
    batch_window: NonNegative = 0.001

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("k", self.k, 1, self.max_k)


class Request(NamedTuple):
    """What is asked for.

    Attributes:
        contexts: (B,) lists of numbers, or values by column.
        k: items a context.
        candidates: (B,) lists of item ids that may be shown, or ``None``.
        exclude: (B,) lists of item ids that may not, or ``None``.
    """

    contexts: list[Any]
    k: int
    candidates: list[Any] | None
    exclude: list[Any] | None


class _Coded(NamedTuple):
    """A request among others, with its contexts, float32 (B, o)."""

    place: int
    request: Request
    contexts: NDArray[np.float32]


class Model(NamedTuple):
    """A run that is served.

    Attributes:
        recommender: of the run.
        items: the rules about its items.
        about: what it is, for who asks.
    """

    recommender: Recommender
    items: ItemRules
    about: dict[str, Any]


class Service:
    """Serves a run, and another one once it is loaded; may be asked from several threads.

    Args:
        load: loads the run anew, with what is to be told of it.
        limits: of requests.
        exploration: how items are drawn; ``None``: the best are shown, with propensity 1.
        rules: about all requests.

    Attributes:
        limits, exploration: as given.

    Raises:
        ValueError: what ``load`` raises, or a rule's file or ``k`` does not fit the run's items.
    """

    def __init__(
        self,
        load: Callable[[], tuple[Recommender, dict[str, Any]]],
        limits: ServiceLimits | None = None,
        exploration: Exploration | None = None,
        rules: Rules | None = None,
    ) -> None:
        self.limits, self.exploration = limits or ServiceLimits(), exploration
        self._load, self._rules = load, rules or Rules()
        self._lock, self._loading, self._next = threading.Lock(), threading.Lock(), 0
        self._model = self._loaded()

    @property
    def about(self) -> dict[str, Any]:
        """What is served: the run, its items and when it was loaded."""
        return dict(self._model.about)

    def reload(self) -> dict[str, Any]:
        """Load the run anew; requests go on with the former one until it is there, and if it fails.

        Returns:
            what is now served.

        Raises:
            FileNotFoundError, ImportError, TypeError, ValueError: it cannot be loaded.
        """
        with self._loading:
            self._model = self._loaded()
        return self.about

    def _loaded(self) -> Model:
        recommender, about = self._load()
        num_items = recommender.items.num_items
        check_integer("k", self.limits.k, 1, num_items)
        if self.exploration is not None:
            self.exploration.check_depth(self.limits.k, num_items)
        items = ItemRules(self._rules, recommender.items.item_ids, device=recommender.device)
        return Model(recommender, items, {**about, "loaded_at": time.time()})

    def parse(self, body: bytes) -> Request:
        """The request that is in a body of JSON.

        Raises:
            ValueError: it is none, or asks for more than there is.
        """
        try:
            content = json_value(body)
        except ValueError as error:
            raise ValueError(f"The request is not JSON ({one_line(error)}).") from error
        if not isinstance(content, dict):
            raise ValueError("The request is not an object with 'contexts'.")
        for name in content:
            if name not in _KEYS:
                raise unknown_name("key of the request", name, _KEYS)
        if ("context" in content) == ("contexts" in content):
            raise ValueError("The request needs 'contexts', a list, or one 'context'.")
        one = "context" in content
        contexts = [content["context"]] if one else content["contexts"]
        if not isinstance(contexts, list) or not contexts:
            raise ValueError("'contexts' is a list of at least one.")
        check_integer("number of contexts", len(contexts), 1, self.limits.max_contexts)
        k = content.get("k", self.limits.k)
        highest = min(self.limits.max_k, self._model.recommender.items.num_items)
        check_integer("k", k, 1, highest)
        lists = []
        for name in ("candidates", "exclude"):
            value = content.get(name)
            value = [value] if one and value is not None else value
            lists.append(_checked_lists(name, value, len(contexts)))
        return Request(contexts, k, *lists)

    def answer(self, request: Request) -> dict[str, Any]:
        """The top items of each context.

        Raises:
            ValueError: contexts are not what the policy takes, or a candidate is no item.
        """
        (answer,) = self.answers([request])
        if isinstance(answer, Exception):
            raise answer
        return answer

    def answers(self, requests: Sequence[Request]) -> list[dict[str, Any] | Exception]:
        """What :meth:`answer` gives or raises of each of some requests, calculated together.

        Those that ask for as many items, and alike for candidates, are one pass of the policy and
        one search. An answer is that of its request alone, but for the last bits of the network's
        sums, which depend on how many contexts go through it at once.
        """
        model = self._model  # the same throughout, whatever is loaded meanwhile
        answers: list[dict[str, Any] | Exception] = []
        groups: dict[tuple[int, bool, bool], list[_Coded]] = {}
        for place, request in enumerate(requests):
            answers.append({})
            try:
                coded = _Coded(place, request, _coded(model.recommender, request.contexts))
            except ValueError as error:
                answers[place] = error
                continue
            lists = request.candidates is None, request.exclude is None
            groups.setdefault((request.k, *lists), []).append(coded)
        for group in groups.values():
            found = self._ranked(model, group)
            for coded, answer in zip(group, found, strict=True):
                answers[coded.place] = answer
        return answers

    def _ranked(self, model: Model, group: Sequence[_Coded]) -> list[dict[str, Any] | Exception]:
        """The answers to requests of one kind; an error is told to the one whose it is."""
        try:
            shown, first = self._shown(model, group)
        except ValueError as error:
            if len(group) == 1:
                return [error]
            return [answer for one in group for answer in self._ranked(model, [one])]
        ids = model.recommender.items.item_ids[shown.rows.cpu().numpy()].tolist()
        scores, propensities = shown.scores.cpu().numpy(), shown.propensities.tolist()
        lists = [
            [
                # Of a float32 the shortest decimal.
                {"item_id": item, "score": float(str(score)), "propensity": propensity}
                for item, row, score, propensity in zip(*columns, strict=True)
                if row != NO_ITEM
            ]
            for columns in zip(ids, shown.rows.tolist(), scores, propensities, strict=True)
        ]
        answers: list[dict[str, Any] | Exception] = []
        start = 0
        for one in group:
            end = start + len(one.contexts)
            draw = {} if first is None else {"first_draw": first + start}
            answers.append({"run": model.about["run"], **draw, "recommendations": lists[start:end]})
            start = end
        return answers

    def _shown(self, model: Model, group: Sequence[_Coded]) -> tuple[Shown, int | None]:
        """Items for all contexts of requests, and the number of the first where they are drawn."""
        contexts = np.concatenate([one.contexts for one in group])
        candidates = _joined([one.request.candidates for one in group])
        exclude = _joined([one.request.exclude for one in group])
        allowed, cap = model.items.allowed((), candidates, exclude), model.items.cap
        k = group[0].request.k
        if self.exploration is None:
            scores, rows = model.recommender.top(contexts, k, allowed=allowed, cap=cap)
            return Shown(scores, rows, torch.ones(rows.shape, dtype=torch.float64)), None
        with self._lock:  # numbers that no other request has
            first = self._next
            self._next += len(contexts)
        shown = model.recommender.show(
            contexts, k, self.exploration, first=first, allowed=allowed, cap=cap
        )
        return shown, first


def _joined(lists: Sequence[list[Any] | None]) -> list[Any] | None:
    """Lists one after another; either all are there or none is."""
    return None if lists[0] is None else [entry for one in lists for entry in one or ()]


def _as_float(value: float) -> float:
    """A number in double precision, infinite where it is an integer beyond that."""
    try:
        return float(value)
    except OverflowError:
        return np.inf


def _checked_lists(name: str, value: Any, length: int) -> list[Any] | None:
    if value is None:
        return None
    if (
        not isinstance(value, list)
        or len(value) != length
        or not all(isinstance(entry, list) for entry in value)
    ):
        raise ValueError(f"'{name}' is a list of item ids for each of the {length} contexts.")
    return value


def _coded(recommender: Recommender, contexts: Sequence[Any]) -> NDArray[np.float32]:
    """Contexts as float32 (B, o), finite."""
    if all(isinstance(context, Mapping) for context in contexts):
        if recommender.coding is None:
            raise ValueError(
                "Contexts with named values are for a policy that learnt from an imported log; "
                f"this one takes lists of {recommender.observation_dim} numbers."
            )
        return contexts_of(contexts, recommender.coding)
    dim = recommender.observation_dim
    for number, context in enumerate(contexts):
        if not isinstance(context, list) or len(context) != dim:
            raise ValueError(f"Context {number} is not a list of {dim} numbers.")
    numbers = (int, float)
    if any(type(value) not in numbers for context in contexts for value in context):
        raise ValueError("Contexts hold something that is no number.")
    with np.errstate(over="ignore"):
        values = np.array([[_as_float(x) for x in context] for context in contexts])
        values = values.astype(np.float32)
    finite = np.isfinite(values).all(axis=1)
    if not finite.all():
        number = int((~finite).argmax())
        raise ValueError(f"Context {number} is not of finite numbers of single precision.")
    return values
