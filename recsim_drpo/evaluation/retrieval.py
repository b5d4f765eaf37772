"""What an approximate decoder costs a policy: the items that it misses, and their reward."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from recsim_drpo.reporting.statistics import Estimate


@dataclass(frozen=True)
class Retrieval:
    """An approximate decoder held against exact search, on the actions of one policy.

    Attributes:
        decoder: its name.
        recall: recall@1, the share of actions whose best item it finds; one as good counts.
        lost: what the policy's value would gain by exact search: the mean over the same users of
            the difference, in latent reward, of sessions in return.
        num_users: users that both are measured on.
    """

    decoder: str
    recall: Estimate
    lost: Estimate
    num_users: int

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers by name, for JSON."""
        return vars(self) | {"recall": self.recall._asdict(), "lost": self.lost._asdict()}

    def cells(self, what: str) -> dict[str, str]:
        """The cells of a table: text by the column's title, ``what`` being what is lost."""
        lost, low, high = self.lost
        return {
            "recall@1": f"{self.recall.value:.1%}",
            f"lost {what}": f"{lost:.4f} [{low:.4f}, {high:.4f}]",
        }

    def line(self, what: str) -> str:
        """A sentence under a table with these cells."""
        return (
            f"Items are found by {self.decoder}: recall@1, and the {what} that exact search would "
            f"gain, are of the first {self.num_users:,} users, the same for both."
        )
