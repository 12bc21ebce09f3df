import json
import resource
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dynalang_py.errors import UserError
from dynalang_py.text.tokens import TextConfig, Tokens, _open, tokenise
from dynalang_py.tokenizers.bytewise import Bytes
from dynalang_py.tokenizers.closed import Vocabulary


def write(path: Path, *lines: str) -> str:
    path.write_text("\n".join(lines))
    return str(path)


def encode(tmp_path: Path, *lines: str, workers: int = 0, cache: str = "cache") -> Tokens:
    corpus = write(tmp_path / "a.txt", *lines)
    return tokenise(TextConfig(workers=workers), [corpus], Bytes(), tmp_path / cache)


def test_documents_are_laid_out_with_the_end_mark_behind_each(tmp_path: Path) -> None:
    tokens = encode(tmp_path, "ab", "ö")
    ends = Bytes.end
    assert tokens.ids.tolist() == [*Bytes().encode("ab"), ends, *Bytes().encode("ö"), ends]
    assert tokens.starts.tolist() == [0, 3, 6]
    assert tokens.characters.tolist() == [3, 2]
    assert tokens[1].tolist() == [*Bytes().encode("ö"), ends]
    part = tokens.part(1, 2)
    assert (part.ids.tolist(), part.starts.tolist(), part.characters.tolist()) == (tokens[1].tolist(), [0, 3], [2])
    assert [tokens.head(n).documents for n in (1, 3, 5, 6, 100)] == [1, 1, 1, 2, 2]


def test_the_same_text_is_encoded_once_wherever_it_lies(tmp_path: Path) -> None:
    first = encode(tmp_path, "one", "two")
    folder = tmp_path / "cache" / first.key
    made = (folder / "ids.raw").stat().st_mtime_ns
    elsewhere = write(tmp_path / "b.txt", "one", "two", "")
    again = tokenise(TextConfig(), [elsewhere], Bytes(), tmp_path / "cache")
    assert again.key == first.key
    assert (folder / "ids.raw").stat().st_mtime_ns == made
    assert encode(tmp_path, "one", "two.").key != first.key
    assert tokenise(TextConfig(), [elsewhere], Vocabulary(["one", "two"]), tmp_path / "cache").key != first.key


def test_several_processes_give_the_same_tokens(tmp_path: Path) -> None:
    lines = [f"document number {i}" for i in range(1_700)]  # more chunks than may wait
    alone = encode(tmp_path, *lines)
    together = encode(tmp_path, *lines, workers=1, cache="other")
    np.testing.assert_array_equal(alone.ids, together.ids)
    np.testing.assert_array_equal(alone.starts, together.starts)


def test_an_encoding_that_was_interrupted_is_made_anew(tmp_path: Path) -> None:
    whole = encode(tmp_path, "one", "two")
    ids, folder = whole.ids.tolist(), tmp_path / "cache" / whole.key
    files = set(folder.iterdir())
    (folder / "meta.json").unlink()
    (folder / "ids.raw").write_bytes(b"half")
    dead = subprocess.Popen(["true"])
    dead.wait()
    (folder / f".ids.raw.{dead.pid}.partial").touch()
    assert encode(tmp_path, "one", "two").ids.tolist() == ids
    assert set(folder.iterdir()) == files


def test_every_bit_of_the_cache_counts(tmp_path: Path) -> None:
    whole = encode(tmp_path, "one", "two")
    folder = tmp_path / "cache" / whole.key
    for path in folder.iterdir():
        content = path.read_bytes()
        for at in range(len(content)):
            path.write_bytes(content[:at] + bytes([content[at] ^ 1 << at % 8]) + content[at + 1 :])
            assert _open(folder, Bytes()) is None
        path.write_bytes(content)
    assert _open(folder, Bytes()) is not None


@pytest.mark.parametrize(
    ("key", "value"),
    [("dtype", "|O"), ("dtype", "<f8"), ("dtype", "<u8"), ("dtype", 3), ("dtype", None), ("crc32", "x"), ("crc32", [])],
)
def test_a_cache_that_says_otherwise_is_made_anew(tmp_path: Path, key: str, value: Any) -> None:
    whole = encode(tmp_path, "one", "two")
    path = tmp_path / "cache" / whole.key / "meta.json"
    meta = path.read_text()
    for text in (json.dumps(json.loads(meta) | {key: value}), "[]", "[" * 100_000, "", "{}"):
        path.write_text(text)
        assert encode(tmp_path, "one", "two").ids.tolist() == whole.ids.tolist()
        assert path.read_text() == meta


@pytest.mark.parametrize(
    ("ids", "starts", "characters"),
    [
        ([1, 2, 250], [0, 1, 3], [1, 1]),  # 250 is no id of a vocabulary of 200
        ([1, 2, 3], [0, 3, 1, 3], [1, 1, 1]),
        ([1, 2, 3], [0, 1, 9], [1, 1]),
        ([1, 2, 3], [1, 3], [1]),
        ([1, 2, 3], [0, 1, 3], [1]),
        ([1], [0], []),
    ],
)
def test_a_cache_that_is_whole_and_no_text_is_made_anew(
    tmp_path: Path, ids: list[int], starts: list[int], characters: list[int]
) -> None:
    content = bytes(ids), np.array(starts, np.int64).tobytes(), np.array(characters, np.int64).tobytes()
    for name, part in zip(("ids", "starts", "characters"), content, strict=True):
        (tmp_path / f"{name}.raw").write_bytes(part)
    crc = zlib.crc32(b"".join(content))
    words = Vocabulary([f"w{i}" for i in range(198)])
    (tmp_path / "meta.json").write_text(json.dumps({"dtype": "|u1", "tokenizer": words.identity, "crc32": crc}))
    assert words.size == 200
    assert _open(tmp_path, words) is None


def test_a_cache_is_not_written_through_a_link(tmp_path: Path) -> None:
    whole = encode(tmp_path, "one", "two")
    folder, elsewhere = tmp_path / "cache" / whole.key, tmp_path / "elsewhere"
    elsewhere.write_bytes(b"keep me")
    for path in folder.iterdir():
        path.unlink()
        path.symlink_to(elsewhere)
        assert encode(tmp_path, "one", "two").ids.tolist() == whole.ids.tolist()
        assert not path.is_symlink()
    assert elsewhere.read_bytes() == b"keep me"
    folder.rename(tmp_path / "moved")
    folder.symlink_to(tmp_path / "moved")
    with pytest.raises(UserError, match=f"{folder} is a link"):
        encode(tmp_path, "one", "two")


def test_a_full_disk_names_the_file_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    corpus = write(tmp_path / "a.txt", *["x" * 100] * 100)
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, old[1]))
    try:
        with pytest.raises(OSError, match=r"too large: .*ids\.raw"):
            tokenise(TextConfig(), [corpus], Bytes(), tmp_path / "cache")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    (folder,) = (tmp_path / "cache").iterdir()
    assert not list(folder.iterdir())


@pytest.mark.parametrize("workers", [0, 1])
def test_what_is_lost_of_a_corpus_is_told_also_at_a_second_start(tmp_path: Path, workers: int) -> None:
    corpus = write(tmp_path / "a.txt", *["one two, three!"] * 600, "four")
    config, tokenizer = TextConfig(workers=workers), Vocabulary(["one", "two"])
    first = tokenise(config, [corpus], tokenizer, tmp_path / "cache")
    again = tokenise(config, [corpus], tokenizer, tmp_path / "cache")
    for tokens in (first, again, again.part(0, 2), again.head(1)):
        assert str(tokens.coverage) == "601 of 1,801 words (33.4 %): three (600), four (1)"
    meta = tmp_path / "cache" / first.key / "meta.json"
    old = json.loads(meta.read_text())
    del old["coverage"]
    meta.write_text(json.dumps(old))  # as before it was counted
    assert str(tokenise(config, [corpus], tokenizer, tmp_path / "cache").coverage) == str(first.coverage)


def test_a_corpus_of_which_nothing_can_be_said_is_refused(tmp_path: Path) -> None:
    corpus = write(tmp_path / "a.txt", "three", "four")
    with pytest.raises(UserError, match=r"leaves nothing of the corpus: it can't say 2 of 2 words \(100 %\): four"):
        tokenise(TextConfig(), [corpus], Vocabulary(["one"], unknown=False), tmp_path / "cache")


def test_a_large_vocabulary_gets_wide_ids(tmp_path: Path) -> None:
    words = [f"w{i}" for i in range(70_000)]
    corpus = write(tmp_path / "a.txt", words[-1])
    tokens = tokenise(TextConfig(), [corpus], Vocabulary(words), tmp_path / "cache")
    assert tokens.ids.tolist() == [70_001]


def test_what_is_encoded_is_counted_and_what_is_known_is_not(tmp_path: Path) -> None:
    corpus = [write(tmp_path / "corpus.txt", *(f"document {i}" for i in range(30)))]
    begun: list[tuple[str, int]] = []
    counts: list[int] = []

    def counting(unit: str, total: int) -> Callable[[int], None]:
        begun.append((unit, total))
        return counts.append

    for _ in range(2):
        tokenise(TextConfig(), corpus, Bytes(), tmp_path / "cache", counting)
    assert begun == [("documents encoded", 30)]
    assert counts == list(range(30))


def test_a_named_cache_is_read_and_not_written_where_another_folder_is_meant(tmp_path: Path) -> None:
    corpus = write(tmp_path / "a.txt", "one", "two")
    config = TextConfig(cache=tmp_path / "named")
    first = tokenise(config, [corpus], Bytes(), tmp_path / "own")
    assert not (tmp_path / "named").exists()
    (tmp_path / "own").rename(tmp_path / "named")
    again = tokenise(config, [corpus], Bytes(), tmp_path / "own")
    assert again.ids.tolist() == first.ids.tolist()
    assert not (tmp_path / "own").exists()
