"""Remedies for data that are no array of real numbers: the last words of an error.

Every remedy is written with the name of the argument, so that it can be copied into the program
as it stands. Called only when something is refused; nothing here has to be fast.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = Any


def called(given: Any, name: str, *methods: str) -> str:
    """The expression for `given` as an array with these methods of NumPy's, else with all."""
    if all(hasattr(given, method) for method in methods or ("astype", "reshape", "argmax")):
        return name
    if hasattr(given, "detach"):
        return f"{name}.detach().cpu().numpy()"
    alone = hasattr(given, "__dlpack__") and not hasattr(given, "__array__")
    return f"np.from_dlpack({name})" if alone else f"np.asarray({name})"


def masked(a: Array, name: str) -> str:
    """The refusal of a masked array."""
    count = int(np.ma.count_masked(a))  # type: ignore[no-untyped-call]
    rest = ""
    if name == "y":  # a made-up class is rarely what is wanted
        rest = (
            "; or leave those samples out: keep = ~np.ma.getmaskarray(y), X[keep] and y[keep].data"
        )
    return (
        f"{name}: got a masked array with {count} masked value(s), expected an array without a "
        f"mask; use {name}.filled(0), or another number for what is masked{rest}"
    )


def sparse(x: Any, dense: str, name: str) -> str:
    """The refusal of a sparse matrix; `dense` makes an array of it."""
    return (
        f"{name}: got the sparse {type(x).__name__} of shape {tuple(x.shape)}, expected an array; "
        f"use {dense}; what is too large for memory then comes some rows at a time, in Blocks"
    )


def not_converted(x: Any, error: Exception, name: str) -> str:
    """What to say where NumPy cannot make an array of `x`."""
    if isinstance(x, (list, tuple)):
        kind = type(x).__name__
        return ragged(x, name) or f"{name}: got a {kind}, expected numbers in equal rows: {error}"
    if hasattr(x, "detach"):  # a dtype of PyTorch's that NumPy has not, as bfloat16
        return f"{name}: got a {type(x).__name__} of {x.dtype}: {error}; use {name}.float()"
    return f"{name}: got {type(x).__name__}, expected an array of numbers: {error}"


def ragged(rows: Any, name: str) -> str:
    """The refusal of rows of different lengths, "" where they are not."""
    lengths = [len(row) if _has_length(row) else None for row in rows]
    first = lengths[0] if lengths else None
    other = next((i for i, length in enumerate(lengths) if length != first), None)
    if other is None:
        return ""
    usual = max(set(lengths) - {None}, key=lengths.count)
    odd = next(i for i, length in enumerate(lengths) if length != usual)
    has = "is no row" if lengths[odd] is None else f"has {lengths[odd]} numbers"
    alone = f"use {name} = [row for row in {name} if np.shape(row) == ({usual},)]"
    row = "t" if name == "y" else "row"
    together = (
        f"use X, y = zip(*[(row, t) for row, t in zip(X, y) if np.shape({row}) == ({usual},)])"
    )
    if name == "X":
        together += f", or without targets X = [row for row in X if np.shape(row) == ({usual},)]"
    return (
        f"{name}: got rows of different lengths: row {odd} {has}, others have {usual}; expected as "
        f"many in each. Fill up what is missing, or leave such rows out: "
        f"{together if name in ('X', 'y') else alone}"
    )


def _has_length(row: Any) -> bool:
    if isinstance(row, str):
        return False
    try:
        return len(row) >= 0
    except TypeError:
        return False


def no_array(given: Any, name: str) -> str:
    """What to do with an object that NumPy takes for one value."""
    if isinstance(given, dict):
        pile = "column_stack" if name == "X" else "array"
        return f"got a dict: use np.{pile}(list({name}.values()))"
    if hasattr(given, "__iter__") and not isinstance(given, (str, bytes, set, frozenset)):
        return f"got a {type(given).__name__}: use np.array(list({name}))"
    return f"{name} is {given!r:.60}, expected an array of numbers"


def to_real(a: Array, given: Any, name: str) -> str:
    """How to make real numbers of `a`, an array of another dtype made of what was `given`."""
    kind, x = a.dtype.kind, called(given, name)
    if a.ndim == 0:
        return no_array(a.item() if isinstance(given, np.ndarray) else given, name)
    if kind == "c":
        real = called(given, name, "real")
        return f"use {real}.real; {real}.imag is lost then, or goes beside it as further columns"
    if kind in "Mm":
        return f"use {in_days(kind, x)}, in days"
    if kind == "V" and a.dtype.names:
        return (
            "use numpy.lib.recfunctions.structured_to_unstructured"
            f"({name}) after import numpy.lib.recfunctions"
        )
    if kind == "V":  # bfloat16 and its like
        return f"use {x}.astype('float32')"
    return _from_objects(np.asarray(a), x, name)


def in_days(kind: str, name: str) -> str:
    """Numbers for dates (kind M), from the first on, or for spans of time (m)."""
    start = f"({name} - {name}.min())" if kind == "M" else name
    return f"{start} / np.timedelta64(1, 'D')"


def _from_objects(a: np.ndarray, x: str, name: str) -> str:
    """Of text and of Python objects: convert them, or say which one cannot be. `x` is `name` as
    an array.
    """
    if a.dtype.kind == "O" and a.ndim == 1 and any(_has_length(row) for row in a):
        return ragged(a, name).removeprefix(f"{name}: ") or f"use np.array(list({name}))"
    flat = a.ravel()
    bad = next((i for i, value in enumerate(flat) if not is_number(value)), None)
    if bad is None:
        return f"use {x}.astype('float64')"
    place = tuple(int(i) for i in np.unravel_index(bad, a.shape))
    where = place[0] if a.ndim == 1 else place
    value = flat[bad]
    if isinstance(value, int):
        return f"the value at {where} is larger than any float: put another number there"
    if not isinstance(value, str):
        return f"the value at {where} is {value!r:.60}: put a number there, or leave its row out"
    column = f"{name}[:, {place[1]}]" if a.ndim == 2 else name
    words = f"{column} = np.unique({column}, return_inverse=True)[1]"
    words = words if x == name else f"{name} = {x}; {words}"
    return (
        f"{str(value)!r:.60} at {where} is no number; for a column of words use {words}, then use "
        f"{name}.astype('float64')"
    )


def is_number(value: Any) -> bool:
    """Whether `float(value)` is one: a text that spells it is, too."""
    try:
        float(value)
    except (TypeError, ValueError, OverflowError):
        return False
    return not isinstance(value, complex)
