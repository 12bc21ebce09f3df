"""Do both simulators see and walk the same, and how fast? Makes houses, compares, and prints the figures as JSON.

    python scripts/agree.py --picture docs/agreement.png > results/simulators.json

Needs habitat-sim: in this interpreter, or in the one that DYNALANG_HABITAT_PYTHON names.
"""

import argparse
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any, cast

import numpy as np
import trimesh
from numpy.typing import NDArray
from PIL import Image

from dynalang_py.envs import VLNConfig, make_vector
from dynalang_py.envs.vln.episodes import STOP
from dynalang_py.envs.vln.expert import Expert
from dynalang_py.envs.vln.houses.dataset import HousesConfig, make_dataset
from dynalang_py.envs.vln.houses.furnish import Supplier
from dynalang_py.envs.vln.houses.house import make_house, write_scene
from dynalang_py.envs.vln.houses.plan import LEVELS
from dynalang_py.envs.vln.houses.suppliers import find_supplier
from dynalang_py.envs.vln.simulator import Body, Camera, Pose, Simulator, SimulatorName, make_simulator
from dynalang_py.envs.vln.stage import stage_file

PAIR = ("embree", "habitat")
EXPERT = Expert()
VIEWS = 30
"""Places per house."""
FINE = 200_000
"""Triangles that the finest scene has at least: a scan's."""
WORKERS = (0, 1, 2, 4)
"""Processes of one environment each, whose speed is measured; 0: one environment in the script's own."""


@dataclass
class Found:
    """What was compared, an entry for each picture, pair of points, or walk."""

    depth: list[NDArray[Any]] = field(default_factory=list)
    """(H, W) metres of difference; inf where only one hit something."""
    rgb: list[float] = field(default_factory=list)
    """Mean difference of a picture, of 255."""
    geodesic: list[float] = field(default_factory=list)
    """Difference in proportion; inf where only one finds a way."""
    expert: list[float] = field(default_factory=list)
    """Metres between the ends of the same actions: those of an expert who walks in the one or in the other."""
    random: list[float] = field(default_factory=list)
    """The same for 40 random actions, more than half of whose steps are into something."""

    def figures(self) -> dict[str, float]:
        depth = np.array(self.depth)
        figures: dict[str, float] = {
            "pictures": len(depth),
            "depth, share within 1 mm": (depth < 1e-3).mean(),
            "depth, median in m": np.median(depth),
            "depth, 99.9 % in m": np.quantile(depth, 0.999, method="lower"),
            "rgb, mean of 255": np.mean(self.rgb),
            "rgb, worst picture": np.max(self.rgb),
            "ways": len(self.geodesic),
            "geodesic, share within 5 %": np.mean(np.array(self.geodesic) < 0.05),
            "geodesic, mean": np.mean(self.geodesic),
            "geodesic, worst": np.max(self.geodesic),
        }
        for name, ends in (("expert", np.array(self.expert)), ("random", np.array(self.random))):
            figures |= {
                f"{name} walks": len(ends),
                f"{name} walks, share within 10 cm": (ends < 0.1).mean(),
                f"{name} walks, median in m": np.median(ends),
                f"{name} walks, worst in m": ends.max(),
            }
        return {name: float(figure) for name, figure in figures.items()}


def make_pair() -> tuple[Simulator, Simulator]:
    """Both simulators, without lights."""
    one, other = (make_simulator(name, Camera(), Body(), shade=False) for name in PAIR)
    return one, other


def make_scenes(folder: Path, count: int, furniture: Supplier) -> list[Path]:
    """Scenes of `count` houses of each level."""
    scenes = []
    for level in LEVELS:
        for number in range(count):
            name = f"{level}_{number}"
            write_scene(make_house(name, level, f"agree/{name}", furniture), furniture, folder / name)
            scenes.append(folder / name / f"{name}.glb")
    return scenes


def refine(scene: Path, triangles: int) -> Path:
    """The scene with every triangle cut in four, again and again, until it has as many; written beside it."""
    loaded = trimesh.load_scene(scene)
    while faces(loaded) < triangles:
        for name, mesh in list(loaded.geometry.items()):
            loaded.geometry[name] = mesh.subdivide()
    fine = scene.with_stem(f"{scene.stem}_fine")
    loaded.export(fine)
    shutil.copy(stage_file(scene), stage_file(fine))
    return fine


def faces(scene: trimesh.Scene) -> int:
    """Triangles of all parts."""
    return sum(len(mesh.faces) for mesh in scene.geometry.values())


def compare(pair: tuple[Simulator, Simulator], scene: Path, found: Found, views: int = VIEWS, seed: int = 0) -> None:
    """Look, measure and walk in both from the same places."""
    rng = np.random.default_rng(seed)
    for simulator in pair:
        simulator.load(scene)
    points = [pair[0].random_point(rng) for _ in range(views)]
    for point, goal in zip(points, points[1:] + points[:1], strict=True):
        pose = Pose.at(point, yaw=float(rng.uniform(-180, 180)))
        one, other = look(pair, pose)
        apart = np.abs(one["depth"] - other["depth"])
        found.depth.append(np.where((one["depth"] > 0) == (other["depth"] > 0), apart, np.inf))
        found.rgb.append(float(np.abs(one["rgb"].astype(float) - other["rgb"]).mean()))
        lengths = [simulator.geodesic(point, goal) for simulator in pair]
        if min(lengths) < np.inf:
            found.geodesic.append(abs(lengths[0] - lengths[1]) / max(*lengths, 0.5))
        elif max(lengths) < np.inf or lengths[0] != lengths[1]:
            found.geodesic.append(np.inf)
        for leader in pair:
            found.expert.append(walk(pair, pose, lambda: EXPERT.act(leader, goal)))  # noqa: B023
        actions = iter(rng.choice([1, 1, 2, 3], 40).tolist())
        found.random.append(walk(pair, pose, lambda: next(actions, 0)))  # noqa: B023


def look(pair: tuple[Simulator, Simulator], pose: Pose) -> list[dict[str, NDArray[Any]]]:
    """What both see from there."""
    for simulator in pair:
        simulator.set_pose(pose)
    return [simulator.observe() for simulator in pair]


def walk(pair: tuple[Simulator, Simulator], start: Pose, act: Callable[[], int]) -> float:
    """Do the same in both until `act` says stop. Returns the metres between the ends."""
    for simulator in pair:
        simulator.set_pose(start)
    for _ in range(500):
        action = act()
        if action == STOP:
            break
        for simulator in pair:
            EXPERT.move(simulator, action)
    return float(np.linalg.norm(pair[0].pose.position - pair[1].pose.position))


def time_it(simulator: Simulator, scene: Path, seconds: float = 2.0) -> dict[str, float]:
    """Observations, and steps with an observation each, per second of the clock: the best of three rounds."""
    found = {}
    simulator.load(scene)
    rng = np.random.default_rng(0)
    simulator.set_pose(Pose.at(simulator.random_point(rng)))
    actions = rng.choice([1, 1, 2, 3], 100_000).tolist()
    for name, step in (("observations/s", False), ("steps/s", True)):
        best = 0.0
        for _ in range(3):
            count, begin = 0, time.perf_counter()
            while (spent := time.perf_counter() - begin) < seconds:
                if step:
                    EXPERT.move(simulator, actions[count])
                else:
                    simulator.turn(7)
                simulator.observe()
                count += 1
            best = max(best, count / spent)
        found[name] = best
    return found


def time_loading(scene: Path) -> dict[str, float]:
    """Seconds that a new process takes to load a scene in embree: never seen before, and when it lies in the cache."""
    found = {}
    for when in ("first, s", "cached, s"):
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            found[when] = pool.submit(_load, scene).result()
    return found


def _load(scene: Path) -> float:
    simulator = make_simulator("embree", Camera(), Body())
    begin = time.perf_counter()
    simulator.load(scene)
    return time.perf_counter() - begin


def time_tasks(data: Path, name: str, workers: int, seconds: float = 5.0) -> float:
    """Steps of the whole task, instruction and rewards included, per second: environments in a process each.

    0 workers: one environment in this process.
    """
    config = VLNConfig(data=data, simulator=cast(SimulatorName, name), shade=False)
    rng = np.random.default_rng(0)
    with make_vector(config, max(1, workers), processes=workers > 0) as envs:
        envs.reset(0)
        best = 0.0
        for _ in range(3):
            count, begin = 0, time.perf_counter()
            while (spent := time.perf_counter() - begin) < seconds / 3:
                envs.step(rng.integers(1, 4, envs.num_envs))  # never a stop
                count += envs.num_envs
            best = max(best, count / spent)
    return best


def picture(pair: tuple[Simulator, Simulator], scenes: list[Path], path: Path, side: int = 192, rows: int = 3) -> None:
    """A row per view: embree, habitat, and how far their depths are apart (black nothing, white 1 mm and more)."""
    lines = []
    rng = np.random.default_rng(3)
    for scene in scenes[-rows:]:
        for simulator in pair:
            simulator.load(scene)
        views = []
        for _ in range(20):
            place = Pose.at(pair[0].random_point(rng), yaw=float(rng.uniform(-180, 180)))
            views.append((look(pair, place)[0]["depth"].mean(), place))
        one, other = look(pair, max(views, key=lambda view: view[0])[1])  # the one that sees furthest
        apart = np.clip(np.abs(one["depth"] - other["depth"]) * 1000, 0, 1)
        grey = np.rint(apart * 255).astype(np.uint8)[..., None].repeat(3, -1)
        lines.append(np.concatenate([one["rgb"], other["rgb"], grey], 1))
    image = Image.fromarray(np.concatenate(lines))
    image.resize((3 * side, rows * side), Image.Resampling.NEAREST).save(path, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--houses", type=int, default=4, help="of each level")
    parser.add_argument("--furniture", default="builtin", help="as of `dynalang houses`")
    parser.add_argument("--picture", type=Path, help="write both views side by side, as PNG")
    options = parser.parse_args()
    pair, found = make_pair(), Found()
    with tempfile.TemporaryDirectory() as folder:
        supplier = find_supplier(options.furniture)
        scenes = make_scenes(Path(folder), options.houses, supplier)
        for scene in scenes:
            compare(pair, scene, found)
        os.environ["XDG_CACHE_HOME"] = folder  # where no scene lies yet
        sizes = {"small": scenes[0], "large": scenes[-1], "fine": refine(scenes[-1], FINE)}
        triangles = {size: faces(trimesh.load_scene(scene)) for size, scene in sizes.items()}
        loading = {f"{size} house": time_loading(scene) for size, scene in sizes.items()}
        speeds = {
            f"{name}, {size} house": time_it(simulator, scene)
            for size, scene in sizes.items()
            for name, simulator in zip(PAIR, pair, strict=True)
        }
        if options.picture:
            picture(pair, scenes, options.picture)
        for simulator in pair:
            simulator.close()
        data = Path(folder) / "data"
        make_dataset(
            HousesConfig(out=data, train=2, val_unseen=1, paths=4, val_seen_paths=1, furniture=options.furniture)
        )
        tasks = {
            name: {"in this process" if not n else f"{n} workers": time_tasks(data, name, n) for n in WORKERS}
            for name in PAIR
        }
    figures = {
        "houses": len(scenes),
        "furniture": type(supplier).__name__,
        "triangles": triangles,
        "agreement": found.figures(),
        "speed": speeds,
        "loading in embree": loading,
        "task, steps/s": tasks,
        "cores": os.cpu_count(),
    }
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
