"""The version of this installation."""

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("gatepost")
except PackageNotFoundError:  # a checkout that was never installed
    VERSION = "0+checkout"
