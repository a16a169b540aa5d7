"""The installed version of metamixer."""

from importlib.metadata import PackageNotFoundError, version


def package_version() -> str:
    """The installed version; 0+unknown in a checkout that isn't installed."""
    try:
        return version("metamixer")
    except PackageNotFoundError:
        return "0+unknown"
