"""The side of simulator `habitat` that touches habitat-sim, in a process of its own (see habitat.py).

It is run as a file by an interpreter that may know nothing of dynalang_py: Python 3.9 or newer, numpy and habitat_sim
0.3 are all it needs. A command is a line of JSON, {"do": name, ...}, an answer another one: {"value": ...} or
{"error": sentence}. Frames don't go through the pipe: they lie in a file that both sides have mapped into memory.

Nothing is remembered but the open scene: every command brings the position that it is about.
"""

from __future__ import annotations

import contextlib
import json
import math
import mmap
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

CELL, CELL_HEIGHT = 0.025, 0.02
"""Metres, across and up, in which a navigation mesh is computed. Habitat's defaults, 0.05 and 0.2, keep the agent 15
instead of 10 cm off walls, and lift it, with its camera, 10 to 30 cm off the floor."""
ISLAND = 1.0
"""Side in metres of the smallest floor that counts, as by Habitat's default."""


class Worker:
    """settings: the fields of `Camera` and `Body` as "camera" and "body", and the number of the GPU as "gpu"."""

    def __init__(self, settings: dict[str, Any], frame: mmap.mmap) -> None:
        import habitat_sim
        import magnum
        import numpy

        self.habitat, self.magnum, self.numpy = habitat_sim, magnum, numpy
        self.camera, self.body, self.gpu = settings["camera"], settings["body"], settings["gpu"]
        height, width = self.camera["height"], self.camera["width"]
        count = height * width
        self.depth = numpy.frombuffer(frame, numpy.float32, count).reshape(height, width)
        self.rgb = numpy.frombuffer(frame, numpy.uint8, 3 * count, offset=4 * count).reshape(height, width, 3)
        self.island = 0
        self.simulator: Any = None
        with plain_folder():
            self.mediator = habitat_sim.metadata.MetadataMediator()
        self._open("NONE", None)  # a graphics driver that is missing is told now, and not in the middle of a run

    def load(self, scene: str, up: list[float], front: list[float], navmesh: str) -> str:
        """Open a scene. Returns why it can't be used; empty if it can."""
        self._open(scene, (up, front))
        finder = self.simulator.pathfinder
        if not (navmesh and finder.load_nav_mesh(navmesh) and self._fits(finder.nav_mesh_settings)):
            self.simulator.recompute_navmesh(finder, self._wanted())
        if not finder.is_loaded or not finder.navigable_area > 0:
            return "nobody can stand in it"
        self.island = max(range(finder.num_islands), key=finder.island_area)
        return ""

    def observe(self, position: list[float], rotation: list[float]) -> None:
        """Draw what is seen from there into the shared frame."""
        x, y, z, w = rotation
        node = self.simulator.get_agent(0).scene_node
        node.translation = self.magnum.Vector3(*position)
        node.rotation = self.magnum.Quaternion((x, y, z), w)
        seen = self.simulator.get_sensor_observations()
        self.rgb[...] = seen["rgb"][..., :3]
        if self.camera["depth"]:
            self.depth[...] = seen["depth"]

    def step(self, start: list[float], end: list[float]) -> list[float]:
        """Where a step ends that begins at `start` and goes straight to `end`."""
        finder = self.simulator.pathfinder
        walk = finder.try_step if self.body["sliding"] else finder.try_step_no_sliding
        return _point(walk(self.numpy.array(start), self.numpy.array(end)))

    def path(self, start: list[float], end: list[float]) -> tuple[float, list[list[float]]]:
        """Length of the shortest way in metres, inf if there is none, and its corners."""
        path = self.habitat.ShortestPath()
        path.requested_start, path.requested_end = self.numpy.array(start), self.numpy.array(end)
        found = self.simulator.pathfinder.find_path(path)
        return (path.geodesic_distance, [_point(corner) for corner in path.points]) if found else (math.inf, [])

    def random_point(self, seed: int) -> list[float]:
        """A point of the largest connected area."""
        finder = self.simulator.pathfinder
        finder.seed(seed)
        return _point(finder.get_random_navigable_point(max_tries=100, island_index=self.island))

    def snap(self, point: list[float]) -> list[float] | None:
        """The nearest point where one can stand; None if none is near."""
        found = _point(self.simulator.pathfinder.snap_point(self.numpy.array(point)))
        return found if all(map(math.isfinite, found)) else None

    def _open(self, scene: str, frame: tuple[list[float], list[float]] | None) -> None:
        # Anew for each scene: habitat-sim's own reconfigure() never lets go of the meshes of former ones.
        if self.simulator is not None:
            self.simulator.close()
        if frame is not None:
            stages = self.mediator.stage_template_manager
            stage = stages.create_new_template(scene, False)  # not by what may lie beside it, which we have read
            stage.render_asset_handle = stage.collision_asset_handle = scene
            stage.orient_up, stage.orient_front = (self.magnum.Vector3(*axis) for axis in frame)
            stage.force_flat_shading = True
            stages.register_template(stage, scene)
        backend = self.habitat.SimulatorConfiguration()
        backend.scene_id = scene
        backend.gpu_device_id = self.gpu
        backend.enable_physics = False
        backend.override_scene_light_defaults = True
        backend.scene_light_setup = self.habitat.gfx.NO_LIGHT_KEY
        agent = self.habitat.AgentConfiguration()
        agent.sensor_specifications = [self._sensor("rgb", self.habitat.SensorType.COLOR)]
        if self.camera["depth"]:
            agent.sensor_specifications.append(self._sensor("depth", self.habitat.SensorType.DEPTH))
        self.simulator = self.habitat.Simulator(self.habitat.Configuration(backend, [agent], self.mediator))

    def _sensor(self, name: str, kind: Any) -> Any:
        spec = self.habitat.CameraSensorSpec()
        spec.uuid, spec.sensor_type = name, kind
        spec.resolution = [self.camera["height"], self.camera["width"]]
        spec.hfov = self.camera["hfov"]
        spec.position = [0.0, self.camera["above_floor"], 0.0]
        return spec

    def _wanted(self) -> Any:
        wanted = self.habitat.NavMeshSettings()
        wanted.agent_radius, wanted.agent_height = self.body["radius"], self.body["height"]
        wanted.agent_max_climb = self.body["climb"]
        wanted.cell_size, wanted.cell_height = CELL, CELL_HEIGHT
        wanted.region_min_size = wanted.region_merge_size = ISLAND / CELL
        return wanted

    def _fits(self, given: Any) -> bool:
        """Whether a navigation mesh that was made with these settings is one for our body."""
        wanted = self._wanted()
        names = ("agent_radius", "agent_height", "agent_max_climb")
        return all(abs(getattr(given, name) - getattr(wanted, name)) < 1e-4 for name in names)


@contextlib.contextmanager
def plain_folder() -> Iterator[None]:
    """Stand in a folder whose files name no pictures for image-based lighting (IBL).

    Nothing here is lit, and on a processor habitat-sim would prepare those pictures for 20 s at every start.
    """
    here = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(os.path.join(folder, "data"))
        with open(os.path.join(folder, "data", "default.pbr_config.json"), "w") as file:
            json.dump({"enable_ibl": False, "ibl_blut_filename": "no IBL", "ibl_envmap_filename": "no IBL"}, file)
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(here)


def _point(vector: Any) -> list[float]:
    return [float(vector[0]), float(vector[1]), float(vector[2])]


def main() -> None:
    """Arguments: file descriptors of commands, answers and the frame, and the settings as JSON."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the one that started this decides
    del sys.path[0]  # this folder: its modules have common names, and habitat-sim means others
    commands, answers, frame = map(int, sys.argv[1:4])
    settings = json.loads(sys.argv[4])
    with os.fdopen(commands) as inbox, os.fdopen(answers, "w") as outbox:

        def answer(**said: Any) -> None:
            outbox.write(json.dumps(said) + "\n")
            outbox.flush()

        try:
            worker = Worker(settings, mmap.mmap(frame, 0))
        except ImportError as error:
            answer(missing=str(error))
            return
        answer(value=str(worker.habitat.__version__))
        for line in inbox:  # ends when the other side does, however it ends
            command = json.loads(line)
            try:
                answer(value=getattr(worker, command.pop("do"))(**command))
            except Exception as error:  # whatever habitat-sim raises
                answer(error=f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
