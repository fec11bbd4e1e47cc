"""Ways to damage one of our files, or to make one up: for file_fuzz.py and the tests of headers.

`damaged` changes bytes, the header, the document or the tensors of a file at random places, to
what does not belong there; most of the time it is sealed again, as a made-up file would be.
"""

import copy
import json
import tempfile

import numpy as np
from safetensors.numpy import load_file, save as to_bytes

from nnfs_gpu.files.tensor_file import seal

WRONG = [
    *(None, True, False, 0, 1, -1, 2, 0.5, -0.5, 1e400, -1e400, float("nan"), 1e-320, 1e38),
    *(2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 10**30, 10**400, -(10**400), 10**4000),
    *("", "x", "1", "0.5", "true", "Layer_Dense", "\ud800", "a\nb", "x" * 100_000, "__class__"),
    *([], {}, [[]], [{}], {"": None}, [1, 2], [None] * 5, {"class": "Layer_Dense"}, [0.5] * 1000),
]


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


def split(data):
    """(header, document or None, tensors) of one of our files."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    return header, json.loads(header["__metadata__"]["nnfs_gpu"]), data[8 + size :]


def join(header, rest, document=None):
    header = copy.deepcopy(header)
    if document is not None:
        header["__metadata__"] = {"nnfs_gpu": json.dumps(document)}
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + rest


def places(tree, where=()):
    """Every place in a tree of dicts and lists, as keys from the top."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in items:
        yield (*where, key)
        if isinstance(value, (dict, list)):
            yield from places(value, (*where, key))


def damaged_tree(rng, tree):
    """A copy with something at one place, or two, that does not belong there."""
    tree = copy.deepcopy(tree)
    for _ in range(rng.choice([1, 1, 1, 2])):
        *way, key = rng.choice(list(places(tree)) or [(0,)])
        parent = tree
        for step in way:
            parent = parent[step]
        what = rng.choice(["set"] * 6 + ["delete", "rename", "swap", "wrap", "deep"])
        if what == "delete":
            del parent[key]
        elif what == "rename" and isinstance(parent, dict):
            parent[rng.choice(["", "x", "class", "weights", f"{key}_"])] = parent.pop(key)
        elif what == "swap":
            others = list(places(tree))
            *other, last = rng.choice(others)
            source = tree
            for step in other:
                source = source[step]
            parent[key] = copy.deepcopy(source[last])
        elif what == "wrap":
            parent[key] = [parent[key]] if rng.random() < 0.5 else {"x": parent[key]}
        elif what == "deep":
            parent[key] = nested(rng.choice([10, 50, 120]))
        else:
            parent[key] = copy.deepcopy(rng.choice(WRONG))
        if not tree:
            break
    return tree


def damaged_bytes(rng, data):
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 5])):
        at = rng.randrange(len(data)) if data else 0
        what = rng.choice(["flip", "cut", "insert", "zero", "end"])
        if what == "flip" and data:
            data[at] ^= 1 << rng.randrange(8)
        elif what == "cut":
            del data[at : at + rng.choice([1, 4, 100])]
        elif what == "insert":
            data[at:at] = rng.randbytes(rng.choice([1, 4, 100]))
        elif what == "zero":
            data[at : at + 8] = bytes(8)
        else:
            del data[at:]
    return bytes(data)


def damaged_tensors(rng, tensors):
    tensors = dict(tensors)
    name = rng.choice(sorted(tensors))
    a = tensors[name]
    what = rng.choice(["drop", "rename", "kind", "shape", "more", "nan"])
    if what == "drop":
        del tensors[name]
    elif what == "rename":
        more = ["x", "training.x", "training.history.x", "training.callbacks.7.x", "random.key"]
        tensors[
            rng.choice([*more, "0.weights", "01.weights", "training.callbacks.0.0.weights"])
        ] = tensors.pop(name)
    elif what == "kind":
        kinds = ["f2", "f4", "f8", "i4", "u1", "bool"]
        tensors[name] = np.nan_to_num(a).astype(rng.choice(kinds))
    elif what == "shape":
        tensors[name] = np.zeros(rng.choice([(), (0,), (2, 4), (1, 4), (2, 2, 2), (3,)]), a.dtype)
    elif what == "more":
        tensors[rng.choice(["x", "9.weights", "1.weights", "training.y"])] = a
    else:
        tensors[name] = np.full_like(a, np.nan if a.dtype.kind == "f" else 1)
    return tensors


def damaged(rng, data):
    """One of the files with something wrong with it; most are sealed again."""
    header, document, rest = split(data)
    what = rng.choice(["bytes", "header", "document", "document", "document", "tensors", "both"])
    if what == "bytes":
        return damaged_bytes(rng, data)
    if what == "header":
        if rng.random() < 0.2:
            return join(header | {"__metadata__": rng.choice(WRONG)}, rest)
        return join(damaged_tree(rng, header), rest)
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        tensors = load_file(file.name)
    if what in ("tensors", "both"):
        tensors = damaged_tensors(rng, tensors)
    if what in ("document", "both"):
        document = damaged_tree(rng, document)
    if rng.random() < 0.95:
        try:
            document["sha256"] = seal(document, tensors)
        except (RecursionError, ValueError):  # no file of ours could be sealed so
            return join(header, rest, document)
    return to_bytes(tensors, {"nnfs_gpu": json.dumps(document)})
