"""Flat polygons as triangles: fans where they are convex, ears cut off one by one where they are not."""

import numpy as np
from numpy.typing import NDArray

MOST_CORNERS = 500
"""Of a polygon that is not convex: cutting ears takes the square of their number."""
LEVEL = 1e-9
"""Of a polygon's area: by so little a corner may bend inwards and still counts as straight."""


def triangulated(corners: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """corners: (P, N, 3) polygons of N corners each. Returns (P, N − 2, 3) which corners make triangles, and (P,) which
    polygons are not convex and have too many corners; of those nothing else is known.
    """
    count = corners.shape[1]
    fan = np.stack([np.zeros(count - 2, np.intp), np.arange(1, count - 1), np.arange(2, count)], 1)
    triangles = np.broadcast_to(fan, (len(corners), *fan.shape)).copy()
    if count == 3:
        return triangles, np.zeros(len(corners), bool)
    edges = np.roll(corners, -1, 1) - corners
    bends = np.cross(np.roll(edges, 1, 1), edges)  # (P, N, 3)
    around = corners - corners[:, :1]
    normal = np.cross(around, np.roll(around, -1, 1)).sum(1)  # (P, 3), twice the area long
    inward = np.einsum("pni,pi->pn", bends, normal) < -LEVEL * (normal**2).sum(-1, keepdims=True)
    bent = inward.any(1)
    if count > MOST_CORNERS:
        return triangles, bent
    for i in np.flatnonzero(bent):
        axes = np.delete(np.arange(3), np.abs(normal[i]).argmax())
        triangles[i] = _ears(corners[i][:, axes])
    return triangles, np.zeros(len(corners), bool)


def _ears(points: NDArray[np.float64]) -> list[tuple[int, int, int]]:
    """Triangles of a simple polygon (N, 2); where it crosses itself, a fan of what can't be cut."""
    x, y = points.T
    turn = np.sign((x * np.roll(y, -1) - y * np.roll(x, -1)).sum())
    left, triangles = list(range(len(points))), []

    def side(a: int, b: int, others: NDArray[np.float64]) -> NDArray[np.float64]:
        (ax, ay), (bx, by) = points[a], points[b]
        return turn * ((bx - ax) * (others[..., 1] - ay) - (by - ay) * (others[..., 0] - ax))

    def is_ear(k: int) -> bool:
        a, b, c = left[k - 1], left[k], left[(k + 1) % len(left)]
        if side(a, b, points[c]) <= 0:
            return False
        others = points[[i for i in left if i not in (a, b, c)]]
        within = (side(a, b, others) >= 0) & (side(b, c, others) >= 0) & (side(c, a, others) >= 0)
        # A corner may stand where one of the ear's own does: holes are joined to the outside that way.
        apart = (others[:, None] != points[[a, b, c]]).any(-1).all(-1)
        return not (within & apart).any()

    while len(left) > 3:
        k = next((k for k in range(len(left)) if is_ear(k)), None)
        if k is None:
            break
        triangles.append((left[k - 1], left[k], left[(k + 1) % len(left)]))
        del left[k]
    return triangles + [(left[0], left[k], left[k + 1]) for k in range(1, len(left) - 1)]
