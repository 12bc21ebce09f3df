"""Mutations: of bytes, and of what stands in JSON."""

import copy
import json
from collections.abc import Iterator
from random import Random
from typing import Any

VALUES: list[Any] = [
    *(None, True, False, 0, 1, 2, 3, 7, -1, 0.5, -0.5, 3.5, 1e308, -1e308, 1e-308, float("nan"), float("inf")),
    *(
        10**30,
        10**400,
        -(10**400),
        2**31,
        2**63,
        10**9,
        100_000,
        "",
        " ",
        "x",
        "\ud800",
        "\0",
        "../../x",
        "/proc/self/mem",
    ),
    *("a" * 5000, [], {}, [1], [[1]], [0, 0, 0, 1], [1e-200] * 4, [float("nan")] * 3, [1e308] * 3, ["1", "2", "3"]),
    *(
        {"kind": "babyai"},
        {"kind": "dummy"},
        {"kind": []},
        "cpu",
        "cuda",
        "babyai",
        "none",
        "shuffled",
        "homegrid-task",
    ),
]
"""What stands in the place of a value."""
CHARACTERS = b'0123456789-.eE[]{},":x\n\xff\x00'


def places(plain: Any, at: tuple[Any, ...] = (), most: int = 8) -> Iterator[tuple[Any, ...]]:
    """The path to each value in a JSON value; of long lists to the first few."""
    children = plain.items() if isinstance(plain, dict) else enumerate(plain[:most]) if isinstance(plain, list) else ()
    for key, child in children:
        yield (*at, key)
        yield from places(child, (*at, key), most)


def values(rng: Random, plain: Any) -> Any:
    """A JSON value with some of its values replaced, removed or doubled, and keys that nobody knows."""
    plain = copy.deepcopy(plain)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        found = list(places(plain))
        if not found:
            return rng.choice(VALUES)
        *path, last = rng.choice(found)
        parent = plain
        for key in path:
            parent = parent[key]
        deed = rng.random()
        if deed < 0.12:
            del parent[last]
        elif deed < 0.2:
            if isinstance(parent, list):
                parent.append(copy.deepcopy(parent[last]))
            else:
                parent[rng.choice(["x", "", "kind", "1"])] = rng.choice(VALUES)
        else:
            parent[last] = copy.deepcopy(rng.choice(VALUES))
    return plain


def text(plain: Any) -> bytes:
    return json.dumps(plain).encode()


def content(rng: Random, whole: bytes, begin: int = 0, end: int | None = None) -> bytes:
    """Some bytes between begin and end flipped or replaced, and now and then the file cut short, doubled or gone."""
    data = bytearray(whole)
    end = len(data) if end is None else min(end, len(data))
    for _ in range(rng.choice([1, 1, 3, 10, 100])):
        at = rng.randrange(begin, max(end, begin + 1))
        if at < len(data):
            data[at] = rng.choice([data[at] ^ (1 << rng.randrange(8)), rng.randrange(256), rng.choice(CHARACTERS)])
    odd = rng.random()
    if odd < 0.12:
        del data[rng.randrange(len(data) + 1) :]
    elif odd < 0.16:
        data += bytes(data)
    elif odd < 0.2:
        data = bytearray(rng.choice([b"", bytes(1000), b"\xff" * 1000, b"[" * 100_000, b"hello\n" * 10]))
    return bytes(data)


def json_file(rng: Random, whole: bytes) -> bytes:
    """A JSON file with other values, or other characters."""
    return text(values(rng, json.loads(whole))) if rng.random() < 0.75 else content(rng, whole)
