"""Write packs of rounds as Minari does, with contexts of zeros and ones compressed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import h5py
import numpy as np
from minari.data_collector import EpisodeBuffer
from minari.dataset.minari_storage import MinariStorage

from recsim_drpo.datasets.importing.coding import ContextCoder

_CHUNK = 2**18
_LEVEL = 1  # of zlib: zeros shrink as much by the quickest


class PackWriter:
    """Appends packs of rounds to a Minari dataset, new or there already.

    Where most dimensions of a context are zeros and ones, observations are compressed (gzip, which
    every reader of HDF5 reads by itself): 20,000 rows of 900 categories take 1.4 MB, not 75.

    Args:
        folder: of the dataset's data; is made where it is not there.
        coder: of the contexts.
        action_dim: of an item's vector.

    Attributes:
        storage: Minari's.
    """

    def __init__(self, folder: Path, coder: ContextCoder, action_dim: int) -> None:
        self._file, self._dim = folder / "main_data.hdf5", coder.dim
        self._compressed = coder.dim > 2 * len(coder.numbers)
        self._count = 0
        if folder.is_dir():
            self.storage = MinariStorage.read(folder)
            self._count = int(self.storage.total_episodes)
            return
        folder.mkdir()
        self.storage = MinariStorage.new(
            folder,
            observation_space=gym.spaces.Box(-np.inf, np.inf, (coder.dim,), np.float32),
            action_space=gym.spaces.Box(-1.0, 1.0, (action_dim,), np.float32),
            data_format="hdf5",
        )

    def write(self, pack: EpisodeBuffer) -> None:
        """Append a pack as one episode."""
        if self._compressed:  # Minari appends to what it finds under the episode's name
            with h5py.File(self._file, "a", track_order=True) as file:
                file.create_dataset(
                    f"episode_{self._count}/observations",
                    shape=(0, self._dim),
                    maxshape=(None, self._dim),
                    dtype=np.float32,
                    chunks=(max(1, _CHUNK // self._dim), self._dim),
                    compression="gzip",
                    compression_opts=_LEVEL,
                )
            pack = replace(pack, id=self._count)
        self.storage.update_episodes([pack])
        self._count += 1
