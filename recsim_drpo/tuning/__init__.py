"""Search for an agent's hyper-parameters by Optuna: the extra ``sweep``."""
