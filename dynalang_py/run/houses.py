"""`dynalang houses`: make a data set of houses and instructions, and tell what is in it."""

import time

from dynalang_py import files
from dynalang_py.envs.vln.houses.dataset import HousesConfig, make_dataset
from dynalang_py.errors import command
from dynalang_py.run.console import Face, Progress, duration


def make_houses(config: HousesConfig) -> None:
    """Make the data set with a live line, then print a summary.

    Raises:
        UserError: What `make_dataset` refuses.
    """
    face, begin = Face(), time.monotonic()
    with Progress(face) as progress, files.named(config.out):
        count = progress.counting("houses", config.train + config.val_unseen)
        count(0)
        summary = make_dataset(config, lambda done, total: count(done))
    rows = [("furniture", summary["furniture"])]
    for split, counts in summary["splits"].items():
        rows.append(
            (
                split,
                f"{counts['houses']:,} houses, {counts['paths']:,} paths, {counts['episodes']:,} episodes; "
                f"median path {counts['median_path_m']:.1f} m, {counts['median_expert_actions']:.0f} actions",
            )
        )
    rows.append(("vocabulary", f"{summary['words']} words"))
    rows.append(("made in", duration(time.monotonic() - begin)))
    face.table(f"{config.out}: level {config.level}, seed {config.seed}", rows)
    face.say(f"{command('dynalang', 'train', 'vln', '--env.data', config.out)}    trains in it.")
