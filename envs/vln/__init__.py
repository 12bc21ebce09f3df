"""Vision-and-language navigation in houses: the task, its episodes, metrics and expert, and the simulators below it."""

from dynalang_py.envs.vln.config import TASKS, VLNConfig
from dynalang_py.envs.vln.task import VLN, coverage

__all__ = ["TASKS", "VLN", "VLNConfig", "coverage"]
