"""Command lines over all verbs: sensible ones with odd values, and mangled ones."""

from collections.abc import Mapping
from random import Random
from typing import Any

from dynalang_py import presets
from dynalang_py.config import flatten, to_dict
from dynalang_py.envs.vln.houses.dataset import HousesConfig
from dynalang_py.run.bench import BenchConfig
from dynalang_py.run.evaluate import EvalConfig
from dynalang_py.run.generate import GenerateConfig
from dynalang_py.run.tokenizer import ShowTokenizerConfig, TrainTokenizerConfig
from dynalang_py.text import config as readers

from .home import HOUSES, READING, SHORT

NUMBERS = [
    *("0", "-0", "-1", "1", "2", "3", "7", "0.5", "-0.5", "1e400", "-1e400", "nan", "NaN", "inf", "-inf", "1e-400"),
    *("1e308", "1e-308", "99999999999999999999", "-9223372036854775809", "9223372036854775807", "2147483648", "1e9"),
    *("4294967296", "1_000", "0x10", "١٢", "1e3", "1,5", "+5", " 5", "00", "1000000", "9" * 5000),
]
TEXTS = [
    *(
        "",
        " ",
        "é",
        "名前",
        "🦊" * 10,
        "a" * 100_000,
        "\n",
        "\t",
        "-",
        "--",
        "---",
        "=",
        "None",
        "null",
        "True",
        "false",
    ),
    *("[]", "{}", "()", "[1,2]", "../x", "/proc/self/mem", "/proc/nowhere/x", ".", "..", "run", "run/config.json"),
    *(
        "corpus.txt",
        "empty.txt",
        "binary.bin",
        "nowhere/at/all",
        "~",
        "~nobody-is-called-this",
        "%s%s",
        "$(id)",
        "`id`",
    ),
    *("*", "\udcff", "a\x1bb", "a\0b", "\\", "'", '"', "train", "debug", "babyai", "true", "shuffled", "none", "cpu"),
    *("cuda", "auto", "bytes", "english", "t5", "tok.model", "dreamer2023", "dreamer2025", "text", "houses"),
]
SMALL = ["--envs", "1", "--batch-size", "2", "--batch-length", "8", "--replay.capacity", "400"]


def _options(config: Any) -> dict[str, Any]:
    named = flatten(to_dict(config))
    return {f"--{name.replace('_', '-')}": value for name, value in named if not name.endswith("kind")}


def _train(preset: str, *words: str) -> tuple[list[str], Mapping[str, Any]]:
    return ["train", preset, *SHORT, *words], _options(presets.get(preset))


VERBS: dict[str, tuple[list[str], Mapping[str, Any]]] = {
    "train": _train("debug"),
    "train babyai": _train("babyai", *SMALL),
    "train vln": _train("vln", *SMALL, "--env.data", "houses"),
    "train homegrid": _train("homegrid-task", *SMALL),
    "train langroom": _train("langroom", *SMALL),
    "resume": (["train", "--resume", "run", "--steps", "44"], _options(presets.get("debug"))),
    "eval": (
        ["eval", "run", "--episodes", "1"],
        _options(EvalConfig(env=presets.get("debug").env)) | {"--task": "", "--choices": 3},
    ),
    "pretrain": (["pretrain", "text-small", *READING], _options(readers.get("text-small"))),
    "generate": (
        ["generate", "text", "--prompt", "the cat", "--tokens", "3", "--draws", "2"],
        _options(GenerateConfig()),
    ),
    "tokenizer train": (
        ["tokenizer", "train", "corpus.txt", "--vocab-size", "280", "--out", "new.model"],
        _options(TrainTokenizerConfig()),
    ),
    "tokenizer show": (["tokenizer", "show", "go to the sofa"], _options(ShowTokenizerConfig())),
    "houses": (["houses", "--out", "new", *HOUSES], _options(HousesConfig())),
    "vln": (["vln", "check", "houses"], {"--scenes": "", "--json": True}),
    "bench": (
        ["bench", "--updates", "1", "--no-compile", "--batch-size", "1", "--batch-length", "4", "--horizon", "2"],
        _options(BenchConfig()),
    ),
    "presets": (["presets", "debug"], {"--size": "cpu", "--json": True}),
}
OFTEN = ["train", "eval", "resume", "generate", "pretrain", "tokenizer show", "tokenizer train", "presets", "vln"]
"""Verbs whose commands take little time."""


def _value(rng: Random, old: Any) -> str | None:
    if isinstance(old, bool):
        return rng.choice(TEXTS + NUMBERS) if rng.random() < 0.7 else None
    pools = (NUMBERS, TEXTS) if isinstance(old, (int, float)) else (TEXTS, NUMBERS)
    return rng.choice(pools[rng.random() > 0.75])


def command_line(rng: Random) -> tuple[str, list[str]]:
    """The verb that is meant, and the words of a command line."""
    name = rng.choice([*OFTEN * 3, *VERBS])
    base, known = VERBS[name]
    words, how = list(base), rng.random()
    if how < 0.72:
        for _ in range(rng.choice([1, 1, 1, 2, 3])):
            _change(rng, words, known)
    elif how < 0.9:
        for _ in range(rng.choice([1, 1, 2])):
            _mangle(rng, words)
    else:
        odd = [*VERBS, *TEXTS, "--help", "-h", "--version", "--json", "--resume", "--size", "help"]
        words = [rng.choice(odd).split(" ")[0] for _ in range(rng.randrange(5))]
    return name, words


def _change(rng: Random, words: list[str], known: Mapping[str, Any]) -> None:
    """Another value for an option, mostly at the end."""
    option = rng.choice(list(known))
    new = _value(rng, known[option])
    if rng.random() < 0.15:
        option = option.replace("-", "_")
    elif rng.random() < 0.05:
        head, dot, last = option[2:].rpartition(".")
        option = f"--{head}{dot}no-{last}"
    at = rng.randrange(2, len(words) + 1) if rng.random() < 0.15 else len(words)
    words[at:at] = [option] if new is None else [f"{option}={new}"] if rng.random() < 0.3 else [option, new]


def _mangle(rng: Random, words: list[str]) -> None:
    """One word dropped, replaced, added or misspelt."""
    if not words:
        return
    at = rng.randrange(len(words))
    deed = rng.random()
    if deed < 0.3:
        words.pop(at)
    elif deed < 0.6:
        words[at] = rng.choice(TEXTS + NUMBERS)
    elif deed < 0.8:
        words.insert(at, rng.choice(TEXTS + NUMBERS))
    else:
        word = words[at]
        where = rng.randrange(len(word) + 1)
        words[at] = word[:where] + rng.choice(["", "x", "-", "=", ".", "\u200b", "é"]) + word[where + 1 :]
