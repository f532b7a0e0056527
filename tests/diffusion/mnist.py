"""MNIST's files, where they lie beside the repository."""

from pathlib import Path

import pytest

SHARED = Path(__file__).parents[3] / "shared"
FOLDER = SHARED / "mnist"

needs_mnist = pytest.mark.skipif(
    not (FOLDER / "t10k-images-idx3-ubyte.gz").is_file(), reason="no files of MNIST in ../shared/mnist"
)
