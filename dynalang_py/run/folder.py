"""A run is a folder: what lies where in it, and who may write there."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from dynalang_py import config as configs
from dynalang_py.config import Config, Kind
from dynalang_py.errors import UserError, command


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

    def check_new(self, verb: str = "train") -> None:
        """Raise UserError unless a new run may begin here. verb: what would resume the one that lies here."""
        if self.config.exists():
            raise UserError(
                f"{self.path} already holds a run; go on with it by: {command('dynalang', verb, '--resume', self.path)}"
                " or choose another --run-dir"
            )
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"{self.path} is a file; --run-dir must name a folder")
        # A start that failed (no space for replay, say) leaves these; anything else belongs to somebody.
        known = {"lock", "replay", "tokens", "pretrained.json"}
        strange = {entry.name for entry in self.path.iterdir()} - known if self.path.exists() else set()
        if strange:
            raise UserError(
                f"{self.path} holds {sorted(strange)[0]!r} and is no run; --run-dir must name a new or empty folder"
            )

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
        if ('"valid_share"' in self.config.read_text()) == (kind is Config):
            raise UserError(f"{self.path} is a run of dynalang {here}, and a run of dynalang {wanted} is needed")
        found = configs.load(self.config, kind)
        return replace(found, run_dir=self.path)  # type: ignore[type-var]  # the folder may have been moved since

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from writing here. The system drops the lock of a process that dies.

        Raises UserError that names the process if one holds the lock.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / "lock").open("a+") as file:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # unlike flock, not inherited by environment workers
            except (BlockingIOError, PermissionError):
                file.seek(0)
                raise UserError(f"{self.path} is in use by process {file.read().strip() or 'unknown'}") from None
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield
