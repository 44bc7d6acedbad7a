"""Where the files that come with the program lie: `assets/` of a checkout, `echomimic/assets/` of a package."""

from pathlib import Path

_ROOT = Path(__file__).parents[2]


def _assets() -> Path:
    """The folder of the bundled model, examples and lists. A stranger's folder of that name is not ours."""
    checkout, package = _ROOT / "assets", _ROOT / "echomimic" / "assets"
    return package if package.is_dir() else checkout


ASSETS = _assets()
