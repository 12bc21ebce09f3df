"""`dynalang tokenizer`: what a person types, and what is printed."""

import gzip
from pathlib import Path

import pytest

from dynalang_py import cli
from dynalang_py.tokenizers import load

VERBS, THINGS = (
    ("go to", "pick up", "walk past", "look at"),
    ("sofa", "table", "lamp", "door", "bed", "rug", "key", "bookshelf", "window"),
)
TEXT = "".join(f"{verb} the {thing}, then {other} the rug.\n" for verb in VERBS for other in VERBS for thing in THINGS)


def run(capsys: pytest.CaptureFixture[str], *args: str | Path) -> tuple[int, str, str]:
    code = cli.main(["tokenizer", *map(str, args)])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.txt"
    path.write_text(TEXT)
    return path


def test_a_trained_tokenizer_is_measured_and_can_be_loaded(
    capsys: pytest.CaptureFixture[str], corpus: Path, tmp_path: Path
) -> None:
    out = tmp_path / "folder" / "tok.model"
    code, printed, err = run(capsys, "train", corpus, "--vocab-size", "300", "--out", out)
    assert (code, err) == (0, "")
    tokenizer = load(out)
    assert tokenizer.size == 300
    measured = sum(len(tokenizer.encode(line)) for line in TEXT.splitlines())
    assert "training 300 pieces on 144 documents" in printed
    assert f"{len(TEXT.replace(chr(10), '')) / measured:.2f}" in printed
    assert "0.00% of the tokens" in printed
    assert "▁the" in printed
    assert list(out.parent.iterdir()) == [out]


def test_text_is_taken_from_folders_and_gzipped_files(
    capsys: pytest.CaptureFixture[str], corpus: Path, tmp_path: Path
) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "b.txt.gz").write_bytes(gzip.compress(TEXT.encode()))
    out = tmp_path / "tok.model"
    assert run(capsys, "train", corpus, tmp_path / "more", "--vocab-size=300", "--out", out)[0] == 0
    code, printed, _ = run(capsys, "train", corpus, tmp_path / "more", "--vocab-size=300", "--out", out)
    assert code == 0
    assert "288 documents" in printed


def test_show_tells_ids_pieces_and_what_comes_back(capsys: pytest.CaptureFixture[str]) -> None:
    code, printed, _ = run(capsys, "show", "go to the sofa", "--tokenizer", "babyai")
    assert code == 0
    ids = load("babyai").encode("go to the sofa")
    assert " ".join(map(str, ids)) in printed
    assert "go to the <unk> (not the same" in printed
    assert "1 of 4 words (25 %): sofa (1)" in printed
    code, printed, _ = run(capsys, "show", "go", "to", "the", "sofa")
    assert code == 0
    assert "▁go ▁to ▁the ▁sofa" in printed
    assert "go to the sofa (the same)" in printed
    assert "unknown 1)" in printed


@pytest.mark.parametrize("command", ["--help", "train --help", "show --help"])
def test_help_teaches(capsys: pytest.CaptureFixture[str], command: str) -> None:
    try:
        code = cli.main(["tokenizer", *command.split()])
    except SystemExit as end:
        code = int(end.code or 0)
    assert code == 0
    assert "dynalang tokenizer" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("", "dynalang tokenizer can train and show"),
        ("shw x", "there is no 'shw'. Did you mean 'show'?"),
        ("train", "name a text file or a folder of them"),
        ("train {tmp}/nowhere.txt", "nowhere.txt"),
        ("train {tmp}/empty.txt", "has no text in it"),
        ("train {tmp}/bad.txt", "byte 6 of {tmp}/bad.txt is 0xff, which is no UTF-8 text"),
        ("train {tmp}/corpus.txt --vocab-size 259", "vocab_size must be more than 259"),
        ("train {tmp}/corpus.txt --vocab-size 4000", "the text supports a vocabulary of at most"),
        ("train {tmp}/corpus.txt --vocab 300", "there is no option --vocab. Did you mean '--vocab-size'?"),
        ("train {tmp}/corpus.txt --out {tmp}", "--out is {tmp}, which is a folder; name a file in it"),
        ("show", "there is no text to show"),
        ("show go --tokenizer {tmp}/corpus.txt", "{tmp}/corpus.txt is no sentencepiece model"),
        ("show go --tokenizer englsh", "there is no tokenizer 'englsh'"),
        ("train {tmp}/corpus.txt 270", "there is no corpus 270; name text files"),
        ("train {tmp}/corpus.txt 270", "the number of pieces is told by --vocab-size"),
        ("train {tmp}/corpus.txt {tmp}/bad.txt", "byte 6 of {tmp}/bad.txt is 0xff"),
        ("train {tmp}/corpus.txt --vocab-size 2147483647", "vocab_size must be at most 1,048,576"),
        ("train {tmp}/corpus.txt --vocab-size 100000000000000000000", "vocab_size must be at most 1,048,576"),
        ("show go --tokenizer /proc/self/mem", "can't be read"),
        (f"show go --tokenizer {'x' * 100_000}", "is too long: 4,096 characters are allowed"),
        (f"train {'x' * 100_000}", "is too long: 4,096 characters are allowed"),
        (f"train {{tmp}}/corpus.txt --out {'x' * 100_000}", "is too long: 4,096 characters are allowed"),
        ("train {tmp}/corpus.txt --out /dev/null", "--out is /dev/null, which is a device"),
        ("train /dev/zero", "is a device, pipe or socket"),
        ("show \udcff", "has bytes that are no UTF-8"),
    ],
)
def test_bad_input_gets_one_sentence_and_writes_nothing(
    capsys: pytest.CaptureFixture[str], corpus: Path, tmp_path: Path, command: str, sentence: str
) -> None:
    (tmp_path / "empty.txt").write_text("\n \n")
    (tmp_path / "bad.txt").write_bytes(b"go to \xff")
    before = sorted(tmp_path.iterdir())
    words = command.format(tmp=tmp_path).split()
    out = ["--out", str(tmp_path / "tok.model")] if words[1:] and words[0] == "train" and "--out" not in words else []
    code, _, err = run(capsys, *words, *out)
    assert code == 2
    assert err.startswith("dynalang: ")
    assert err.count("\n") == 1
    assert sentence.format(tmp=tmp_path) in err
    assert sorted(tmp_path.iterdir()) == before


def test_a_refused_training_leaves_the_old_file(
    capsys: pytest.CaptureFixture[str], corpus: Path, tmp_path: Path
) -> None:
    out = tmp_path / "tok.model"
    out.write_bytes(b"old")
    assert run(capsys, "train", corpus, "--vocab-size", "4000", "--out", out)[0] == 2
    assert out.read_bytes() == b"old"


def test_without_a_number_the_vocabulary_fits_the_text_and_says_so(
    capsys: pytest.CaptureFixture[str], corpus: Path, tmp_path: Path
) -> None:
    out = tmp_path / "a folder" / "tok.model"
    code, printed, err = run(capsys, "train", corpus, "--out", out)
    assert (code, err) == (0, "")
    assert f"{load(out).size} ids" in printed
    assert load(out).size < 400
    assert "4,000 are usual, the text supports no more" in printed
    assert "taken otherwise       none of them" in printed
    assert f"dynalang tokenizer show 'go to the blue sofa' --tokenizer '{out}'" in printed
    assert f"dynalang pretrain text-small --corpus {corpus} --tokenizer '{out}'" in printed


def test_training_says_which_documents_it_took_otherwise_and_why(
    capsys: pytest.CaptureFixture[str], corpus: Path, tmp_path: Path
) -> None:
    (tmp_path / "odd.txt").write_text(f"the \u2585 sofa\na\0b\n\u2585\n{'ab' * 300}\n")
    code, printed, err = run(capsys, "train", corpus, tmp_path / "odd.txt", "--out", tmp_path / "tok.model")
    assert (code, err) == (0, "")
    assert "148 documents" in printed
    assert "3 with U+2585 or U+0000, which sentencepiece keeps for itself" in printed
    assert "1 with more than 200 characters without a space: cut there" in printed
    assert "1 of which nothing was left" in printed


@pytest.mark.parametrize(
    ("tokenizer", "text", "told"),
    [
        ("homegrid", "find the sofa!", "1 of 3 words (33.3 %): sofa (1)"),
        ("homegrid", "sofa", "1 of 1 words (100 %): sofa (1)"),
        ("babyai", "sofa", "1 of 1 words (100 %): sofa (1)"),
        ("babyai", "go to the box!", "none of 4 words"),
        ("english", "go, 🦊", "none of 2 words; 1 (50 %) are spelt in bytes: 🦊 (1)"),
    ],
)
def test_show_tells_what_can_t_be_said_by_one_rule(
    capsys: pytest.CaptureFixture[str], tokenizer: str, text: str, told: str
) -> None:
    code, printed, _ = run(capsys, "show", text, "--tokenizer", tokenizer)
    assert code == 0
    assert told in printed
