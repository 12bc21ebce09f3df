"""Import what commands need, so that forks have it and start in a moment."""

import contextlib
import importlib

MODULES = (
    *("cli", "presets", "run.bench", "run.describe", "run.evaluate", "run.generate", "run.houses", "run.pretrain"),
    *("run.pretrained", "run.tokenizer", "run.train", "run.vln", "envs.vln.embree", "kernels.native"),
)


def preload() -> None:
    import torch

    torch.set_num_threads(1)
    for name in (*(f"dynalang_py.{name}" for name in MODULES), "tyro", "tensorboard.compat.proto.event_pb2", "trimesh"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    from dynalang_py.kernels import fused

    fused.available()  # compiles or loads the kernels
