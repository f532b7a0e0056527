"""Seeds of what must share no noise with the samples of the same seed: data, training, dropout."""

from __future__ import annotations

from .. import noise

__all__ = ["DATA", "DROPOUT", "TRAINING", "apart"]

#: Streams of the words that such seeds are made of, far from those of normals, uniforms and integers.
DATA, TRAINING, DROPOUT = 0xDA7A, 0xDA7B, 0xDA7C


def apart(seed: int, stream: int, number: int = 0) -> int:
    """The ``number``-th of the seeds that follow from one.

    Examples
    --------
    >>> apart(0, DATA) == apart(0, TRAINING), 0 <= apart(0, DATA) < 2**64
    (False, True)
    """
    return int(noise.words(seed, 2, stream=stream, first_word=2 * number).ravel().view("<u8")[0])
