"""The inputs: one function for each kind of thing that users hand in, which says who reads it."""

import gzip
import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from random import Random

from . import damage
from .home import HOUSES, READING, copy
from .lines import command_line

Maker = Callable[[Random, Path, Path], tuple[str, list[str]]]
"""(source of choices, what is prepared, the input's folder) → what it is counted as, and the command that reads it."""
EVAL = ["eval", "run", "--episodes", "1"]
RESUME = ["train", "--resume", "run", "--steps", "44"]
GENERATE = ["generate", "text", "--prompt", "the cat", "--tokens", "3", "--draws", "2"]
REREAD = ["pretrain", "--resume", "text", "--updates", "4"]


def command(rng: Random, home: Path, folder: Path) -> tuple[str, list[str]]:
    name, words = command_line(rng)
    copy(home, folder, "corpus.txt", "empty.txt", "binary.bin", "tok.model", "run", "text")
    if "vln" in name or "houses" in words:
        copy(home, folder, "houses")
    return name, words


def settings(rng: Random, home: Path, folder: Path) -> tuple[str, list[str]]:
    """A config.json."""
    run, readers = rng.choice([("run", [EVAL, EVAL, RESUME]), ("text", [GENERATE, REREAD])])
    copy(home, folder, run, "corpus.txt")
    path = folder / run / "config.json"
    path.write_bytes(damage.json_file(rng, path.read_bytes()))
    return "config.json", rng.choice(readers)


def metrics(rng: Random, home: Path, folder: Path) -> tuple[str, list[str]]:
    copy(home, folder, "run")
    path = folder / "run" / "metrics.jsonl"
    rows = path.read_bytes().splitlines()
    at = rng.randrange(len(rows))
    rows[at] = damage.json_file(rng, rows[at])
    path.write_bytes(b"\n".join(rows) + b"\n" * rng.randrange(2))
    return "metrics.jsonl", RESUME


def checkpoint(rng: Random, home: Path, folder: Path) -> tuple[str, list[str]]:
    """A checkpoint whose header or any byte is damaged."""
    run, readers = rng.choice([("run", [EVAL, RESUME]), ("text", [GENERATE, REREAD])])
    copy(home, folder, run, "corpus.txt")
    path = max((folder / run / "checkpoints").glob("step-*"))
    whole = path.read_bytes()
    (size,) = struct.unpack("<Q", whole[:8])
    if rng.random() < 0.4:
        header = damage.text(damage.values(rng, json.loads(whole[8 : 8 + size])))
        path.write_bytes(struct.pack("<Q", len(header)) + header + whole[8 + size :])
    else:
        path.write_bytes(damage.content(rng, whole, end=8 + size if rng.random() < 0.5 else None))
    return "checkpoint", rng.choice(readers)


def state(rng: Random, home: Path, folder: Path) -> tuple[str, list[str]]:
    """What else lies in a run: replay and its counters, a corpus as tokens, results; or something of another kind."""
    run, reader = rng.choice([("run", RESUME), ("run", EVAL), ("text", REREAD)])
    copy(home, folder, run, "corpus.txt")
    found = sorted(path for path in (folder / run).rglob("*") if path.suffix not in (".safetensors", ".png", ".gif"))
    path = rng.choice(found)
    if path.is_file() and rng.random() < 0.75:
        path.write_bytes(damage.content(rng, path.read_bytes()))
        return "state", reader
    _other_kind(rng, path)
    return "state", reader


def _other_kind(rng: Random, path: Path) -> None:
    """A file where a folder was, and the like."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    kinds: list[Callable[[], object]] = [
        path.mkdir,
        lambda: path.write_bytes(b"\xff"),
        lambda: os.mkfifo(path),
        lambda: path.symlink_to("/proc/self/mem"),
        lambda: path.symlink_to("nowhere"),
        lambda: path.symlink_to(path.name),
        lambda: None,
    ]
    rng.choice(kinds)()


def tokenizer(rng: Random, home: Path, folder: Path) -> tuple[str, list[str]]:
    """A sentencepiece model."""
    whole = (home / "tok.model").read_bytes()
    begin = max(0, len(whole) - 600) if rng.random() < 0.5 else 0
    (folder / "tok.model").write_bytes(damage.content(rng, whole, begin))
    if rng.random() < 0.8:
        text = rng.choice(["the red cat, Ünï 🦊 sat\n on 42 </s> ▁x " * 3, "x", "<0x41>", "\u2585", " a  b "])
        return "tokenizer", ["tokenizer", "show", text, "--tokenizer", "tok.model"]
    copy(home, folder, "corpus.txt")
    read = [*READING, "--tokenizer", "tok.model"]
    return "tokenizer", ["pretrain", "text-small", "--run-dir", "new", *read]


def words(rng: Random, home: Path, folder: Path) -> tuple[str, list[str]]:
    """The word list of an episodes file."""
    listed = ["<pad>", "<unk>", "go", "to", "the", "sofa"]
    plain = {
        "episodes": [],
        "instruction_vocab": {
            "word_list": listed,
            "word2idx_dict": {word: i for i, word in enumerate(listed)},
            "itos": listed,
            "stoi": {word: i for i, word in enumerate(listed)},
            "num_vocab": len(listed),
            "UNK_INDEX": 1,
            "PAD_INDEX": 0,
        },
    }
    path = folder / "train.json.gz"
    path.write_bytes(_packed(rng, damage.json_file(rng, damage.text(plain))))
    return "word list", ["tokenizer", "show", "go to the sofa", "--tokenizer", path.name]


def episodes(rng: Random, home: Path, folder: Path) -> tuple[str, list[str]]:
    copy(home, folder, "houses")
    path = rng.choice(sorted((folder / "houses").rglob("*.json.gz")))
    path.write_bytes(_packed(rng, damage.json_file(rng, gzip.decompress(path.read_bytes()))))
    split = rng.choice(["train", "val_seen"])
    readers = [
        ["vln", "check", "houses"],
        ["train", "vln", "--env.data", "houses", "--env.split", split, "--steps", "0"],
    ]
    return "episodes", rng.choice(readers)


def scene(rng: Random, home: Path, folder: Path) -> tuple[str, list[str]]:
    """A GLB, an OBJ, or the settings beside a GLB."""
    if rng.random() < 0.25:
        (folder / "house.obj").write_bytes(_outline(rng, (home / "house.obj").read_bytes()))
        return "OBJ", ["scene", "house.obj"]
    copy(home, folder, "houses")
    glb = next((folder / "houses").rglob("*.glb"))
    beside = glb.with_suffix(".stage_config.json")
    if rng.random() < 0.15:
        beside.write_bytes(damage.json_file(rng, beside.read_bytes()))
        name = "stage"
    else:
        glb.write_bytes(_binary(rng, glb.read_bytes()))
        name = "GLB"
    return name, rng.choice([["scene", str(glb)], ["scene", str(glb)], ["vln", "check", "houses"]])


def _binary(rng: Random, whole: bytes) -> bytes:
    """A GLB: its JSON, or bytes of either part."""
    (size,) = struct.unpack("<I", whole[12:16])
    if rng.random() < 0.5:
        return damage.content(rng, whole, end=20 + size if rng.random() < 0.5 else None)
    plain = damage.text(damage.values(rng, json.loads(whole[20 : 20 + size])))
    plain += b" " * (-len(plain) % 4)
    rest = whole[20 + size :]
    return struct.pack("<4sIIII", b"glTF", 2, 20 + len(plain) + len(rest), len(plain), 0x4E4F534A) + plain + rest


def _outline(rng: Random, whole: bytes) -> bytes:
    if rng.random() < 0.6:
        return damage.content(rng, whole)
    odd = [
        *(
            "mtllib ../../../../../etc/passwd",
            "mtllib nowhere.mtl",
            "f 1 2 99999999",
            "f -1 -2 -3",
            "f 1/1/1 2 3",
            "f 1",
        ),
        *("v nan nan nan", "v 1e400 0 0", "v 1e38 1e38 1e38", "v 1e9 1e9 1e9\nv -1e9 0 0\nf 1 2 -1", "usemtl x", "v 1"),
        *("o", "g \xff", "vt x y", "f 1//99999999 2 3", "curv 1 2", "s 10000000000000000000000", "\\"),
    ]
    return whole + b"\n" + rng.choice(odd).encode("latin-1") + b"\n"


def corpus(rng: Random, home: Path, folder: Path) -> tuple[str, list[str]]:
    """Text to read: of odd characters, long lines and wrong bytes, packed or not."""
    pieces = [
        *("the cat", "\n", "\n\n", "\r", "\r\n", "\0", "\u2585", "🦊", "é", " " * 50, "a" * 3000, "x\u0301", "\u200b"),
        *("<s>", "</s>", "<unk>", "<pad>", "<0x0A>", "▁", "\ufeff", "1" * 500, "\u2028", "名前"),
    ]
    content = "".join(rng.choices(pieces, k=rng.choice([0, 1, 10, 400]))).encode()
    if rng.random() < 0.3:
        content = damage.content(rng, content + b"abc")
    packed = rng.random() < 0.3
    name = "odd.txt.gz" if packed else "odd.txt"
    (folder / name).write_bytes(_packed(rng, content) if packed else content)
    readers = [
        ["tokenizer", "train", name, "--vocab-size", rng.choice(["280", "300", "4000"]), "--out", "new.model"],
        ["pretrain", "text-small", "--run-dir", "new", *READING, "--corpus", name],
    ]
    return "corpus", rng.choice(readers)


def _packed(rng: Random, content: bytes) -> bytes:
    """As gzip: whole, damaged, of two parts, of a great deal of nothing, or not packed at all."""
    whole = gzip.compress(content, 1)
    odd = rng.random()
    if odd < 0.7:
        return whole
    if odd < 0.9:
        return damage.content(rng, whole)
    return rng.choice([content, whole + whole, gzip.compress(b" " * 10_000_000) * 150, whole + b"x" * 50])


def houses(rng: Random, home: Path, folder: Path) -> tuple[str, list[str]]:
    """Furniture of one's own."""
    (folder / "a.sh3f").write_bytes(damage.content(rng, b"PK\x03\x04" + bytes(200)))
    return "furniture", ["houses", "--out", "new", *HOUSES, "--furniture", rng.choice(["a.sh3f", ".", "nowhere"])]


KINDS: dict[Maker, int] = {
    command: 40,
    settings: 10,
    metrics: 3,
    checkpoint: 7,
    state: 7,
    tokenizer: 8,
    words: 5,
    episodes: 8,
    scene: 8,
    corpus: 6,
    houses: 1,
}
"""How often each of them is made."""
