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
    # Without langroom itself, which asks for a pygame that it never imports and that would lie in one folder with
    # minigrid's. Its world says how to get it (`pip install --no-deps langroom`); this is the rest of what it needs.
    "langroom": ["pillow>=10.1"],
    "vln": ["trimesh>=4.6", "embreex>=4.4", "scipy>=1.11", "pillow", "DracoPy>=2.0"],
    "text": ["kaldingram"],  # trigrams to compare with
}
DEV = ["pytest", "pytest-timeout", "pytest-xdist", "hypothesis", "ruff", "mypy"]


def description() -> str:
    """The README without what leads into the checkout: pictures, and links to its files."""
    text = Path("README.md").read_text("utf-8")
    text = re.sub(r"^!\[.*\]\((?!http).*\)\n+", "", text, flags=re.MULTILINE)
    return re.sub(r"\[([^]]*)\]\((?!http)[^)]*\)", r"\1", text)


setup(
    name="dynalang_py",
    version=VERSION,
    description="Agents that learn a model of the world from what they see and are told, and act by imagining",
    long_description=description(),
    long_description_content_type="text/markdown",
    author="The dynalang_py authors",
    project_urls={"Paper": "https://arxiv.org/abs/2308.01399"},
    keywords=["reinforcement learning", "world models", "language", "navigation", "Dynalang", "Dreamer"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3 :: Only",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
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
