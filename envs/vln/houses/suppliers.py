"""Which furniture is used: built-in shapes, or Sweet Home 3D's models where they are, or come from where they are."""

import shutil
import subprocess
import tempfile
from pathlib import Path

from dynalang_py.envs.vln.houses.builtin import BuiltIn
from dynalang_py.envs.vln.houses.furnish import Supplier
from dynalang_py.envs.vln.houses.sweethome import SweetHome
from dynalang_py.errors import UserError, nearest
from dynalang_py.files import user_cache

PACKAGE = "sweethome3d-furniture"
INSTALLED = Path("/usr/share/sweethome3d/furniture")
"""Where Debian's package puts its catalogues."""
WORDS = ("auto", "builtin", "download")


def find_supplier(furniture: str) -> Supplier:
    """The supplier that `HousesConfig.furniture` asks for.

    Raises:
        UserError: There is no such file or folder, it holds no furniture, or the download failed.
    """
    if furniture == "builtin":
        return BuiltIn()
    if furniture == "auto":
        files = next((files for place in (INSTALLED, cache()) if (files := _catalogues(place))), None)
        return SweetHome(files) if files else BuiltIn()
    if furniture == "download":
        if not _catalogues(cache()):
            download(cache())
        return SweetHome(_catalogues(cache()))
    path = Path(furniture).expanduser()
    if not path.exists():
        hint = nearest(furniture, WORDS)
        raise UserError(
            f"houses.furniture must be auto, builtin, download or a place of *.sh3f files; there is no {path}.{hint}"
        )
    files = [path] if path.is_file() else _catalogues(path)
    if not files:
        raise UserError(f"houses.furniture: there are no *.sh3f files in {path}")
    return SweetHome(files)


def cache() -> Path:
    """Where downloaded catalogues are kept."""
    return user_cache() / "furniture"


def download(folder: Path) -> None:
    """Fetch Debian's package of furniture and put its catalogues into `folder`."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise UserError(
            f"--furniture download needs apt-get and dpkg-deb; elsewhere unpack Debian's package {PACKAGE} and name "
            "the folder of its *.sh3f files: --furniture PATH"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as place:
        _run(["apt-get", "download", PACKAGE], place)
        (package,) = Path(place).glob("*.deb")
        _run(["dpkg-deb", "-x", package.name, "unpacked"], place)
        new = Path(place) / "unpacked" / INSTALLED.relative_to("/")
        if not _catalogues(new):
            raise UserError(f"Debian's package {PACKAGE} holds no *.sh3f files any more")
        shutil.rmtree(folder, ignore_errors=True)
        new.rename(folder)


def _run(command: list[str], folder: str) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise UserError(f"{' '.join(command)} failed: {reason}. `apt-get update` may help.")


def _catalogues(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.sh3f")) if folder.is_dir() else []
