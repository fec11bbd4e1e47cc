"""A reader who does what an error message says: the remedy is taken from its text and run.

use EXPRESSION                          X or y, whichever it names, becomes its value
use STATEMENT                           X = ..., X['column'] = ..., X, y = ...
keep = EXPRESSION; use X[..] and y[..]  both are cut
begin with Layer_Dense(n, ...)          another network, likewise "end with"
"""

import ast
import re

import numpy as np
from networks import dense_model

import nnfs_gpu as ng

KNOWN = {"X", "y", "X_val", "validation_data", "np", "len", "list", "zip", "range", "abs", "str"}
KNOWN |= {"Blocks", "torch", "weights", "biases", "keep", "model", "isinstance"}


def network(inputs=2, outputs=3):
    """A small classifier."""
    return dense_model(inputs, 5, outputs, seed=None)


def regression(outputs=1):
    """A small regression."""
    return dense_model(2, 5, outputs, last=ng.Activation_Linear, seed=None)


def code(text, mode):
    """The longest beginning of `text` that is Python over known names; "" where there is none."""
    for end in range(len(text), 0, -1):
        part = text[:end].strip(" ,;.")
        try:
            tree = ast.parse(part, mode=mode)
        except SyntaxError:
            continue
        bound = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and _is_bound(n)}
        names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
        if names and names <= KNOWN | (bound if "for" in part else set()):
            return part
    return ""


def _is_bound(name):
    return isinstance(name.ctx, ast.Store)


def follow(message, **given):
    """`given` names after the remedy in `message` has been followed."""
    space = {"np": np, "Blocks": ng.Blocks} | given
    for name, other in re.findall(r"import (torch)|(torch)\.", message):
        space[name or other] = __import__("torch")
    if keep := re.search(r"keep = (.+)", message):
        condition = code(re.split(r"[;,] (?:use )?(?=(?:np\.asarray\()?X)", keep[1])[0], "eval")
        space["keep"] = eval(condition, space)
        parts = re.search(r"(\S*X\S*\[keep\]) and (.+)", message)
        space["X"], space["y"] = eval(parts[1], space), eval(code(parts[2], "eval"), space)
    elif pair := re.search(r"use (X\[:\d+\]) and (y\[:\d+\])", message):
        space["X"], space["y"] = eval(pair[1], space), eval(pair[2], space)
    else:
        assert "use " in message, message
        advice = message.split("use ", 1)[1]
        expression = code(advice, "eval")
        statement = code(advice, "exec")
        if "=" in statement and statement.startswith(("X = ", "X[", "X, y", "y = ")):
            exec(statement, space)
            if then := re.search(r"then use (.+)", message):
                space["X"] = eval(code(then[1], "eval"), space)
        else:
            assert expression, message
            names = [n for n in given if n != "model" and re.search(rf"\b{n}\b", expression)]
            assert len(names) == 1, (message, expression)
            space[names[0]] = eval(expression, space)
    return {name: space.get(name) for name in given | {"X": 0, "y": 0}}
