from pathlib import Path

import numpy as np
import pytest

from dynalang_py.errors import UserError
from dynalang_py.text.tokens import TextConfig, Tokens, tokenise
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
    (folder / "meta.json").unlink()
    (folder / "ids.raw").write_bytes(b"half")
    assert encode(tmp_path, "one", "two").ids.tolist() == ids
    with (folder / "ids.raw").open("ab") as file:
        file.write(b"??")
    with pytest.raises(UserError, match="is damaged"):
        encode(tmp_path, "one", "two")


def test_a_large_vocabulary_gets_wide_ids(tmp_path: Path) -> None:
    words = [f"w{i}" for i in range(70_000)]
    corpus = write(tmp_path / "a.txt", words[-1])
    tokens = tokenise(TextConfig(), [corpus], Vocabulary(words), tmp_path / "cache")
    assert tokens.ids.tolist() == [70_001]
