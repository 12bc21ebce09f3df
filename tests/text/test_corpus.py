import gzip
import os
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dynalang_py.errors import UserError
from dynalang_py.text import corpus
from dynalang_py.text.corpus import documents


def test_each_line_is_a_document_and_blank_lines_are_none(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfone two \r\n\n   \n\xc3\xa4 three")
    assert list(documents([path])) == ["one two", "ä three"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("block", [1, 2, 3, 7, 1 << 20])
def test_lines_end_alike_on_all_systems_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str, block: int
) -> None:
    monkeypatch.setattr(corpus, "BLOCK", block)
    path = tmp_path / "a.txt"
    text = ["one", "", "two \v three\f\x85four", "fünf\u2028six", "", "", "seven"]
    for last in ("", end):
        path.write_bytes((end.join(text) + last).encode())
        assert list(documents([path])) == [line for line in text if line]
        assert list(documents([path], "paragraphs")) == ["one", "two \v three\f\x85four fünf\u2028six", "seven"]
    path.write_bytes(end.join(["one", "two", "xy\0"]).encode().replace(b"\0", b"\xff"))
    with pytest.raises(UserError, match=rf"byte {8 + 2 * len(end)} of"):
        list(documents([path]))


def test_a_line_without_end_is_refused_with_the_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "LONGEST", 1 << 12)
    monkeypatch.setattr(corpus, "BLOCK", 1 << 10)
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(bytes(1 << 14)))
    with pytest.raises(UserError, match=r"a\.txt\.gz has a line of more than 4,096 bytes"):
        list(documents([tmp_path / "a.txt.gz"]))


def test_all_sources_are_looked_for_before_the_first_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n")
    with pytest.raises(UserError, match=r"there is no corpus 270; .*; the number of pieces is told by --vocab-size"):
        next(documents([tmp_path / "a.txt", "270"]))


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero", "x" * 100_000, "a\0"):
        with pytest.raises(UserError):
            list(documents([path]))


def test_blank_lines_separate_paragraphs(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("\n\none\ntwo\n\n\nthree\n")
    assert list(documents([path], "paragraphs")) == ["one two", "three"]


def test_folders_are_read_in_the_order_of_paths_and_gzip_is_unpacked(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "z.txt").write_text("last\n")
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"first\nsecond\n"))
    (tmp_path / "a.md").write_text("not text\n")
    assert list(documents([tmp_path, str(tmp_path / "b" / "z.txt")])) == ["first", "second", "last", "last"]


@pytest.mark.parametrize("content", [b"", b"\n \n\t\n"])
def test_an_empty_corpus_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(UserError, match=r"the corpus \(.*a\.txt\) has no text in it"):
        list(documents([tmp_path / "a.txt"]))


def test_undecodable_bytes_are_named_with_file_and_offset(tmp_path: Path) -> None:
    content = b"fine\nbad \xff here\n"
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(UserError, match=r"byte 9 of .*a\.txt is 0xff, which is no UTF-8"):
        list(documents([tmp_path / "a.txt"]))
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(content))
    with pytest.raises(UserError, match=r"byte 9 of .*b\.txt\.gz unpacked is 0xff"):
        list(documents([tmp_path / "b.txt.gz"]))


def test_what_is_missing_or_damaged_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no corpus .*nowhere"):
        list(documents([tmp_path / "nowhere"]))
    with pytest.raises(UserError, match=r"has no file that ends in \.txt"):
        list(documents([tmp_path]))
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"some text\n" * 100)[:-9])
    with pytest.raises(UserError, match=r"cut\.gz is a damaged gzip file"):
        list(documents([tmp_path / "cut.gz"]))


def test_data_sets_need_the_package_datasets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r"hf:stories needs the package datasets: pip install datasets"):
        list(documents(["hf:stories"]))


def test_data_sets_are_streamed_by_name_and_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package is not among our dependencies: what stands in for it answers as it is documented to."""
    asked: list[Any] = []

    def load_dataset(name: str, *, split: str, streaming: bool) -> Iterator[dict[str, str | None]]:
        asked.append((name, split, streaming))
        if name == "offline":
            raise ConnectionError("no network")
        return iter([{"words": "x"}] if name == "wordy" else [{"text": "one\ntwo"}, {"text": None}, {"text": "three"}])

    module = types.ModuleType("datasets")
    module.load_dataset = load_dataset  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", module)
    assert list(documents(["hf:who/stories:test"])) == ["one two", "three"]
    assert asked == [("who/stories", "test", True)]
    with pytest.raises(UserError, match="hf:offline can't be fetched: no network"):
        list(documents(["hf:offline"]))
    with pytest.raises(UserError, match="has no column 'text'; it has 'words'"):
        list(documents(["hf:wordy"]))


def test_reading_a_corpus_needs_the_standard_library_alone() -> None:
    script = "import sys, dynalang_py.text.corpus; sys.exit(bool({'torch', 'numpy'} & sys.modules.keys()))"
    subprocess.run([sys.executable, "-c", script], check=True)
