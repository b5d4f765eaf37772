from .exploration import Exploration as Exploration
from .onnx_export import export_run as export_run
from .recommender import (
    Recommender as Recommender,
    items_of_run as items_of_run,
    load_recommender as load_recommender,
)
from .rules import Rules as Rules
