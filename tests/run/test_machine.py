"""Threads are chosen by what is free: by affinity, quotas of control groups, and what others compute."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from dynalang_py.cli import main
from dynalang_py.run import machine
from dynalang_py.run.machine import Cores

LOOK = machine.cores


@pytest.fixture(autouse=True)
def anew(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing chosen yet, and all as it was afterwards."""
    before = torch.get_num_threads()
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    LOOK.cache_clear()
    yield
    LOOK.cache_clear()
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("cores", "free", "why"),
    [
        (Cores(8, 8, None, 0.4), 8, ""),
        (Cores(2, 2, None, 0.9), 1, " (the other is busy)"),
        (Cores(2, 2, None, 2.0), 1, " (2 are busy)"),
        (Cores(8, 8, None, 1.2), 7, " (one is busy)"),
        (Cores(64, 4, None, 0.0), 4, " (this process may use 4)"),
        (Cores(64, 4, None, 3.0), 1, " (this process may use 4, 3 are busy)"),
        (Cores(8, 8, 2.0, 5.0), 2, " (its group has a quota of 2, 5 are busy)"),
        (Cores(8, 8, 0.25, 0.0), 1, " (its group has a quota of 0.25)"),
        (Cores(8, 8, 16.0, 0.0), 8, ""),
        (Cores(1, 1, None, 1.0), 1, " (one is busy)"),
    ],
)
def test_what_is_free_and_why(cores: Cores, free: int, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cores.free == free
    assert cores.why == why
    torch.set_num_threads(4)
    monkeypatch.setattr(machine, "cores", lambda: cores)
    machine.use_free_cores()
    assert torch.get_num_threads() == min(4, free)  # never more than PyTorch took
    assert machine.threads() == f"{min(4, free)} of {cores.there} cores" + (why if free <= 4 else "")


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "MKL_NUM_THREADS"])
def test_what_the_user_has_chosen_stays(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(3)
    monkeypatch.setenv(name, "3")
    monkeypatch.setattr(machine, "cores", lambda: Cores(2, 2, 1.0, 2.0))
    machine.use_free_cores()
    assert torch.get_num_threads() == 3
    assert machine.threads() == f"3, as {name} says"


def group(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("_max", ".max").replace("cpu_cfs", "cpu.cfs")).write_text(content)


def test_quotas_of_control_groups(tmp_path: Path) -> None:
    memberships, groups = tmp_path / "cgroup", tmp_path / "fs"

    def found(text: str) -> float | None:
        memberships.write_text(text)
        return machine.quota(memberships, groups)

    assert machine.quota(memberships, groups) is None  # no Linux, no groups
    group(groups / "slice" / "job", cpu_max="max 100000\n")
    assert found("0::/slice/job\n") is None
    group(groups / "slice", cpu_max="150000 100000\n")  # around it
    assert found("0::/slice/job\n") == 1.5
    group(groups / "slice" / "job", cpu_max="50000 100000\n")
    assert found("0::/slice/job\n") == 0.5
    assert found("0::/\n") is None
    group(groups, cpu_max="400000 100000")
    assert found("0::/of/the/host\n") == found("0::/../..\n") == 4  # seen from inside of a container
    # The first version, beside which the second may stand with nothing to say.
    group(groups / "cpu,cpuacct" / "docker", cpu_cfs_quota_us="-1\n", cpu_cfs_period_us="100000\n")
    (groups / "cpu.max").unlink()
    assert found("4:cpu,cpuacct:/docker\n2:memory:/docker\n0::/\n") is None
    group(groups / "cpu,cpuacct" / "docker", cpu_cfs_quota_us="300000\n")
    assert found("4:cpu,cpuacct:/docker\n2:memory:/docker\n0::/\n") == 3
    group(groups / "cpu" / "docker", cpu_cfs_quota_us="20000\n", cpu_cfs_period_us="10000\n")
    assert found("4:cpu:/docker\n") == 2
    assert found("4:cpuset:/docker\n") is None
    group(groups / "slice", cpu_max="what 0\n")
    assert found("0::/slice\n") is None


def test_cores_that_others_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stat = tmp_path / "stat"
    stat.write_text("cpu 0 0\ncpu0 10 0 5 100 3 0 0 0 0 0\ncpu1 0 0 0 50 0 0 0 0\ncpu2 7 0 0 50 0 0 0 0\nintr 1\n")
    later = "cpu 0 0\ncpu0 40 0 5 100 3 0 0 0 0 0\ncpu1 3 0 0 77 0 0 0 0\ncpu2 7 0 0 60 10 0 0 10\nintr 1\n"
    monkeypatch.setattr(time, "sleep", lambda _: stat.write_text(later))
    begin = stat.read_text()
    for own, busy in ({0}, 1.0), ({1}, 0.1), ({2}, 1 / 3), ({0, 1, 2}, 1 + 0.1 + 1 / 3), ({9}, None):
        stat.write_text(begin)
        if busy is not None:
            assert machine._busy(own, stat) == pytest.approx(busy)
    stat.write_text(later)
    assert machine._busy({0, 1}, stat) == 0  # a clock that stood still
    monkeypatch.setattr(os, "getloadavg", lambda: (1.7, 0.0, 0.0))
    assert machine._busy({0, 1, 2}, tmp_path / "none") == 1.7
    assert machine._busy({0}, tmp_path / "none") == 1


def test_this_machine_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    found = machine.cores()
    assert 1 <= found.free <= found.allowed <= found.there
    assert 0 <= found.busy <= found.allowed
    if hasattr(os, "sched_getaffinity"):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
        LOOK.cache_clear()
        assert machine.cores().allowed == machine.cores().free == 1


def test_a_run_says_with_how_many_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(machine, "cores", lambda: Cores(2, 2, None, 1.0))
    short = ["--steps", "104", "--baseline-episodes", "0", "--eval-episodes", "1"]
    assert main(["train", "debug", "--run-dir", str(tmp_path / "run"), *short]) == 0
    assert "1 of 2 cores (the other is busy)" in capsys.readouterr().out
    assert torch.get_num_threads() == 1
    for count, told in ((1, 0), (2, 1)):
        monkeypatch.setenv("OMP_NUM_THREADS", str(count))
        torch.set_num_threads(count)
        assert main(["train", "--resume", str(tmp_path / "run"), "--steps", str(104 + 4 * count)]) == 0
        out = capsys.readouterr().out
        assert f"{count}, as OMP_NUM_THREADS says" in out
        assert out.count("goes on with 2, which rounds otherwise; OMP_NUM_THREADS=1 goes on as it would have") == told
