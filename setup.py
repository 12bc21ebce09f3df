import re
from pathlib import Path

from setuptools import find_packages, setup

(VERSION,) = re.findall(r'^__version__ = "(.+)"$', Path("dynalang_py/__init__.py").read_text("utf-8"), re.MULTILINE)

# envs/ and tokenizers/ lie beside the package and are imported as parts of it: under its own name, tokenizers/ would
# replace Hugging Face's package.
FOLDERS = {"dynalang_py": "dynalang_py", "dynalang_py.envs": "envs", "dynalang_py.tokenizers": "tokenizers"}

EXTRAS = {
    "homegrid": ["homegrid"],
    "babyai": ["minigrid>=3.0"],
    # langroom asks for pygame, which it never imports, minigrid for pygame-ce, and both own the folder pygame/. Either
    # serves minigrid; to have one alone, scripts/setup_venv.sh installs langroom without its dependencies.
    "langroom": ["langroom"],
    "vln": ["trimesh>=4.6", "embreex>=4.4", "scipy>=1.11", "pillow", "DracoPy>=2.0"],
    "text": ["kaldingram"],  # trigrams to compare with
}
DEV = ["pytest", "pytest-timeout", "pytest-xdist", "hypothesis", "ruff", "mypy"]

setup(
    name="dynalang_py",
    version=VERSION,
    description="Agents that learn a model of the world from what they see and are told, and act by imagining",
    license="MIT",
    license_files=["LICENSE"],
    python_requires=">=3.10",
    packages=[*FOLDERS, *(f"{name}.{part}" for name, folder in FOLDERS.items() for part in find_packages(folder))],
    package_dir=FOLDERS,
    package_data={
        "dynalang_py": ["py.typed"],
        "dynalang_py.kernels": ["*.cpp", "*.h"],
        "dynalang_py.tokenizers": ["assets/*"],
    },
    entry_points={"console_scripts": ["dynalang = dynalang_py.cli:main"]},
    install_requires=[
        "torch>=2.4",
        "numpy",
        "gymnasium>=1.1",
        "tensorboard",
        "tyro",
        "rich",
        "safetensors",
        "imageio",
        "matplotlib",
        "pillow",
        "sentencepiece",
    ],
    extras_require={**EXTRAS, "dev": DEV, "all": [name for names in EXTRAS.values() for name in names]},
)
