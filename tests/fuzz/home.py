"""What the inputs are made of: a corpus, a tokenizer, two runs and a house, as dynalang makes them; all small."""

import shutil
from pathlib import Path

from .forks import run

SHORT = [
    *("--steps", "40", "--prefill", "20", "--eval-every", "0", "--eval-episodes", "1", "--baseline-episodes", "1"),
    *("--minutes", "0.02"),
]
"""Options of a run that is over in a moment."""
READING = [
    *("--corpus", "corpus.txt", "--tokenizer", "bytes", "--updates", "3", "--minutes", "0.02", "--batch-size", "2"),
    *("--batch-length", "8", "--eval-tokens", "50", "--draws", "2", "--model.rssm.deter", "32"),
    *("--model.rssm.hidden", "16", "--model.rssm.stoch", "4", "--model.rssm.classes", "4", "--model.rssm.blocks", "2"),
    *("--model.encoder.units", "16", "--model.decoder.units", "16"),
]
"""The same of a run that reads."""
HOUSES = ["--train", "1", "--val-unseen", "0", "--paths", "1", "--furniture", "builtin", "--processes", "1"]
"""The same of houses."""


def prepare(home: Path) -> None:
    """Make all of it in an empty folder. Raises RuntimeError where a command fails."""
    (home / "corpus.txt").write_text("the red cat sat on the old mat number 7\nthen it went home\n" * 150)
    (home / "empty.txt").write_text("")
    (home / "binary.bin").write_bytes(bytes(range(256)) * 20)
    for words in (
        ["train", "debug", "--run-dir", "run", *SHORT],
        ["pretrain", "text-small", "--run-dir", "text", *READING],
        ["tokenizer", "train", "corpus.txt", "--vocab-size", "280", "--out", "tok.model"],
        ["houses", "--out", "houses", *HOUSES],
    ):
        ending = run(words, home)
        if ending.verdict != "ran":
            raise RuntimeError(f"dynalang {' '.join(words)}: {ending.verdict}\n{ending.out}{ending.err}")
    _outline(next((home / "houses").rglob("*.glb")), home / "house.obj")


def copy(home: Path, folder: Path, *names: str) -> None:
    """Some of it for an input, which may change it."""
    for name in names:
        source = home / name
        if source.is_dir():
            shutil.copytree(source, folder / name)
        else:
            shutil.copyfile(source, folder / name)


def _outline(glb: Path, obj: Path) -> None:
    import trimesh

    mesh = trimesh.load(glb, force="mesh")
    obj.write_text(trimesh.exchange.obj.export_obj(mesh, include_texture=False))
