"""What `--help` prints before a preset or a run is named; with one, `options.parse` lists all of its settings."""

import shutil
import textwrap

HELP = """\
usage: dynalang VERB [options]

Train agents that listen while they act, and see what they learned.

  dynalang presets                          the named experiments, one line each
  dynalang presets babyai                   all settings of one, and how large its agent is
  dynalang presets dynalang-homegrid-task --size small --json     the same of another size, for programs

  dynalang train babyai                     train; everything it makes lies in runs/babyai
  dynalang train babyai --run-dir runs/a --seed 1 --env.task BabyAI-GoToLocalS8N7-v0
  dynalang train babyai --help              every setting that can be changed
  dynalang train homegrid-task --size size12m     the same with a larger agent
  dynalang train --resume runs/a            go on where the run stopped
  dynalang train --resume runs/a --steps 2000000

  dynalang eval runs/a --episodes 100       play episodes with fixed seeds and print a table
  dynalang eval runs/a --env.language shuffled    does it listen? tell it somebody else's sentence
  dynalang eval runs/a --json --video 3     for programs; and film three episodes

  dynalang tokenizer train corpus.txt --out tok.model                       learn pieces of words from text
  dynalang tokenizer show "go to the blue sofa" --tokenizer tok.model       what it makes of a sentence

  dynalang houses --out data/houses         make furnished houses, and instructions for ways through them
  dynalang pretrain text-small --corpus corpus.txt --tokenizer tok.model --run-dir runs/text    learn from text alone
  dynalang pretrain --resume runs/text
  dynalang generate runs/text --prompt "Pick up the" --tokens 40
  dynalang train homegrid-task --pretrained runs/text --remap-vocabulary      and live with what was read

  dynalang vln check data/houses            which episodes, scenes and simulators are there to navigate
  dynalang train vln --env.data data/houses
  dynalang eval runs/vln --split val_unseen       the metrics of navigation on houses that it has never seen

  dynalang worlds                           the worlds and their tasks
  dynalang worlds babyai                    all tasks of one, and its settings

  dynalang slim runs/a                      free the disk of what only going on needs
  dynalang bench                            how fast this machine trains

  tensorboard --logdir runs                 watch them learn

Ctrl-C saves the run and ends it; a second one ends it at once. Input that makes no sense exits with 2."""

TRAIN = """\
usage: dynalang train PRESET [options]        begin a run
       dynalang train --resume RUN [options]  go on with one; limits may change, say --steps

  dynalang train babyai
  dynalang train babyai --run-dir runs/a --seed 1 --env.task BabyAI-GoToLocalS8N7-v0
  dynalang train homegrid-task --size size12m           with a larger agent; dynalang presets NAME --size SIZE counts it
  dynalang train homegrid-task --pretrained runs/text   with what was read"""

SLIM = """\
usage: dynalang slim RUN    free the disk of what neither evaluation nor sharing needs

  dynalang slim runs/a

What optimisers remember, older checkpoints, replay and encoded text go at once and for good; settings, weights,
tokenizer, metrics, evaluations and pictures stay. A run that goes on afterwards begins with an empty replay and a fresh
optimiser."""

PRETRAIN = """\
usage: dynalang pretrain PRESET --corpus FILE... [options]   teach a world model to read
       dynalang pretrain --resume RUN [options]              go on with one; limits may change, say --updates

  dynalang pretrain text-small --corpus corpus.txt --run-dir runs/text
  dynalang pretrain text-small --corpus books/ more.txt.gz --tokenizer tok.model --minutes 60"""

EVAL = """\
  dynalang eval runs/a --episodes 100
  dynalang eval runs/a --language shuffled      does it listen? tell it somebody else's sentence
  dynalang eval runs/vln --split val_unseen     in houses that it has never seen
  dynalang eval runs/a --policy random          what chance reaches

Settings of the run's world can be changed too, as --env.NAME or, where nothing else is called so, --NAME: language,
split, max-steps and the like. dynalang eval RUN --help lists those of a run, dynalang worlds FAMILY those of a family.
"""

GENERATE = """\
  dynalang generate runs/text --prompt "Pick up the"
  dynalang generate runs/text --prompt "Pick up the" --tokens 100 --temperature 0
"""

PRESETS = """\
usage: dynalang presets [NAME [--size SIZE]] [--json]

List the named experiments, or show one: its settings (in another size), and how large its agent is."""

TOKENIZER = """\
usage: dynalang tokenizer train CORPUS... [options]    learn the pieces of words from text files
       dynalang tokenizer show TEXT [options]          what a tokenizer makes of a text

A tokenizer turns text into ids, of which a world model reads one per step. It has some of its own:
english (pieces of words), bytes, t5, and the words of homegrid, babyai, langroom and houses.

  dynalang tokenizer train corpus.txt --out tok.model
  dynalang tokenizer train stories/ more.txt.gz           files, also gzipped, and folders of them
  dynalang tokenizer show "go to the blue sofa"           by english, which ships with dynalang
  dynalang tokenizer show "go to the blue sofa" --tokenizer tok.model

dynalang tokenizer train --help and dynalang tokenizer show --help list the options."""

VLN = """\
usage: dynalang vln check DATA [--scenes DIR] [--tokenizer NAME] [--json]

Tell which episodes below DATA can be walked: their splits, scenes, ground truth, and the simulators;
and how many of their words a tokenizer can't say (houses, unless another is named)."""

WORLDS = """\
usage: dynalang worlds [FAMILY] [--json]

List the worlds and their tasks; with a family, all of its tasks and settings. dynalang train PRESET
--env.task TASK trains in one of the preset's family, dynalang eval RUN --task TASK plays in it."""

COMMON = {
    "train": (
        *("run_dir", "steps", "minutes", "seed", "envs", "processes", "prefill", "train_ratio", "batch_size"),
        *("batch_length", "eval_every", "eval_episodes", "checkpoint_minutes", "device", "precision", "compile"),
    ),
    "pretrain": (
        *("corpus", "documents", "tokenizer", "valid", "run_dir", "updates", "minutes", "seed", "batch_size"),
        *("batch_length", "dropout", "eval_every", "patience", "device", "precision"),
    ),
}
"""The settings that most people change; presets give each its value."""


def bare(verb: str) -> None:
    """Print how `train` or `pretrain` is used: its presets, and the settings that most people change."""
    from dynalang_py import presets
    from dynalang_py.config import Config
    from dynalang_py.options import descriptions
    from dynalang_py.text.config import READERS, PretrainConfig

    names = presets.PRESETS if verb == "train" else READERS
    texts = descriptions(Config if verb == "train" else PretrainConfig)
    print(TRAIN if verb == "train" else PRETRAIN)
    print("\npresets:")
    _table({name: presets.summary(name) for name in names})
    print("\ncommon settings:")
    rows = {f"--{name.replace('_', '-')}": texts[name] for name in COMMON[verb]}
    if verb == "train":
        rows |= {
            "--env.task": "What is to be done; dynalang worlds lists the tasks of each world.",
            "--env.language": "Which sentence is heard: true (this episode's), shuffled (another's) or none (silence).",
        }
    _table(rows | {"--size": "A named size of model and behavior, such as cpu, small or size12m."})
    print(f"\ndynalang {verb} PRESET --help lists every setting, with its value in that preset.")


def evaluate() -> None:
    """Print how `eval` is used, and its options but for those of a world."""
    from dynalang_py.envs import DummyConfig
    from dynalang_py.options import show
    from dynalang_py.run.evaluate import EvalConfig

    about = "Play episodes with fixed seeds with the agent of a run, and print a table of what came of them."
    show(EvalConfig, EvalConfig(env=DummyConfig()), "dynalang eval RUN", about, EVAL, hidden=("env",))


def generate() -> None:
    from dynalang_py.options import show
    from dynalang_py.run.generate import GenerateConfig

    about = "Let a model that has read go on from a prompt."
    show(GenerateConfig, GenerateConfig(), "dynalang generate RUN", about, GENERATE)


def _table(rows: dict[str, str]) -> None:
    """Names and what they mean, as wide as the terminal."""
    indent = 2 + max(map(len, rows)) + 2
    width = max(40 + indent, min(120, shutil.get_terminal_size().columns))
    for name, text in rows.items():
        print(textwrap.fill(text, width, initial_indent=f"  {name}".ljust(indent), subsequent_indent=" " * indent))
