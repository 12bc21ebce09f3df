"""Makes tokenizers/assets/english.model, the tokenizer that the package ships: general English, 4,000 pieces.

    apt-get install wordnet-base          # or unpack the package anywhere, and name its folder: --wordnet FOLDER
    pip install homegrid
    python scripts/make_tokenizer.py

The text is what WordNet 3.0 says about its words (its licence lies beside the model), the sentences of the package
homegrid, and instructions that the grammar below makes. Inputs and output are checked against the hashes below: the
same text gives the same file on the same kind of processor.
"""

import argparse
import hashlib
import importlib.util
import itertools
from collections.abc import Iterator
from pathlib import Path

from dynalang_py import files
from dynalang_py.errors import UserError
from dynalang_py.tokenizers.pieces import train

SIZE = 4_000
ASSET = Path(__file__).parents[1] / "tokenizers" / "assets" / "english.model"
WORDNET = {
    "data.noun": "fea17d2f9656611334eac790e5d69e47645fa180c4aa481fb4cd9b3520754ca2",
    "data.verb": "adcf43e35b581e8036d8b5a52d63d9cd3d3b4870b2720d3c03c799df44777bc2",
    "data.adj": "c89120dfc1f046ddff4a631bf9b7e9fa1a36b5e86565a23bf82dbe14f30b88a7",
    "data.adv": "444a63bf3955080ab7524f5079cfc07ff9bc682cb98bdb1db73b0fb9829f1139",
}
"""SHA-256 of WordNet's files, as in Debian's wordnet-base 1:3.0-37."""
HOMEGRID = "7075766335d322fa304f2f89e1628fb991d9bd3e91d7f5ed0d78a14c19641ba7"
"""SHA-256 of homegrid_sentences.txt, as in homegrid 0.1.1."""
TEXT = "7ec0f0a202403bc9f52fe477d093ee62dcf939dcd79ac7c3e62c7d580f8fac72"
"""SHA-256 of all lines that the model is trained on, each with its line feed."""
MODEL = "0009bacc7971752c0c161e07b239ab5e71b26caae894265769413343109f8747"
"""SHA-256 of the model, trained by sentencepiece 0.2.3 on x86-64."""
REPEAT = 20
"""Instructions are repeated so often: a hundred sentences would go under in a hundred thousand definitions."""

COLORS = ("red", "green", "blue", "purple", "yellow", "grey", "orange", "brown", "black", "white")
THINGS = (
    *("ball", "box", "key", "door", "sofa", "table", "chair", "bed", "lamp", "rug", "vase", "plant", "shelf", "window"),
    *("bottle", "fruit", "papers", "plates", "cup", "knife", "fridge", "sink", "stove", "oven", "counter", "drawer"),
)
PLACES = ("kitchen", "living room", "dining room", "bedroom", "bathroom", "hallway", "stairs", "doorway", "entrance")
APPROACH = ("go to", "walk to", "find", "stop at", "wait by", "look at")
HANDLE = ("pick up", "put down", "open", "close", "move", "get", "turn around at")


def glosses(folder: Path) -> Iterator[str]:
    """What WordNet says about each of its 117,659 meanings: definition and examples, one line each."""
    for name in WORDNET:
        for line in (folder / name).read_text("ascii").splitlines():
            if not line.startswith("  "):  # the licence
                yield line.partition(" | ")[2].strip()


def instructions() -> Iterator[str]:
    """Sentences of a small grammar of household and grid-world instructions, as said and as written."""
    things = [f"the {color} {thing}" for color, thing in itertools.product(COLORS, THINGS)]
    said = [f"{verb} {thing}" for verb, thing in itertools.product((*APPROACH, *HANDLE), things)]
    said += [f"put {thing} next to {other}" for thing, other in zip(things, [*things[7:], *things[:7]], strict=True)]
    said += [
        f"{turn} and {verb} the {place}"
        for turn, verb, place in itertools.product(
            ("turn left", "turn right", "go straight", "exit the room"), ("walk into", "go past", "stop in"), PLACES
        )
    ]
    for sentence in said:
        yield sentence
        yield f"{sentence[0].upper()}{sentence[1:]}."


def text(wordnet: Path) -> list[str]:
    """All lines of the training text. Raises UserError where an input is not there, or not what the hashes say."""
    spec = importlib.util.find_spec("homegrid")
    if spec is None or spec.origin is None:
        raise UserError("the sentences of homegrid need its package: pip install homegrid")
    sentences = Path(spec.origin).parent / "homegrid_sentences.txt"
    for path, digest in [*((wordnet / name, digest) for name, digest in WORDNET.items()), (sentences, HOMEGRID)]:
        if not path.is_file():
            raise UserError(f"there is no {path}; name the folder with WordNet's data files by --wordnet")
        if (found := hashlib.sha256(path.read_bytes()).hexdigest()) != digest:
            raise UserError(f"{path} is another version: its SHA-256 is {found}, expected was {digest}")
    return [*glosses(wordnet), *(REPEAT * sorted(set(sentences.read_text().splitlines()))), *instructions()]


def digest_of(lines: list[str]) -> str:
    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wordnet", type=Path, default=Path("/usr/share/wordnet"), help="folder with data.noun, ...")
    parser.add_argument("--out", type=Path, default=ASSET, help="file to write")
    args = parser.parse_args()
    try:
        lines = text(args.wordnet)
    except UserError as error:
        parser.error(str(error))
    model = train(lines, SIZE)
    files.write(args.out, model)
    print(f"{args.out}: {len(model):,} bytes, {SIZE:,} pieces from {len(lines):,} lines")
    for name, content, expected in (
        ("text", digest_of(lines), TEXT),
        ("model", hashlib.sha256(model).hexdigest(), MODEL),
    ):
        print(f"{name} {content} ({'as recorded' if content == expected else f'recorded was {expected}'})")


if __name__ == "__main__":
    main()
