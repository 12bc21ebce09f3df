"""What decides the ids that a run learns, kept in its folder: the tokenizer as a file, and its hash.

`RUN/tokenizer/identity.json` says by which name the tokenizer was called, which hash it has and which file beside it
holds it. Tokenizers that are code (closed lists of words, bytes) have no file: their hash tells a package that changed.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from dynalang_py import files
from dynalang_py.envs.vln.config import VLNConfig
from dynalang_py.envs.vln.layout import episode_path
from dynalang_py.errors import UserError, shown
from dynalang_py.reading import open_file, read_bytes, read_json, user_path
from dynalang_py.run.folder import RunFolder
from dynalang_py.tokenizers import ENGLISH, Tokenizer, encoders, load, t5
from dynalang_py.tokenizers.closed import VLNWords
from dynalang_py.tokenizers.pieces import SentencePieces

Settings = TypeVar("Settings")
"""Of a world, or of a run that reads: whatever names a tokenizer."""


@dataclass(frozen=True)
class _Record:
    """What identity.json holds."""

    tokenizer: str = ""
    """Its name or path, as it was typed last; empty where none is named."""
    identity: str = ""
    file: str = ""
    vocabulary: str = ""
    """Hash of the pieces that the world says."""
    encoder: str = ""
    """Identity of the encoder whose vectors are heard."""
    episodes: str = ""
    """Hash of the file of episodes that training plays."""


def own(folder: RunFolder, settings: Settings) -> Settings:
    """The settings with the run's own tokenizer in the place of the one that they name.

    Raises UserError if they name another one than the run has learned with, or if the one of that name has changed.
    """
    record = _read(folder)
    if record is None:  # a run that is about to begin, or of an earlier version
        return settings
    if record.encoder and _encoder(settings) != record.encoder:
        raise UserError(f"{_what(settings, 'encoder')} is not the one whose vectors {folder.path} learned from")
    field = _field(settings)
    if not field or not record.identity:
        return settings
    name = str(getattr(settings, field))
    kept = folder.tokenizer / record.file
    if name != record.tokenizer or not record.file:
        found = load(_named(settings, field)).identity
        if found != record.identity:
            what = _what(settings, field)
            raise UserError(
                f"{what} is not the tokenizer that {folder.path} learned with (SHA-256 {record.identity[:12]}…, here"
                f" {found[:12]}…): its ids stand for other words. The run's own is taken where none is named"
                + ("" if record.file else "; it belongs to the version of dynalang_py or of the world that made it")
            )
    if record.file and load(kept).identity != record.identity:
        raise UserError(f"{kept} is not the tokenizer that {folder.path} learned with; it was changed or is damaged")
    return _with(settings, field, kept) if record.file else settings


def keep(folder: RunFolder, settings: Any, vocabulary: tuple[str, ...] = ()) -> None:
    """Put what `settings` name into the folder, once; later calls keep in mind by which name it is called now.

    vocabulary: what the world says. Raises UserError if it, or the episodes, are not those that the run began with.
    """
    old = _read(folder)
    record = _Record(
        vocabulary=_hash("\0".join(vocabulary).encode()), encoder=_encoder(settings), episodes=_episodes(settings)
    )
    check_vocabulary(folder, vocabulary)
    if old and old.episodes not in ("", record.episodes):
        raise UserError(
            f"the episodes of {settings.split!r} in {settings.data} are not those that {folder.path} began with; a run"
            " goes on with its own"
        )
    if field := _field(settings):
        name = str(getattr(settings, field))
        if old:
            record = replace(record, tokenizer=name, identity=old.identity, file=old.file)
        else:
            tokenizer = load(_named(settings, field))
            file, content = _content(tokenizer, name)
            record = replace(record, tokenizer=name, identity=tokenizer.identity, file=file)
            if file:
                files.write(folder.tokenizer / file, content)
    if record != old:
        files.write(folder.tokenizer / "identity.json", json.dumps(vars(record), indent=1) + "\n")


def forget(folder: RunFolder) -> None:
    """Before a new run begins: a start that failed may have left what it kept."""
    for path in (folder.tokenizer / "identity.json", *folder.tokenizer.glob("tokenizer.*")):
        path.unlink(missing_ok=True)


def check_vocabulary(folder: RunFolder, vocabulary: tuple[str, ...]) -> None:
    """Raise UserError if a world says other words than the run has learned, as after an update of its package."""
    record = _read(folder)
    if record and record.vocabulary and record.vocabulary != _hash("\0".join(vocabulary).encode()):
        raise UserError(
            f"the world's words are not those that {folder.path} learned: its package, or dynalang_py, has changed"
        )


def _read(folder: RunFolder) -> _Record | None:
    path = folder.tokenizer / "identity.json"
    files.check_own(folder.tokenizer, folder=True)
    files.check_own(path)
    if not path.exists():
        return None
    plain = read_json(path, most=1 << 20)
    names = vars(_Record())
    if not isinstance(plain, dict) or not all(isinstance(plain.get(name, ""), str) for name in names):
        raise UserError(f"{path} does not say which tokenizer the run has")
    record = _Record(**{name: plain.get(name, "") for name in names})
    if record.file not in ("", "tokenizer.model", "tokenizer.json"):
        raise UserError(f"{path} names the file {shown(record.file)}, which no run keeps")
    if record.file:
        files.check_own(folder.tokenizer / record.file)
    return record


def _field(settings: Any) -> str:
    """The setting that names the tokenizer in use; empty where there is none."""
    tokens = getattr(settings, "tokens", "")
    if tokens == "embed":
        return ""
    if hasattr(settings, "sentencepiece"):
        return "sentencepiece"
    return "tokenizer" if hasattr(settings, "tokenizer") and tokens != "t5" else ""


def _named(settings: Any, field: str) -> str | Path:
    value: str | Path = getattr(settings, field)
    return user_path(value) if isinstance(value, Path) else value


def _with(settings: Settings, field: str, path: Path) -> Settings:
    kind = type(getattr(settings, field))
    return replace(settings, **{field: kind(path.absolute())})  # type: ignore[type-var]


def _content(tokenizer: Tokenizer, name: str) -> tuple[str, bytes]:
    """A file's name and content from which `load` makes this tokenizer again; empty for one that is code."""
    if isinstance(tokenizer, VLNWords):
        words = {"instruction_vocab": {"word_list": list(tokenizer.pieces)}}
        return "tokenizer.json", json.dumps(words).encode()
    if isinstance(tokenizer, SentencePieces):
        path = ENGLISH if name == "english" else t5.find() if name == "t5" else user_path(name)
        return "tokenizer.model", read_bytes(path, "the tokenizer")
    return "", b""


def _encoder(settings: Any) -> str:
    """Identity of a frozen encoder; of a folder, the hash of what is in it."""
    if getattr(settings, "tokens", "") != "embed":
        return ""
    name = settings.encoder
    if name == "homegrid":
        return encoders.find(name).identity
    path = user_path(name)
    if not path.is_dir():
        return str(name)
    digest = hashlib.sha256()
    for file in sorted(path.iterdir()):
        if file.is_file():
            digest.update(f"{file.name}\0{_file_hash(file)}\0".encode())
    return digest.hexdigest()


def _episodes(settings: Any) -> str:
    return _file_hash(episode_path(settings.data, settings.split)) if isinstance(settings, VLNConfig) else ""


def _what(settings: Any, field: str) -> str:
    return f"{field} {shown(str(getattr(settings, field)))}"


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _file_hash(path: Path) -> str:
    digest = hashlib.sha256()
    with open_file(path) as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()
