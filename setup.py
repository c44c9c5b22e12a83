"""The packages of the wheel: found, but for the tricks, whose top-level folder is installed under another name.

pyproject.toml can state a list of packages or a search for them, never both.
"""

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["tricksearch", "tricksearch.*"]), "tricksearch_plugins"])
