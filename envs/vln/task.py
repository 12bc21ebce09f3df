"""Vision-and-language navigation: walk through a house as an instruction says, and stop where it ends.

The task of "Beyond the Nav-Graph" (arXiv 2004.02857) as "Learning to Model the World with Language" (arXiv 2308.01399),
section 4.3, presents it: the instruction is read word by word, then heard again and again while acting.
"""

import logging
from functools import lru_cache
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from dynalang_py.envs.contract import RENDERING, Info, Observation
from dynalang_py.envs.language import Speaker, speaking
from dynalang_py.envs.vln.config import LOGS, VIEWS, VLNConfig
from dynalang_py.envs.vln.episodes import STOP, Episode, EpisodeFile, GroundTruth, read_episodes, read_ground_truth
from dynalang_py.envs.vln.expert import Expert
from dynalang_py.envs.vln.goals import nearest_goal
from dynalang_py.envs.vln.layout import episode_path, ground_truth_path, scene_path
from dynalang_py.envs.vln.map import FloorMap
from dynalang_py.envs.vln.metrics import resampled, score
from dynalang_py.envs.vln.simulator import Pose, make_simulator
from dynalang_py.envs.voice import Ids, Vectors, Voice
from dynalang_py.errors import UserError
from dynalang_py.tokenizers.coverage import Coverage, measure

RADIUS = 3.0
"""Metres around a goal whose file gives none."""
DEPTH_RANGE = 10.0
"""Metres that depth images reach, as in VLN-CE."""

log = logging.getLogger("dynalang.envs")


class VLN(gymnasium.Env[Observation, Any]):
    """Four actions: 0 stop, which ends the episode, 1 a step forward, 2 and 3 turn left and right.

    Observation: `image` uint8 (H, W, 3), `depth` uint8 (H, W, channels) if it is wanted, tokens and logs of
    `dynalang_py.envs.contract`, and `expert`, the action of `Expert`, if that is wanted. While the instruction is read
    (`is_read_step` is 1) actions do nothing; at its last word the first action counts.

    Reward: the metres by which the way to the nearest goal became shorter, and at the stop `stop_reward` or
    `stop_penalty`. When `max_steps` are up an episode is truncated.

    With a seed, `reset` plays episode number `seed` modulo their number, so that as many seeds in a row as there are
    episodes play each once; without, any.

    At the end `log_success`, `log_spl`, `log_ne`, `log_osr`, `log_tl`, `log_ndtw` and `log_sdtw` tell the metrics
    (`Scores`).

    Attributes:
        episodes: Number of episodes in the split.
    """

    metadata = RENDERING

    def __init__(self, config: VLNConfig, render_mode: str | None = None) -> None:
        self.observation_space, self.action_space = config.spaces()
        self.config = config
        self.render_mode = render_mode
        self._file, self._truth, self._scenes = _load(config)
        self.episodes = len(self._file.episodes)
        self._voice = _make_voice(config)
        self.vocabulary = self._voice.vocabulary
        self._speaker = Speaker(config.pause)
        self._expert = Expert(forward=config.forward, turn=config.turn)
        self._simulator = make_simulator(
            config.simulator,
            config.camera,
            config.body,
            shade=config.shade,
            habitat_python=config.habitat_python,
            habitat_gpu=config.habitat_gpu,
        )
        self._map: FloorMap | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, Info]:
        super().reset(seed=seed)
        number = int(self.np_random.integers(self.episodes)) if seed is None else seed % self.episodes
        self._episode = episode = self._file.episodes[number]
        assert episode.goals  # _load refuses a split without
        self._goals = np.array([goal.position for goal in episode.goals], float)  # (G, 3)
        self._radii = [self.config.radius or goal.radius or RADIUS for goal in episode.goals]
        self._simulator.load(self._scenes[episode.scene_id])
        self._simulator.set_pose(Pose(position=episode.start_position, rotation=episode.start_rotation))
        self._path = [self._simulator.pose.position]
        self._distances: list[float] = []
        self._nearest: list[int] = []
        self._measure()
        self._age, self._stopped = 0, False
        self._tell(episode)
        self._look()
        return self._observe(), {}

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, Info]:
        if self._reading:
            return self._observe(), 0.0, False, False, {}
        self._age += 1
        self._stopped = int(action) == STOP
        if not self._stopped:
            self._expert.move(self._simulator, int(action))
            self._look()
        self._path.append(self._simulator.pose.position)
        moved = (self._path[-1] != self._path[-2]).any()
        if moved:
            self._measure()
        else:
            self._distances.append(self._distances[-1])
            self._nearest.append(self._nearest[-1])
        reward = self._distances[-2] - self._distances[-1]
        if self._stopped:
            near = self._distances[-1] < self._radii[self._nearest[-1]]
            reward += self.config.stop_reward if near else self.config.stop_penalty
        truncated = not self._stopped and self._age >= self.config.max_steps
        return self._observe(over=self._stopped or truncated), float(reward), self._stopped, truncated, {}

    def render(self) -> np.ndarray | None:
        """What the agent sees ahead, and beside it a map with its path (blue), the reference (green) and the goals."""
        if self.render_mode is None:
            return None
        scene = self._scenes[self._episode.scene_id]
        if self._map is None or self._map.scene != scene:
            self._map = FloorMap(scene, self._simulator)
        return self._map.draw(
            self._ahead, self._simulator.pose, self._path, self._reference(), self._goals, self._radii
        )

    def close(self) -> None:
        self._simulator.close()

    def _tell(self, episode: Episode) -> None:
        if self.config.language == "shuffled":
            episode = self._file.episodes[int(self.np_random.integers(self.episodes))]
        silent = self.config.language == "none"
        self.told = "" if silent else _plain(episode.instruction.text)
        words = [] if silent else self._voice.read(episode.instruction.text)
        self._said = [self._voice.silence, *words]
        self._speaker.tell(range(1, len(self._said)))

    def _measure(self) -> None:
        """Note which goal is the nearest, and its metres on foot; as the crow flies where there is no way to any."""
        here = self._simulator.pose.position
        which, distance = nearest_goal(self._simulator, here, self._goals)
        if not np.isfinite(distance):
            if not self._distances:
                log.warning("in episode %s no way leads to the goal; distances are straight", self._episode.episode_id)
            straight = [float(np.linalg.norm(here - goal)) for goal in self._goals]
            which, distance = int(np.argmin(straight)), min(straight)
        self._nearest.append(which)
        self._distances.append(distance)

    def _reference(self) -> Any:
        """Where an expert walked: the ground truth, as in VLN-CE, else along the lines of the file's reference path."""
        truth = self._truth.get(str(self._episode.episode_id))
        if truth is not None:
            return truth.locations
        goal = self._goals[self._nearest[0]]
        corners = self._episode.reference_path or (self._episode.start_position, tuple(goal))
        return resampled(corners, self.config.forward)

    def _look(self) -> None:
        """Let the simulator draw what is to be seen from here."""
        config, pose = self.config, self._simulator.pose
        turns = [90.0 * (1 - k) for k in range(VIEWS)] if config.panorama else [0.0]
        views = []
        for turn in turns:
            if config.panorama:
                self._simulator.set_pose(pose.turned(turn))
            views.append(self._simulator.observe())
        if config.panorama:
            self._simulator.set_pose(pose)
        self._ahead: NDArray[Any] = views[turns.index(0.0)]["rgb"]
        self._image = self._shrink(np.concatenate([view["rgb"] for view in views], 1))
        if config.depth_channels:
            metres = np.concatenate([view["depth"] for view in views], 1)[..., None]
            grey = self._shrink(np.clip(metres / DEPTH_RANGE, 0, 1) * 255)
            self._depth = grey.repeat(config.depth_channels, -1)

    def _shrink(self, image: NDArray[Any]) -> NDArray[np.uint8]:
        """(H, W, C) of the simulator → what the agent sees."""
        if self.config.blind:
            image = np.zeros_like(image)
        factor = self.config.render_size // self.config.image_size
        if factor > 1:
            height, width, channels = image.shape
            image = image.reshape(height // factor, factor, width // factor, factor, channels).mean((1, 3))
        return image if image.dtype == np.uint8 else np.rint(image).astype(np.uint8)

    def _observe(self, over: bool = False) -> Observation:
        config = self.config
        word = self._said[next(self._speaker)]
        self._reading = config.read and not self._speaker.finished
        obs: Observation = {
            "image": self._image.copy(),
            **self._voice.say(word),
            "is_read_step": int(self._reading),
            "log_text": _plain(self._episode.instruction.text),
            **(self._scores() if over else {name: np.zeros((), np.float32) for name in LOGS}),
        }
        if config.depth_channels:
            obs["depth"] = self._depth.copy()
        if config.expert:
            idle = self._reading or over
            obs["expert"] = STOP if idle else self._expert.act(self._simulator, self._goals)
        return obs

    def _scores(self) -> Observation:
        radii = [self._radii[which] for which in self._nearest]
        found = score(self._path, self._distances, self._reference(), stopped=self._stopped, radius=radii)
        return {name: np.array(getattr(found, name.removeprefix("log_")), np.float32) for name in LOGS}


def _make_voice(config: VLNConfig) -> Voice:
    """How instructions are heard. Raises UserError for a tokenizer or an encoder that there isn't."""
    if config.tokens == "embed":
        return Vectors("vln", config.encoder, config.cache, config.embedding)
    return Ids(speaking("vln", config.tokenizer))


def coverage(config: VLNConfig) -> Coverage:
    """How much of the split's instructions the tokenizer can say. Raises UserError if one of them can't be read."""
    if config.language == "none" or config.tokens == "embed":
        return Coverage()
    path = episode_path(config.data, config.split)
    episodes = _read_episodes(path, path.stat().st_mtime_ns).episodes
    return measure(speaking("vln", config.tokenizer), (episode.instruction.text for episode in episodes))


def _load(config: VLNConfig) -> tuple[EpisodeFile, dict[str, GroundTruth], dict[str, Path]]:
    """Episodes of the split, ground truth by episode id (if there is any), and scene files by scene id.

    Raises UserError if a file is missing or wrong, or episodes can't be walked.
    """
    path = episode_path(config.data, config.split)
    file = _read_episodes(path, path.stat().st_mtime_ns)
    if not file.episodes:
        raise UserError(f"{path} holds no episode")
    if any(not episode.goals for episode in file.episodes):
        raise UserError(
            f"the split {config.split!r} of {config.data} tells no goals, so nothing can be rewarded or scored"
        )
    truth = ground_truth_path(path)
    known = _read_ground_truth(truth, truth.stat().st_mtime_ns) if truth.is_file() else {}
    scenes = {
        scene: scene_path(scene, config.data, config.scenes)
        for scene in dict.fromkeys(episode.scene_id for episode in file.episodes)
    }
    return file, known, scenes


# Environments in one process share what they read; the time of the last change tells a file that was written anew.
@lru_cache(maxsize=4)
def _read_episodes(path: Path, changed: int) -> EpisodeFile:
    return read_episodes(path)


@lru_cache(maxsize=4)
def _read_ground_truth(path: Path, changed: int) -> dict[str, GroundTruth]:
    return read_ground_truth(path)


def _plain(text: str) -> str:
    """An instruction in the characters that log_text may have."""
    return " ".join(text.split()).encode("ascii", "replace").decode()[:1000]
