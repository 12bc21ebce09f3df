"""Commands in forks of this process, which has imported what they need: with limits, and how each of them ended."""

import contextlib
import io
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

GIGA = 1 << 30
PATIENCE = 20
"""Seconds on a processor after which a command is asked to end, as by Ctrl-C; a run of training does so politely."""
LIMIT = 60
"""Seconds on a processor after which it hangs."""
MOST_MEMORY = 4.0
"""GB that an input may take."""


@dataclass(frozen=True)
class Ending:
    """How a command ended."""

    code: int
    """Its exit code; minus the number of the signal that ended it."""
    out: str
    err: str
    worked: float
    """Seconds on a processor."""
    peak: float
    """GB of memory."""
    asked: bool
    """Whether it was asked to end, since it took long."""

    @property
    def verdict(self) -> str:
        """ran, refused or long; or what is wrong."""
        lines = self.err.strip().splitlines()
        if "Traceback (most recent call last)" in self.err + self.out:
            return "TRACEBACK"
        if self.worked > LIMIT or (self.code < 0 and self.asked):
            return "HANG"
        if self.peak > MOST_MEMORY:
            return "MEMORY"
        if self.asked and self.code in (0, 130):
            return "long"
        if self.code == 2 and len(lines) == 1 and lines[0].startswith("dynalang: "):
            return "refused"
        return "ran" if self.code == 0 else f"EXIT {self.code}"

    @property
    def last(self) -> str:
        """The last line that it wrote."""
        return (self.err.strip() or self.out.strip() or " ").splitlines()[-1][:300]


def run(words: Sequence[str], folder: Path, kill_after: float | None = None) -> Ending:
    """Run a command line in a folder; ["scene", FILE] loads a scene and walks in it.

    kill_after: seconds on a processor after which it and all that it started are killed.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        sys.stdout.flush()
        sys.stderr.flush()
        child = os.fork()
        if not child:
            _become(words, folder, out.fileno(), err.fileno())
        code, used, asked = _wait(child, kill_after)
        said, complained = map(_content, (out, err))
    return Ending(code, said, complained, used.ru_utime + used.ru_stime, used.ru_maxrss / 1e6, asked)


def _content(log: IO[bytes]) -> str:
    log.seek(0)
    return log.read(1 << 20).decode(errors="replace")


def _wait(child: int, kill_after: float | None) -> tuple[int, resource.struct_rusage, bool]:
    """Until it ends: asked politely after a while, then with force. Its whole group goes with it."""
    asked = False
    while True:
        pid, status, used = os.wait4(child, os.WNOHANG)
        if pid:
            break
        worked = _worked(child)
        if worked > (LIMIT + 1 if kill_after is None else kill_after):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
        elif worked > PATIENCE and not asked:
            asked = True
            os.kill(child, signal.SIGINT)
        time.sleep(0.005)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)  # workers that it left
    return os.waitstatus_to_exitcode(status), used, asked


def _worked(child: int) -> float:
    """Seconds on a processor, and a tenth of those since it was started: who sleeps for ever hangs, too."""
    try:
        fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    ticks = os.sysconf("SC_CLK_TCK")
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / ticks
    return max((int(fields[11]) + int(fields[12])) / ticks, age / 10)


def _become(words: Sequence[str], folder: Path, out: int, err: int) -> None:
    """What the fork does; it never returns."""
    code = 1
    try:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(out, 1)
        os.dup2(err, 2)
        sys.stdout, sys.stderr = (io.TextIOWrapper(open(number, "wb", closefd=False)) for number in (1, 2))  # noqa: SIM115
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.chdir(folder)
        _limit()
        sys.argv = ["dynalang", *words]
        code = _scene(Path(words[1])) if words[:1] == ["scene"] else _command(list(words))
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            sys.stderr.flush()
        os._exit(code)


def _limit() -> None:
    here = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (here + 6 * GIGA,) * 2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (GIGA,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _command(words: list[str]) -> int:
    from dynalang_py.cli import main

    try:
        return main(words)
    except SystemExit as end:  # as tyro ends a request for help
        return end.code if isinstance(end.code, int) else 0


def _scene(path: Path) -> int:
    """Load a scene, look and walk a little: the part of a command that reads scenes."""
    import numpy as np

    from dynalang_py.envs.vln.embree import Embree
    from dynalang_py.envs.vln.simulator import Body, Camera, Pose
    from dynalang_py.errors import UserError

    simulator = Embree(Camera(), Body())
    try:
        simulator.load(path)
        start = simulator.random_point(np.random.default_rng(0))
        simulator.set_pose(Pose(position=start, rotation=(0, 0, 0, 1)))
        for _ in range(3):
            simulator.forward(0.25)
            simulator.turn(30)
            assert simulator.observe()["rgb"].dtype == np.uint8
        simulator.geodesic(start, simulator.pose.position)
    except UserError as error:
        print(f"dynalang: {error}", file=sys.stderr)
        return 2
    return 0
