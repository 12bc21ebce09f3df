"""The simulator that researchers compare with: habitat-sim, in a process and under an interpreter of its own.

habitat-sim ends its process where others raise exceptions, and its binary packages want a Python of their own. So it
runs as `habitat_worker.py`; if it takes that process down, it is a `HabitatCrashError` here, and the next `load` starts
it again.
"""

import contextlib
import json
import mmap
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dynalang_py.envs.vln.simulator import Body, Camera, Floats, Pose
from dynalang_py.envs.vln.stage import stage_file, stage_frame
from dynalang_py.errors import UserError

VARIABLE = "DYNALANG_HABITAT_PYTHON"
"""Environment variable with the interpreter that has habitat_sim, for where no setting names one."""
WORKER = Path(__file__).with_name("habitat_worker.py")
NAME_IT = f"name an interpreter that has habitat_sim by --env.habitat-python PATH or {VARIABLE}"
INSTALL = "conda install habitat-sim headless -c conda-forge -c aihabitat"
ENVIRONMENT = {"HABITAT_SIM_LOG": "quiet", "MAGNUM_LOG": "quiet", "LP_NUM_THREADS": "0"}
"""Of the worker, where the user's own doesn't say otherwise: logs hold errors only, and Mesa draws in one thread, since
environments run beside each other anyway."""

_sound: set[tuple[str, int]] = set()
"""Interpreters, each with the number of a GPU, under which habitat-sim has started."""


class HabitatCrashError(RuntimeError):
    """habitat-sim ended its process, or was ended. The next `load` starts it again."""


class Habitat:
    """A `Simulator` that is habitat-sim 0.3. It has no lights: colours are the file's own, as Embree's without `shade`.

    Walking is VLN-CE's: a step ends where the navigation mesh lets it, slid along the mesh's border or stopped at it.
    The mesh is NAME.navmesh beside NAME.glb if that was made for the same body, else it is computed. It lies up to 4 cm
    above the floor, and so does everyone who walks on it.

    Args:
        camera, body: As of any simulator.
        python: An interpreter that has habitat_sim; None: what DYNALANG_HABITAT_PYTHON names, else this one.
        gpu: CUDA's number of the GPU that draws; -1: the first device of EGL, the processor where there is no GPU.

    Raises:
        UserError: There is no such interpreter, it has no habitat_sim, or habitat-sim doesn't start.
    """

    def __init__(self, camera: Camera, body: Body, *, python: Path | None = None, gpu: int = -1) -> None:
        self.camera = camera
        self.body = body
        self._python = find_python(python)
        self._gpu = gpu
        self._pose = Pose()
        self._open: tuple[Any, ...] | None = None
        self._process: Process | None = self._start()
        if (self._python, gpu) not in _sound:  # else it may start while we go on
            self._process.greet()
            _sound.add((self._python, gpu))

    def load(self, scene: Path) -> None:
        scene = scene.absolute()  # not resolved: a link's neighbours say how the scene lies
        check_asset(scene)
        navmesh = scene.with_suffix(".navmesh")
        files = [file for file in (scene, stage_file(scene), navmesh) if file.is_file()]
        state = (scene, *((file.name, file.stat().st_mtime_ns) for file in files))
        if state == self._open:
            return
        _, up, backward = stage_frame(scene).tolist()
        if self._process is None:
            self._process = self._start()
        self._open = None
        try:
            trouble = self._ask(
                "load",
                scene=str(scene),
                up=up,
                front=[-value for value in backward],
                navmesh=str(navmesh) if navmesh in files else "",
            )
        except WorkerError as error:
            raise UserError(f"Scene {scene} can't be opened by habitat-sim: {error}.") from error
        if trouble:
            raise UserError(f"Scene {scene}: {trouble}.")
        self._open = state

    @property
    def pose(self) -> Pose:
        return self._pose

    def set_pose(self, pose: Pose) -> None:
        self._pose = pose

    def observe(self) -> dict[str, NDArray[Any]]:
        process, (height, width) = self._loaded, (self.camera.height, self.camera.width)
        self._ask("observe", position=self._pose.position.tolist(), rotation=self._pose.rotation.tolist())
        count = height * width
        rgb = np.frombuffer(process.frame, np.uint8, 3 * count, offset=4 * count)
        seen: dict[str, NDArray[Any]] = {"rgb": rgb.reshape(height, width, 3).copy()}
        if self.camera.depth:
            seen["depth"] = np.frombuffer(process.frame, np.float32, count).reshape(height, width).copy()
        return seen

    def forward(self, metres: float) -> bool:
        before, heading = self._pose.position, self._pose.ahead * [1, 0, 1]
        end = before + heading / max(float(np.linalg.norm(heading)), 1e-9) * metres
        after = np.array(self._ask("step", start=before.tolist(), end=end.tolist()))
        self._pose = self._pose.moved(after)
        return bool(np.sum((after - before) ** 2) + 1e-5 < metres**2)  # Habitat's own rule

    def turn(self, degrees: float) -> None:
        self._pose = self._pose.turned(degrees)

    def geodesic(self, a: ArrayLike, b: ArrayLike) -> float:
        return float(self._path(a, b)[0])

    def shortest_path(self, a: ArrayLike, b: ArrayLike) -> Floats:
        return np.array(self._path(a, b)[1], np.float64).reshape(-1, 3)

    def random_point(self, rng: np.random.Generator) -> Floats:
        return np.array(self._ask("random_point", seed=int(rng.integers(2**31))))

    def snap(self, point: ArrayLike) -> Floats | None:
        found = self._ask("snap", point=_list(point))
        return None if found is None else np.array(found)

    def close(self) -> None:
        self._open = None
        if self._process is not None:
            self._process.end()
            self._process = None

    @property
    def _loaded(self) -> "Process":
        assert self._process is not None, "load a scene first, also after a crash"
        return self._process

    def _path(self, a: ArrayLike, b: ArrayLike) -> tuple[float, list[list[float]]]:
        length, corners = self._ask("path", start=_list(a), end=_list(b))
        return length, corners

    def _ask(self, do: str, **what: Any) -> Any:
        try:
            return self._loaded.ask(do=do, **what)
        except HabitatCrashError:
            self.close()
            raise

    def _start(self) -> "Process":
        settings = {"camera": asdict(self.camera), "body": asdict(self.body), "gpu": self._gpu}
        return Process(self._python, settings, 7 * self.camera.height * self.camera.width)


class WorkerError(Exception):
    """An exception of habitat-sim, which lives on."""


class Process:
    """habitat-sim's process as seen from here: it answers commands, and `frame` is memory that both sides see.

    It ends with this process, however that ends.
    """

    def __init__(self, python: str, settings: dict[str, Any], size: int, script: Path = WORKER) -> None:
        """size: bytes of the frame. Starts the process and does not wait for it."""
        self._python = python
        self._greeted = False
        self._ended = ""
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as the process)
        memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
        with tempfile.TemporaryFile(dir=memory) as shared:
            shared.write(bytes(size))
            shared.flush()
            self.frame = mmap.mmap(shared.fileno(), size)
            commands, outbox = os.pipe()
            inbox, answers = os.pipe()
            theirs = (commands, answers, shared.fileno())
            try:
                self._process = subprocess.Popen(
                    [python, str(script), *map(str, theirs), json.dumps(settings)],
                    stdin=subprocess.DEVNULL,
                    stdout=self._log,
                    stderr=self._log,
                    pass_fds=theirs,
                    env={**ENVIRONMENT, **os.environ},
                )
            except OSError as error:
                raise UserError(f"Simulator 'habitat' can't run {python} ({error.strerror}); {NAME_IT}.") from error
            finally:
                os.close(commands)
                os.close(answers)
        self._outbox, self._inbox = os.fdopen(outbox, "w"), os.fdopen(inbox)

    @property
    def pid(self) -> int:
        return self._process.pid

    def greet(self) -> None:
        """Wait until habitat-sim is there. Raises UserError if it isn't."""
        line = self._inbox.readline()
        if not line:
            raise UserError(
                f"Simulator 'habitat': habitat-sim ended as it started under {self._python} ({self.end()}). Without a "
                "GPU it draws by Mesa's EGL (Debian: apt-get install libegl1 libgl1-mesa-dri libopengl0)."
            )
        said = json.loads(line)
        if "value" not in said:
            self.end()
            raise UserError(
                f"Simulator 'habitat' needs habitat-sim 0.3, which {self._python} doesn't have ({said['missing']}): "
                f"{INSTALL} puts it into a conda environment; then {NAME_IT}."
            )
        self._greeted = True

    def ask(self, **command: Any) -> Any:
        """What the worker answers.

        Raises:
            WorkerError: habitat-sim raised an exception.
            HabitatCrashError: The process ended.
        """
        if not self._greeted:
            self.greet()
        try:
            self._outbox.write(json.dumps(command) + "\n")
            self._outbox.flush()
            line = self._inbox.readline()
        except OSError:  # it had ended before
            line = ""
        if not line:
            raise HabitatCrashError(f"habitat-sim's process ended while asked to {command['do']} ({self.end()})")
        said = json.loads(line)
        if "error" in said:
            raise WorkerError(said["error"])
        return said["value"]

    def end(self) -> str:
        """Let the process end. Returns how it ended, with its last words."""
        if self._ended:
            return self._ended
        for pipe in (self._outbox, self._inbox):
            with contextlib.suppress(OSError):  # a command that nobody reads any more
                pipe.close()
        try:
            code = self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        with self._log:
            self._log.seek(0)
            words = self._log.read().decode(errors="replace").splitlines()
        # That pictures for image-based lighting are missing is as we want it: see habitat_worker.py.
        last = [line.strip() for line in words if line.strip() and "IBL" not in line][-2:]
        ended = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        self._ended = ": ".join([ended, " ".join(last)[:400]]) if last else ended
        return self._ended


def find_python(named: Path | None) -> str:
    """The interpreter that runs habitat-sim. Raises UserError if there is no such program."""
    wanted = str(named or os.environ.get(VARIABLE) or sys.executable)
    found = shutil.which(os.path.expanduser(wanted))
    if found is None:
        raise UserError(f"Simulator 'habitat' finds no program {wanted}; {NAME_IT}.")
    return os.path.abspath(found)  # not resolved: a virtual environment's python is a link


def check_asset(scene: Path) -> None:
    """Raises UserError for a file that habitat-sim would end its process over."""
    if not scene.is_file():
        raise UserError(f"Scene {scene} does not exist.")
    if scene.suffix.lower() != ".glb":
        raise UserError(f"Scene {scene}: simulator 'habitat' opens .glb files; 'embree' opens others, too.")
    with scene.open("rb") as file:
        head = file.read(12)
    size = scene.stat().st_size
    if len(head) < 12 or struct.unpack("<4sII", head) != (b"glTF", 2, size):
        raise UserError(f"Scene {scene} is no whole binary glTF 2.0 file.")


def _list(point: ArrayLike) -> Sequence[float]:
    return np.asarray(point, np.float64).tolist()
