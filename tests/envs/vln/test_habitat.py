"""What can go wrong between us and habitat-sim. What it does when all goes well, test_simulator.py and
test_agreement.py tell."""

import ast
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dynalang_py import cli, envs
from dynalang_py.envs.vln import VLNConfig
from dynalang_py.envs.vln.habitat import (
    VARIABLE,
    WORKER,
    Habitat,
    HabitatCrashError,
    Process,
    WorkerError,
    check_asset,
    find_python,
)
from dynalang_py.envs.vln.simulator import Body, Camera, Pose
from dynalang_py.envs.vln.stage import stage_file
from dynalang_py.errors import UserError

ANSWERING = """
import json, mmap, os, sys
commands, answers, frame = map(int, sys.argv[1:4])
memory = mmap.mmap(frame, 0)
inbox, outbox = os.fdopen(commands), os.fdopen(answers, "w")
def answer(**said):
    outbox.write(json.dumps(said) + "\\n")
    outbox.flush()
answer(value="0")
for line in inbox:
    command = json.loads(line)
    if command["do"] == "paint":
        memory[:] = bytes([command["value"]]) * len(memory)
    if command["do"] == "fail":
        answer(error="ValueError: a bad day")
    elif command["do"] == "abort":
        print("the last words", file=sys.stderr, flush=True)
        os.abort()
    else:
        answer(value=command)
"""
"""A program that speaks as habitat_worker.py does, and does what the tests want."""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "answering.py"
    path.write_text(ANSWERING)
    return path


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str], Path]:
    """Makes an executable file with this text."""

    def write(text: str) -> Path:
        path = tmp_path / "program"
        path.write_text(text)
        path.chmod(0o755)
        return path

    return write


def test_an_interpreter_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sentence = r"^Simulator 'habitat' finds no program .*nowhere; name .* by --env\.habitat-python PATH or DYNALANG_"
    with pytest.raises(UserError, match=sentence):
        Habitat(Camera(), Body(), python=tmp_path / "nowhere")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=sentence):
        Habitat(Camera(), Body())


def test_the_setting_goes_before_the_variable_and_that_before_this_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "/bin/sh")
    assert find_python(Path("cat")).endswith("bin/cat")
    assert find_python(None) == "/bin/sh"
    monkeypatch.delenv(VARIABLE)
    assert find_python(None) == os.path.abspath(sys.executable)


def test_a_program_that_is_no_program_is_one_sentence(program: Callable[[str], Path]) -> None:
    with pytest.raises(UserError, match=r"^Simulator 'habitat' can't run .*program \(Exec format error\); name an int"):
        Habitat(Camera(), Body(), python=program("no program"))


def test_an_interpreter_without_habitat_sim_is_told_how_to_get_it(program: Callable[[str], Path]) -> None:
    bare = program(f'#!/bin/sh\nexec {sys.executable} -S -E "$@"\n')  # knows the standard library only
    with pytest.raises(UserError, match=r"which .*program doesn't have \(No module named .*conda install habitat-sim"):
        Habitat(Camera(), Body(), python=bare)


def test_a_death_at_the_start_is_told_with_its_last_words(program: Callable[[str], Path]) -> None:
    dying = program('#!/bin/sh\necho "no display at all" >&2\nkill -ABRT $$\n')
    with pytest.raises(UserError, match=r"as it started under .* \(signal SIGABRT: no display at all\)\. Without a"):
        Habitat(Camera(), Body(), python=dying)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("house.obj", b"", r"simulator 'habitat' opens \.glb files; 'embree' opens others, too"),
        ("house.glb", b"", "is no whole binary glTF 2.0 file"),
        ("house.glb", b"glTF\x02\0\0\0\x40\0\0\0 cut off", "is no whole binary glTF 2.0 file"),
        ("house.glb", b"version https://git-lfs.github.com/spec/v1\n", "is no whole binary glTF 2.0 file"),
    ],
)
def test_what_would_take_habitat_sim_down_is_refused_before(
    tmp_path: Path, name: str, content: bytes, sentence: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=rf"^Scene .*{name}:? {sentence}\.$"):
        check_asset(tmp_path / name)
    with pytest.raises(UserError, match=r"^Scene .*other\.glb does not exist\.$"):
        check_asset(tmp_path / "other.glb")


def test_the_workers_code_needs_python_3_9_numpy_and_habitat_sim_only() -> None:
    tree = ast.parse(WORKER.read_text(), feature_version=(3, 9))
    imported = {
        name.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names
    }
    imported |= {str(node.module).split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported - sys.stdlib_module_names == {"numpy", "habitat_sim", "magnum"}  # magnum comes with habitat_sim


def test_a_process_answers_and_shares_its_frame(script: Path) -> None:
    process = Process(sys.executable, {}, 100, script)
    numbers = [0.1, -1e-300, float("inf")]
    assert process.ask(do="echo", numbers=numbers)["numbers"] == numbers
    process.ask(do="paint", value=7)
    assert process.frame[:] == bytes([7]) * 100
    assert process.end() == "exit code 0"


def test_an_exception_of_the_worker_is_told_and_survived(script: Path) -> None:
    process = Process(sys.executable, {}, 1, script)
    with pytest.raises(WorkerError, match=r"^ValueError: a bad day$"):
        process.ask(do="fail")
    assert process.ask(do="echo")
    process.end()


def test_the_death_of_the_worker_is_told_with_its_last_words(script: Path) -> None:
    process = Process(sys.executable, {}, 1, script)
    with pytest.raises(HabitatCrashError, match=r"ended while asked to abort \(signal SIGABRT: the last words\)$"):
        process.ask(do="abort")


def test_a_death_between_two_commands_is_told_at_the_next(script: Path) -> None:
    process = Process(sys.executable, {}, 1, script)
    process.greet()
    os.kill(process.pid, signal.SIGKILL)
    process._process.wait()
    with pytest.raises(HabitatCrashError, match=r"ended while asked to echo \(signal SIGKILL\)$"):
        process.ask(do="echo")


def test_the_worker_ends_with_us_however_we_end(script: Path) -> None:
    text = (
        "import sys, pathlib; from dynalang_py.envs.vln.habitat import Process\n"
        f"process = Process(sys.executable, {{}}, 1, pathlib.Path({str(script)!r})); process.greet()\n"
        "print(process.pid, flush=True); sys.stdin.read()\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", text], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    while _runs(pid):  # pytest's own limit ends this if it never ends
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    """Whether it lives; a dead process that nobody has asked after yet does not."""
    try:
        os.kill(pid, 0)
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (OSError, IndexError):
        return False


def test_check_tells_why_it_can_not_be_used(
    capsys: pytest.CaptureFixture[str], world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "/nowhere/python")
    assert cli.main(["vln", "check", str(world.data)]) == 0
    assert "finds no program /nowhere/python" in " ".join(capsys.readouterr().out.split())


@pytest.mark.usefixtures("habitat")
class TestHabitatSim:
    """Needs habitat-sim."""

    def test_after_a_crash_the_next_load_starts_it_again(self, world: Any) -> None:
        simulator = Habitat(Camera(), Body())
        simulator.load(world.scene)
        simulator.set_pose(Pose.at([-2, 0, 0], yaw=-90))
        seen = simulator.observe()
        assert simulator._process is not None
        os.kill(simulator._process.pid, signal.SIGKILL)
        with pytest.raises(
            HabitatCrashError, match=r"^habitat-sim's process ended while asked to observe \(signal SIGKILL"
        ):
            simulator.observe()
        simulator.load(world.scene)
        for name, image in simulator.observe().items():
            np.testing.assert_array_equal(image, seen[name])
        simulator.close()

    def test_a_file_that_takes_it_down_is_told_and_survived(self, world: Any, tmp_path: Path) -> None:
        whole = world.scene.read_bytes()
        size = struct.unpack("<I", whole[12:16])[0]
        content = json.loads(whole[20 : 20 + size])
        content["accessors"][0]["count"] = 10**9
        text = json.dumps(content).encode()
        text += b" " * (-len(text) % 4)
        lying = tmp_path / "lying.glb"
        head = struct.pack("<4sIII", b"glTF", 2, len(whole) - size + len(text), len(text))
        lying.write_bytes(head + whole[16:20] + text + whole[20 + size :])
        simulator = Habitat(Camera(), Body())
        with pytest.raises(HabitatCrashError, match=r"ended while asked to load \(signal SIG[A-Z]+: .*"):
            simulator.load(lying)
        simulator.load(world.scene)
        assert simulator.observe()["rgb"].any()
        simulator.close()

    def test_a_navmesh_beside_the_scene_is_taken_if_it_was_made_for_the_body(self, world: Any, tmp_path: Path) -> None:
        import trimesh

        ground, house = tmp_path / "ground.glb", tmp_path / "house.glb"
        trimesh.creation.box(bounds=[(-4, -0.1, -2), (4, 0, 2)]).export(ground)  # without the wall in the middle
        for path in (ground, house):
            shutil.copy(stage_file(world.scene), stage_file(path))
        shutil.copy(world.scene, house)
        settings = {"camera": asdict(Camera()), "body": asdict(Body()), "gpu": -1}
        make = (
            f"import sys; sys.path.insert(0, {str(WORKER.parent)!r})\n"
            "from habitat_worker import Worker; del sys.path[0]\n"
            f"worker = Worker({settings!r}, bytearray({7 * 64 * 64}))\n"
            f"worker.load({str(ground)!r}, [0, 1, 0], [0, 0, -1], '')\n"
            f"assert worker.simulator.pathfinder.save_nav_mesh({str(house.with_suffix('.navmesh'))!r})\n"
        )
        subprocess.run([find_python(None), "-c", make], check=True)
        ways = []
        for radius in (0.1, 0.2):
            simulator = Habitat(Camera(), Body(radius=radius))
            simulator.load(house)
            ways.append(simulator.geodesic([-1, 0, -1.5], [1, 0, -1.5]))
            simulator.close()
        assert ways[0] == pytest.approx(2, abs=0.01)  # straight on
        assert ways[1] > 2.5  # through the doorway

    def test_an_environment_goes_on_after_a_crash(self, world: Any) -> None:
        config = VLNConfig(data=world.data, simulator="habitat", read=False)
        env = envs.make_vector(config, 2, processes=False)
        env.reset(seed=0)
        first: Any = env._slots[0]._vector.envs[0].unwrapped
        os.kill(first._env.unwrapped._simulator._process.pid, signal.SIGKILL)
        *_, crashed = env.step(np.array([1, 1]))
        assert crashed.tolist() == [True, False]
        obs, *_, crashed = env.step(np.array([1, 1]))
        assert not crashed.any()
        assert obs["image"].std((1, 2, 3)).min() > 0
        env.close()

    def test_a_scene_without_a_floor_is_one_sentence_and_survived(self, world: Any, tmp_path: Path) -> None:
        import trimesh

        wall = trimesh.creation.box((0.1, 2, 2))
        path = tmp_path / "wall.glb"
        wall.export(path)
        simulator = Habitat(Camera(), Body())
        with pytest.raises(UserError, match=r"^Scene .*wall\.glb: nobody can stand in it\.$"):
            simulator.load(path)
        simulator.load(world.scene)
        simulator.close()

    def test_a_wider_body_keeps_further_from_walls(self, world: Any) -> None:
        for radius in (0.1, 0.4):
            simulator = Habitat(Camera(), Body(radius=radius))
            simulator.load(world.scene)
            snapped = simulator.snap([-3.95, 0, 0])
            assert snapped is not None
            assert snapped[0] == pytest.approx(-3.95 + radius, abs=0.06)
            simulator.close()

    def test_check_finds_it(self, capsys: pytest.CaptureFixture[str], world: Any) -> None:
        assert cli.main(["vln", "check", str(world.data)]) == 0
        lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.strip()}
        assert lines["habitat"].endswith("ready")

    def test_the_expert_walks_to_every_goal(self, world: Any) -> None:
        config = replace(VLNConfig(data=world.data, simulator="habitat"), expert=True)
        env = envs.make(config)
        for seed in range(3):
            obs, _ = env.reset(seed=seed)
            over = False
            while not over:
                obs, _, terminated, truncated, _ = env.step(obs["expert"])
                over = terminated or truncated
            assert obs["log_success"] == 1
        env.close()
