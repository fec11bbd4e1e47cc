"""A number made of a network's parameters: where two networks' numbers differ, so do they."""

import numpy as np

from ..cpu.common import jit
from . import tables as k
from .addresses import head_of, itemsize, stay_apart, table_of, vector


@jit
def mark_of(words, start):
    """sum_i (2 (start + i) + 1) words[i], modulo 2^32, for words of uint32.

    The factors are odd: where one word differs, so does the sum.
    """
    stay_apart()
    total, factor = np.uint32(0), np.uint32(2 * start + 1)
    for i in range(words.shape[0]):
        total = np.uint32(total + np.uint32(words[i] * np.uint32(factor + np.uint32(2 * i))))
    return total


@jit
def fingerprint(tables, like):
    """Of all weights and biases: below 2^32. Traffic: each is read once.

    tables  address of head; like: a zero of the dtype
    """
    head = head_of(tables)
    table = table_of(head)
    total, start, wide = np.uint32(0), 0, itemsize(like) // 4
    for s in range(head[k.STAGES]):
        inputs, outputs = table[s, k.INPUTS], table[s, k.OUTPUTS]
        for address, count in ((table[s, k.W], inputs * outputs), (table[s, k.B], outputs)):
            words = vector(address, count * wide, np.uint32(0))
            total = np.uint32(total + mark_of(words, start))
            start += count * wide
    return np.int64(total)
