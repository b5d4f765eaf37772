"""Values that the paper published, read off its figures and tables; nothing here is ours."""

from __future__ import annotations

import numpy as np

OPTIMUM_ECPM = 2.0
"""Reference line of the plots: the optimal policy."""
TEACHER_ECPM = 1.0
"""Reference line: the logging policy of the ``medium`` scenario."""
RANDOM_NETWORK_ECPM = (0.15, 0.25)
"""Range of a randomly initialised policy network at the plots' left end."""

FIGURE_1_SHARES = np.arange(1, 10) / 10
"""Shares of the logs, best first, at which Figure 1 gives an eCPM."""
FIGURE_1 = np.array([42.3, 16.5, 8.5, 5.0, 3.0, 2.0, 1.0, 0.5, 0.2])
"""Average eCPM there; of a production system, so only its shape can be asked of a simulator."""

FIGURE_6B_RANKS = np.array([1, 150, 350, 550, 830, 1200, 2000, 3000, 4000, 5000])
FIGURE_6B = np.array([0.65, 0.50, 0.40, 0.30, 0.20, 0.15, 0.11, 0.08, 0.06, 0.02])
"""Value of the items at those ranks to one user; of another configuration: shape only."""
