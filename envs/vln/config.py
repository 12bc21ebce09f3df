"""The settings of vision-and-language navigation; their defaults are R2R's in continuous environments (VLN-CE)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from gymnasium import spaces

from dynalang_py.bounds import check
from dynalang_py.envs.contract import (
    Language,
    Spaces,
    check_choice,
    check_language,
    check_range,
    check_task,
    observation_space,
)
from dynalang_py.envs.language import speaking
from dynalang_py.envs.vln.simulator import Body, Camera, SimulatorName
from dynalang_py.errors import UserError
from dynalang_py.tokenizers.embeddings import CACHE

TASKS = ("vln",)
VIEWS = 4
"""Of a panorama: to the left, ahead, to the right, behind."""
LOGS = tuple(f"log_{name}" for name in ("success", "spl", "ne", "osr", "tl", "ndtw", "sdtw"))


@dataclass(frozen=True, kw_only=True)
class VLNConfig:
    task: str = "vln"
    """There is one: vln. Which houses and instructions it is about, `data` says."""
    language: Language = "true"
    """Which instruction is heard: true (this episode's), shuffled (another episode's) or none (silence)."""
    data: Path = Path("data/houses")
    """Folder of episodes in VLN-CE's format: SPLIT/SPLIT.json.gz, or SPLIT.json.gz."""
    scenes: Path | None = None
    """Folder of scenes, such as scene_datasets/mp3d; None: the folder "scenes" in `data`."""
    split: str = "train"
    """Which episodes are played: train, val_seen, val_unseen, ..."""
    simulator: SimulatorName = "embree"
    """What draws the scenes and walks in them: embree (rays on the CPU) or habitat (habitat-sim)."""
    habitat_python: Path | None = None
    """A Python interpreter that has habitat_sim (habitat); None: what the environment variable DYNALANG_HABITAT_PYTHON
    names, else the one that runs."""
    habitat_gpu: int = -1
    """CUDA's number of the GPU on which habitat-sim draws; -1: the first device of EGL, the processor where there is no
    GPU."""
    shade: bool = True
    """Dim surfaces by their direction, so that corners are seen (embree). habitat-sim shows textures as they are, so
    agents that are to be tested there are best trained without."""
    image_size: int = 64
    """Height and width in pixels of what the agent sees."""
    render_size: int = 64
    """Height and width in pixels of what is drawn, a multiple of image_size; it is averaged down."""
    depth_channels: int = 1
    """Channels of a second image, `depth`, all alike: 0 to 10 m as 0 to 255; 0: there is none."""
    panorama: bool = False
    """See four views side by side (left, ahead, right, behind) instead of the one ahead."""
    hfov: float = 90.0
    """Horizontal field of view in degrees."""
    camera_height: float = 1.25
    """Metres from the floor to the camera."""
    agent_radius: float = 0.1
    """Metres that the agent keeps from walls."""
    sliding: bool = True
    """Slide along a wall that is walked into, instead of stopping there."""
    blind: bool = False
    """See black images only: the control that shows what is solved by words and luck."""
    tokens: Literal["ids", "embed"] = "ids"
    """How a word is heard: as an id (ids) or as a frozen encoder's vector (embed)."""
    tokenizer: str = "houses"
    """What turns instructions into ids: houses (the words of our own houses' instructions), english, bytes or t5, or
    the path of a sentencepiece model or of R2R-CE's train.json.gz, whose word list counts (tokens: ids)."""
    encoder: str = "google-t5/t5-small"
    """Whose vectors are heard: a T5 that the package transformers can fetch, a folder with one, or minilm (tokens:
    embed)."""
    embedding: int = 512
    """Width of the encoder's vectors."""
    cache: Path = CACHE
    """Folder in which vectors are kept, so that each sentence goes through the encoder once (tokens: embed)."""
    read: bool = True
    """The world stands still until the instruction was heard once, word by word."""
    pause: int = 1
    """Silent steps between two repetitions of the instruction."""
    max_steps: int = 500
    """Actions after which an episode is truncated; those while reading don't count."""
    forward: float = 0.25
    """Metres of a step."""
    turn: float = 15.0
    """Degrees of a turn."""
    radius: float = 0.0
    """Metres from the goal within which a stop is a success; 0: each episode's own (3 in R2R-CE)."""
    stop_reward: float = 1000.0
    """Reward of a stop at the goal. Each step forward or back besides pays the metres by which it came nearer."""
    stop_penalty: float = -10.0
    """Reward of a stop elsewhere."""
    expert: bool = False
    """Tell at each step what an expert would do, as `expert`. Agents never see it; training and evaluation set this
    where they need it."""

    def __post_init__(self) -> None:
        check_language("vln", self.language)
        check_choice("vln", "tokens", self.tokens, ("ids", "embed"))
        check_choice("vln", "simulator", self.simulator, get_args(SimulatorName))
        for name, low, high in (
            ("habitat_gpu", -1, 1024),
            ("image_size", 1, 1024),
            ("render_size", self.image_size, 4096),
            ("depth_channels", 0, 16),
            ("hfov", 1, 175),
            ("camera_height", 0, 10),
            ("agent_radius", 0.02, 2),
            ("embedding", 1, 1_000_000),
            ("pause", 0, 1000),
            ("max_steps", 1, 1_000_000),
            ("forward", 0.01, 10),
            ("turn", 1, 180),
            ("radius", 0, 1000),
        ):
            check_range("vln", name, getattr(self, name), low, high)
        check(self)
        if self.render_size % self.image_size:
            raise UserError(
                f"vln.render_size must be a multiple of image_size {self.image_size}, got {self.render_size}."
            )
        if not self.split.strip():
            raise UserError("vln.split must be the name of a split, such as 'train', got ''.")

    def spaces(self) -> Spaces:
        """Of observations and actions; needs no episodes. Raises UserError for a task or tokenizer there isn't."""
        check_task(self.task, TASKS, "VLN")
        vectors = spaces.Box(-np.inf, np.inf, (self.embedding,), np.float32)
        heard = vectors if self.tokens == "embed" else speaking("vln", self.tokenizer).size
        height, width = self.image_size, self.image_size * (VIEWS if self.panorama else 1)
        observation = dict(observation_space((height, width, 3), heard, *LOGS).spaces)
        if self.depth_channels:
            observation["depth"] = spaces.Box(0, 255, (height, width, self.depth_channels), np.uint8)
        if self.expert:
            observation["expert"] = spaces.Discrete(4)
        return spaces.Dict(observation), spaces.Discrete(4)

    @property
    def title(self) -> str:
        """What is played, for the heading of a table."""
        return f"{self.task} {self.split} in {self.simulator}"

    @property
    def camera(self) -> Camera:
        """What the simulator looks through."""
        return Camera(
            width=self.render_size,
            height=self.render_size,
            hfov=self.hfov,
            above_floor=self.camera_height,
            depth=self.depth_channels > 0,
        )

    @property
    def body(self) -> Body:
        """What walks in the simulator."""
        return Body(radius=self.agent_radius, sliding=self.sliding)
