"""What setuptools cannot be told in pyproject.toml: the assets go into the package `echomimic`."""

from setuptools import find_namespace_packages, setup

setup(
    py_modules=["app"],
    packages=[*find_namespace_packages(include=("echomimic*", "engine*", "studio*", "trainer*")), "echomimic.assets"],
    package_dir={"echomimic.assets": "assets"},
    package_data={
        "": ["*.css", "*.js", "*.json", "*.svg", "*.yaml", "*.sh", "*.mako", "py.typed", "page/*", "configs/*"],
        "echomimic.assets": [
            "*.yaml",
            "*.md",
            "examples/*",
            "nano/*.json",
            "nano/*.safetensors",
            "nano/*/*",
            "speech/*/*",
        ],
    },
    exclude_package_data={"echomimic.assets": ["nano/loss.jsonl", "nano/audio_encoder.jsonl"]},
)
