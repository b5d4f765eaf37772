"""Serving what was learnt: the top items of contexts."""

from recsim_drpo.serving.recommender import Recommender, items_of_run, load_recommender

__all__ = [
    "Recommender",
    "items_of_run",
    "load_recommender",
]
