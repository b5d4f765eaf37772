"""Frames of a recommendation: the catalogue in two dimensions, interest, action and item."""

from __future__ import annotations

import colorsys

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from recsim_drpo.simulator.catalogue import SimulatedCatalogue

_SIZE = 512
_MARGIN = 40
_SCALE = 2  # drawn so much larger, then reduced: smooth edges
_MAX_POINTS = 5_000
_INK = (20, 20, 20)
_ACTION = (214, 39, 40)
_INTEREST = (255, 180, 0)


class Renderer:
    """Draws frames of a catalogue projected on its two principal axes.

    Args:
        catalogue: at most 5,000 of its items, evenly spaced rows, are drawn.
    """

    def __init__(self, catalogue: SimulatedCatalogue) -> None:
        rows = np.linspace(0, catalogue.num_items - 1, min(catalogue.num_items, _MAX_POINTS))
        items = rows.round().astype(np.int64)
        vectors = np.asarray(catalogue.embeddings[items], dtype=np.float64)
        # Uncentred: a direction then has one place, whether it is an item, a user or an action.
        _, axes = np.linalg.eigh(vectors.T @ vectors)
        self._axes = axes[:, ::-1][:, :2]
        self._catalogue = catalogue
        points = vectors @ self._axes
        low, high = points.min(axis=0), points.max(axis=0)
        self._centre = (low + high) / 2
        self._span = max(float((high - low).max()), 1e-9) * 1.15
        self._backdrop = Image.new("RGB", (_SIZE * _SCALE, _SIZE * _SCALE), (255, 255, 255))
        draw = ImageDraw.Draw(self._backdrop)
        num_topics = len(catalogue.topic_centres)
        for point, topic in zip(points, catalogue.topics[items], strict=True):
            hue = colorsys.hls_to_rgb(topic / num_topics, 0.72, 0.55)
            x, y = self._pixel(point)
            draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=tuple(int(255 * c) for c in hue))

    def frame(
        self,
        interest: NDArray[np.floating],
        action: NDArray[np.floating] | None,
        item: int | None,
    ) -> NDArray[np.uint8]:
        """Frame of one recommendation, or of a user who waits for it.

        Args:
            interest: floating (d,), the user's latent interest.
            action: floating (d,); ``None`` before the step.
            item: row of the catalogue that the action decodes to, -1 for none; ``None`` before.

        Returns:
            uint8 (512, 512, 3).
        """
        picture = self._backdrop.copy()
        draw = ImageDraw.Draw(picture)
        x, y = self._pixel(interest @ self._axes)
        angles = np.pi * (np.arange(10) / 5 - 0.5)
        radii = np.where(np.arange(10) % 2 == 0, 20, 8)
        star = [(x + r * np.cos(a), y + r * np.sin(a)) for r, a in zip(radii, angles, strict=True)]
        draw.polygon(star, fill=_INTEREST, outline=_INK)
        labels = [("user's interest", _INTEREST)]
        length = 0.0 if action is None else float(np.linalg.norm(action.astype(np.float64)))
        if action is not None and np.isfinite(length) and length > 0:
            x, y = self._pixel(action.astype(np.float64) / length @ self._axes)
            draw.line((x - 14, y - 14, x + 14, y + 14), fill=_ACTION, width=6)
            draw.line((x - 14, y + 14, x + 14, y - 14), fill=_ACTION, width=6)
            labels.append(("action", _ACTION))
        if item is not None and item >= 0:
            x, y = self._pixel(self._catalogue.embeddings[item].astype(np.float64) @ self._axes)
            draw.ellipse((x - 18, y - 18, x + 18, y + 18), outline=_INK, width=5)
            labels.append((f"item {self._catalogue.item_ids[item]}", _INK))
        small = picture.resize((_SIZE, _SIZE), Image.Resampling.LANCZOS)
        draw = ImageDraw.Draw(small)
        for row, (text, colour) in enumerate(labels):
            top = 10 + 16 * row
            draw.rectangle((10, top + 1, 20, top + 11), fill=colour, outline=_INK)
            draw.text((26, top), text, fill=_INK)
        return np.asarray(small, dtype=np.uint8).copy()

    def _pixel(self, point: NDArray[np.float64]) -> tuple[float, float]:
        """Place of a projected point, float64 (2,), on the backdrop; far ones at its border."""
        x, y = (np.clip((point - self._centre) / self._span, -0.55, 0.55) + 0.5) * (
            _SIZE - 2 * _MARGIN
        ) + _MARGIN
        return float(x) * _SCALE, float(_SIZE - y) * _SCALE
