"""A run is a folder: what lies where in it, and who may write there."""

import errno
import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from dynalang_py import config as configs
from dynalang_py import files
from dynalang_py.config import Config, Kind
from dynalang_py.errors import UserError, command
from dynalang_py.reading import user_path

FOLDERS = ("checkpoints", "best", "replay", "eval", "events", "pictures", "tokens", "tokenizer")
FILES = ("config.json", "metrics.jsonl", "lock", "pretrained.json")

_WRITTEN = {
    ".": r"config\.json|metrics\.jsonl|pretrained\.json",
    "tokenizer": r"identity\.json|tokenizer\.(model|json)",
    "replay": r"counters\.check|meta\.json",
    "eval": r"random\.json|step-\d{12}\.json",
    "pictures": r"\w+\.(png|gif)",
}
"""Names of what the owner of the lock writes as files of one piece."""
_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
_log = logging.getLogger("dynalang.folder")


@dataclass(frozen=True)
class RunFolder:
    """The places of one run."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.json"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def events(self) -> Path:
        """What `tensorboard --logdir` reads."""
        return self.path / "events"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def replay(self) -> Path:
        return self.path / "replay"

    @property
    def eval(self) -> Path:
        """Results of evaluations, one JSON file each."""
        return self.path / "eval"

    @property
    def pictures(self) -> Path:
        return self.path / "pictures"

    @property
    def tokens(self) -> Path:
        """Corpora as token ids, where no other cache is named."""
        return self.path / "tokens"

    def tokens_in(self, named: Path | None) -> Path:
        """Where corpora are encoded: in the cache that is named for a run that begins.

        One that goes on writes into its own folder alone, since its settings may be somebody else's.
        """
        return self.tokens if named is None or self.config.exists() else user_path(named)

    @property
    def tokenizer(self) -> Path:
        """The tokenizer that the run learned with, and its hash (run/identity.py)."""
        return self.path / "tokenizer"

    def check_places(self) -> None:
        """Raise UserError where a link, or a thing of another kind, stands in the place of something that a run makes.

        The folder itself may be a link, which is the path of whoever typed it; one inside comes with the folder, and
        would let a stranger's folder delete and overwrite what lies elsewhere.
        """
        for names, folder in ((FOLDERS, True), (FILES, False)):
            for name in names:
                files.check_own(self.path / name, folder=folder)

    def check_new(self, verb: str = "train") -> None:
        """Raise UserError unless a new run may begin here. verb: what would resume the one that lies here."""
        if self.config.exists():
            raise UserError(
                f"{self.path} already holds a run; go on with it by: {command('dynalang', verb, '--resume', self.path)}"
                " or choose another --run-dir"
            )
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"{self.path} is a file; --run-dir must name a folder")
        # A start that failed (no space for replay, say) leaves these, and desktops and notebooks leave what begins with
        # a dot; anything else belongs to somebody.
        known = {"lock", "replay", "tokens", "tokenizer", "pretrained.json"}
        found = {entry.name for entry in self.path.iterdir()} - known if self.path.exists() else set()
        if strange := sorted(name for name in found if not name.startswith(".")):
            raise UserError(
                f"{self.path} holds {strange[0]!r} and is no run; --run-dir must name a new or empty folder"
            )
        self.check_places()

    def load(self) -> Config:
        """The settings of the run that lies here. Raises UserError if none does."""
        return self.load_as(Config)

    def load_as(self, kind: type[Kind]) -> Kind:
        """The same as settings of this kind: Config, or PretrainConfig for a run that reads text alone.

        Raises UserError if none lies here, or one of the other kind.
        """
        if not self.path.exists():
            raise UserError(f"there is no folder {self.path}; name the folder of a run")
        if not self.config.exists():
            raise UserError(f"{self.path} is not a run: it has no config.json")
        here, wanted = ("train", "pretrain") if kind is not Config else ("pretrain", "train")
        self.check_places()
        plain = configs.read(self.config)
        if ("valid_share" in plain) == (kind is Config):
            raise UserError(f"{self.path} is a run of dynalang {here}, and a run of dynalang {wanted} is needed")
        found = configs.parse(plain, kind, self.config)
        return replace(found, run_dir=self.path)  # type: ignore[type-var]  # the folder may have been moved since

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from writing here. The system drops the lock of a process that dies.

        Raises UserError that names the process if one holds the lock.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        self.check_places()
        path = self.path / "lock"
        with files.named(path):
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
        try:
            try:
                fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # unlike flock, not inherited by environment workers
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    owner = os.pread(handle, 32, 0).decode(errors="replace").strip()
                    raise UserError(f"{self.path} is in use by process {owner or 'unknown'}") from None
                _log.warning(
                    "%s can't be locked (%s): nothing else may write there meanwhile", self.path, error.strerror
                )
            else:
                for where, names in _WRITTEN.items():
                    files.sweep(self.path / where, names)
            if os.fstat(handle).st_nlink == 1:  # else it has another name elsewhere, where this would be read as well
                with files.named(path):
                    os.ftruncate(handle, 0)
                    os.pwrite(handle, str(os.getpid()).encode(), 0)
            yield
        finally:
            os.close(handle)
