"""A picture for people: what an agent sees, and a map of where it walked."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw

from dynalang_py.envs.vln.simulator import Floats, Pose, Simulator

SIDE = 240
"""Pixels of the view and of the map."""
SAMPLES = 6000
"""Points by which the floor is found."""
STOREY = 1.0
"""Metres above or below the agent within which a floor is its own."""
PAPER, FLOOR, WALKED, REFERENCE, GOAL = "#ffffff", "#d5d8de", "#2f6fde", "#1a9850", "#d7301f"


class FloorMap:
    """The floors of a scene from above, found by asking the simulator for places where one can stand."""

    def __init__(self, scene: Path, simulator: Simulator) -> None:
        """simulator: with the scene loaded."""
        self.scene = scene
        rng = np.random.default_rng(0)
        self._floor = np.array([simulator.random_point(rng) for _ in range(SAMPLES)])  # (SAMPLES, 3)

    def draw(
        self,
        view: NDArray[np.uint8],
        pose: Pose,
        path: Sequence[ArrayLike],
        reference: ArrayLike,
        goals: ArrayLike,
        radii: Sequence[float],
    ) -> NDArray[np.uint8]:
        """uint8 (SIDE, 2 · SIDE, 3): the view (H, W, 3), and the map with path, reference and goals, (N, 3) each."""
        whole = Image.new("RGB", (2 * SIDE, SIDE), PAPER)
        whole.paste(Image.fromarray(view).resize((SIDE, SIDE), Image.Resampling.BILINEAR), (0, 0))
        whole.paste(self._map(pose, np.array(path), np.asarray(reference), np.asarray(goals), radii), (SIDE, 0))
        return np.asarray(whole)

    def _map(self, pose: Pose, path: Floats, reference: Floats, goals: Floats, radii: Sequence[float]) -> Image.Image:
        card = Image.new("RGB", (SIDE, SIDE), PAPER)
        pen = ImageDraw.Draw(card)
        every = np.concatenate([self._floor, path, reference, goals])[:, [0, 2]]
        low, high = every.min(0) - 0.5, every.max(0) + 0.5
        scale = SIDE / (high - low).max()  # pixels per metre
        margin = (SIDE - scale * (high - low)) / 2

        def place(points: Floats) -> list[tuple[float, float]]:
            across = (np.atleast_2d(points)[:, [0, 2]] - low) * scale + margin
            return [(float(x), float(y)) for x, y in across]

        def disc(point: Floats, size: float, fill: str | None, outline: str | None = None) -> None:
            ((x, y),) = place(point)
            pen.ellipse((x - size, y - size, x + size, y + size), fill, outline)

        dot = max(1.0, 0.08 * scale)
        for x, y in place(self._floor[np.abs(self._floor[:, 1] - pose.position[1]) < STOREY]):
            pen.rectangle((x - dot, y - dot, x + dot, y + dot), fill=FLOOR)
        for goal, radius in zip(goals, radii, strict=True):
            disc(goal, radius * scale, None, GOAL)
            disc(goal, 3, GOAL)
        pen.line(place(reference), fill=REFERENCE, width=2)
        pen.line(place(path), fill=WALKED, width=2)
        right = np.cross(pose.ahead, [0.0, 1.0, 0.0])
        size = 8 / scale
        corners = [
            pose.position + size * pose.ahead,
            *(pose.position + size * (side * 0.6 * right - 0.6 * pose.ahead) for side in (1, -1)),
        ]
        pen.polygon(place(np.array(corners)), fill=WALKED)
        return card
