"""Installs the checkout in throw-away environments, each of the three ways, and stands in awkward places to use it."""

import contextlib
import os
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from shutil import copy, copytree, ignore_patterns

import pytest

from dynalang_py import __version__

ROOT = Path(__file__).parents[1]
KINDS = ("regular", "editable", "wheel")

# Runs when the interpreter ends, so that it sees what an import in the middle of the program would have found.
REPORT = """
import atexit

def report():
    import tokenizers
    import dynalang_py
    import dynalang_py.envs
    import dynalang_py.tokenizers
    for module in (tokenizers, dynalang_py, dynalang_py.envs, dynalang_py.tokenizers):
        print(module.__name__, "at", module.__file__)

atexit.register(report)
"""


def run(*command: str | Path, cwd: Path, **env: str) -> str:
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=cwd, env=inherited | env, text=True, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def pip(*command: str | Path, cwd: Path) -> str:
    return run(sys.executable, "-m", "pip", *command, cwd=cwd)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy to build in, which leaves the real one clean."""
    copied = tmp_path_factory.mktemp("home") / "checkout"
    for folder in ("dynalang_py", "envs", "tokenizers"):
        copytree(ROOT / folder, copied / folder, ignore=ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "LICENSE", "README.md"):
        copy(ROOT / name, copied)
    return copied


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, checkout, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def install(checkout: Path, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes an environment with dynalang_py and a package named tokenizers, and gives its folder of programs."""
    made: dict[str, Path] = {}

    def environment(kind: str) -> Path:
        if kind in made:
            return made[kind]
        home = tmp_path_factory.mktemp(kind)
        venv.create(home)
        programs = home / "bin"
        where = "import sysconfig; print(sysconfig.get_path('purelib'))"
        site = Path(run(programs / "python", "-c", where, cwd=home).strip())
        # Dependencies come from the environment of the tests. A .pth file read from here is not followed further, so a
        # dynalang_py that is installed there as editable stays invisible.
        (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
        (site / "tokenizers").mkdir()
        (site / "tokenizers" / "__init__.py").touch()
        (site / "reporting.py").write_text(REPORT)
        (site / "reporting.pth").write_text("import reporting")  # Debian's Python has a sitecustomize of its own
        what: dict[str, list[str | Path]] = {
            "regular": [checkout],
            "editable": ["--editable", checkout],
            "wheel": [wheel],
        }
        options = ("--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--ignore-installed")
        pip("--python", programs / "python", "install", *options, *what[kind], cwd=home)
        made[kind] = programs
        return programs

    return environment


@pytest.mark.parametrize("place", ["elsewhere", "checkout", "checkout/dynalang_py", "checkout/tokenizers"])
@pytest.mark.parametrize("command", [["dynalang"], ["python", "-m", "dynalang_py"]], ids=["dynalang", "python -m"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_command_finds_its_parts_and_hides_no_other_package(
    kind: str, command: list[str], place: str, checkout: Path, install: Callable[[str], Path], tmp_path: Path
) -> None:
    programs = install(kind)
    cwd = tmp_path if place == "elsewhere" else checkout.parent / place
    output = run(programs / command[0], *command[1:], "--version", cwd=cwd)
    version, *reported = output.splitlines()
    assert version == f"dynalang {__version__}"
    found = {name: Path(file).parent for name, file in (line.split(" at ") for line in reported)}
    site = found["tokenizers"].parent
    assert site.is_relative_to(programs.parent)
    assert found == {
        "tokenizers": site / "tokenizers",
        "dynalang_py": (checkout if kind == "editable" else site) / "dynalang_py",
        "dynalang_py.envs": checkout / "envs" if kind == "editable" else site / "dynalang_py/envs",
        "dynalang_py.tokenizers": checkout / "tokenizers" if kind == "editable" else site / "dynalang_py/tokenizers",
    }


@pytest.mark.parametrize("kind", KINDS)
def test_the_installed_command_does_its_work(kind: str, install: Callable[[str], Path], tmp_path: Path) -> None:
    assert "babyai" in run(install(kind) / "dynalang", "presets", cwd=tmp_path)


def test_the_wheel_holds_every_file_under_one_name(wheel: Path) -> None:
    folders = {"dynalang_py": "dynalang_py", "envs": "dynalang_py/envs", "tokenizers": "dynalang_py/tokenizers"}
    expected = {
        f"{inside}/{file.relative_to(ROOT / folder).as_posix()}"
        for folder, inside in folders.items()
        for file in (ROOT / folder).rglob("*")
        if file.is_file() and not {"__pycache__", ".ruff_cache"} & set(file.parts)
    }
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
        metadata = archive.read(f"dynalang_py-{__version__}.dist-info/METADATA").decode()
    assert packed == expected
    head, _, description = metadata.partition("\n\n")
    assert "Requires-Python: >=3.10" in head
    assert "License: MIT" in head
    assert {line.partition(": ")[0] for line in head.splitlines()} >= {"Summary", "Author", "Project-URL", "Classifier"}
    # What a page elsewhere shows: no picture that lies in the checkout, no link into it, and all the words.
    assert description.startswith("# dynalang_py\n")
    assert not re.search(r"\]\((?!http)|<img|^!", description, re.MULTILINE)
    assert "dynalang train babyai" in description
    extras = re.findall(r"^Provides-Extra: (.*)$", metadata, re.MULTILINE)
    assert set(extras) >= {"homegrid", "babyai", "langroom", "vln", "dev", "all"}
    in_all = set(re.findall(r'^Requires-Dist: (.+); extra == "all"$', metadata, re.MULTILINE))
    for extra in ("homegrid", "babyai", "langroom", "vln"):
        assert set(re.findall(rf'^Requires-Dist: (.+); extra == "{extra}"$', metadata, re.MULTILINE)) <= in_all


def test_everything_that_is_asked_for_is_pinned(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read(f"dynalang_py-{__version__}.dist-info/METADATA").decode()
    pins = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+(; python_version (<|>=) '3\.\d+')?", pin) for pin in pins)
    asked = {name.lower() for name in re.findall(r"^Requires-Dist: ([\w-]+)", metadata, re.MULTILINE)}
    assert asked <= {pin.partition("==")[0].lower() for pin in pins}


def test_no_two_packages_that_extras_bring_own_one_folder(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read(f"dynalang_py-{__version__}.dist-info/METADATA").decode()
    wanted = re.findall(r"^Requires-Dist: ([\w.-]+)", metadata, re.MULTILINE)
    brought: set[str] = set()
    while wanted:
        name = wanted.pop().lower().replace("_", "-")
        if name in brought:
            continue
        brought.add(name)
        with contextlib.suppress(PackageNotFoundError):  # of an extra that isn't installed here
            lines = [line for line in requires(name) or [] if "extra ==" not in line]
            wanted += [re.split(r"[^\w.-]", line)[0] for line in lines]
    assert "minigrid" in brought
    assert len(brought & {"pygame", "pygame-ce"}) == 1


def source(script: str, cwd: Path = ROOT, **env: str) -> subprocess.CompletedProcess[str]:
    """Run bash with the functions of setup_venv.sh at hand; pip_install only says what it was asked for."""
    asked = 'pip_install() { echo "pip $*"; [[ $* != *"${REFUSE:-nothing}"* ]]; }'
    command = f'set -euo pipefail; source "{ROOT}/scripts/setup_venv.sh"; {asked}; {script}'
    return subprocess.run(["bash", "-c", command], cwd=cwd, env=os.environ | env, text=True, capture_output=True)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the default index has the CPU build")
def test_without_a_gpu_the_cpu_build_of_torch_is_installed() -> None:
    torch = re.search(r"^torch==.*$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert torch is not None
    with_gpu = source("has_gpu() { true; }; install_torch").stdout
    without = source("has_gpu() { false; }; install_torch").stdout
    assert with_gpu == f"pip {torch[0]}\n"
    assert without.startswith("pip --no-deps ")
    assert without.endswith(f" {torch[0]}+cpu\n")
    assert without.count("\n") == 1
    unreachable = source("has_gpu() { false; }; install_torch", REFUSE="+cpu").stdout.splitlines()
    assert "No CPU build of torch" in unreachable[1]
    assert unreachable[2] == f"pip {torch[0]}"


def fake_python(path: Path, body: str) -> str:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def test_a_python_that_is_too_old_gets_one_sentence(tmp_path: Path) -> None:
    old = fake_python(tmp_path / "python", '[ "$1" = --version ] && echo Python 3.8.10; exit 1')
    done = source("setup_venv babyai", tmp_path, PYTHON=old)
    assert done.returncode == 2
    assert done.stderr.startswith("dynalang_py needs Python 3.10 or newer, but here is only: Python 3.8.10. ")
    assert done.stderr.count("\n") == 1


def test_a_python_without_venv_names_the_system_package(tmp_path: Path) -> None:
    copy(ROOT / "setup.py", tmp_path)
    copy(ROOT / "constraints.txt", tmp_path)
    copytree(ROOT / "scripts", tmp_path / "scripts")
    bare = fake_python(tmp_path / "python", f'case "$*" in *ensurepip*) exit 1;; esac; exec "{sys.executable}" "$@"')
    done = source("setup_venv babyai", tmp_path, PYTHON=bare)
    assert done.returncode == 2
    assert f"'apt install python{sys.version_info[0]}.{sys.version_info[1]}-venv' adds that" in done.stderr
    assert not (tmp_path / ".venv").exists()
