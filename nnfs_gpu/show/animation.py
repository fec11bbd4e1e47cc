"""Decision regions while a network learns: frames, one an epoch that was chosen, and a GIF of them.

Called by `nnfs-gpu train --animate`. Frames are kept as PNG files, some ten kilobytes each, so that
they fit into a checkpoint. Drawing them reads the model and changes nothing in it.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ..network.network import Network
from .regions import MULTIPLY_ADDS, View, draw_regions, pixels_for, region_image, some_of
from .style import PAPER, figure, png

WIDTH, HEIGHT = 384, 412  # pixels of a frame
PIXELS = 200  # of a side of its map
POINTS = 500  # shown over the map
MOST = 56  # frames
COLOURS = 256, 96  # of a frame that is kept; of all frames in the file
NEARLY = 249  # white
FRAME, LAST = 110, 2500  # milliseconds


def chosen(epochs: int, most: int = MOST) -> list[int]:
    """The epochs that get a frame, at most so many of them: close together early, where most
    changes, and further apart later. The last one is among them.
    """
    if epochs <= most:
        return list(range(1, epochs + 1))
    steps = np.linspace(0, 1, most) ** 2
    return sorted({int(epoch) for epoch in np.round(1 + steps * (epochs - 1))})


class Animation:
    """The frames of one training.

    points, labels  (N, 2) and (N,): some are shown over the regions
    see             what `region_image` takes, of the model
    """

    def __init__(
        self,
        points: np.ndarray,
        labels: np.ndarray,
        classes: int,
        view: View,
        see: Callable[[Any], Any] = lambda model: model,
    ):
        some = some_of(len(points))[:POINTS]
        self._points, self._labels = np.asarray(points)[some], np.asarray(labels)[some]
        self._classes, self._view, self._see = classes, view, see
        self._drawn: tuple[Any, Any, Any] | None = None  # the figure, its map, its title
        self._frames: list[bytes] = []  # PNG files

    def __len__(self) -> int:
        return len(self._frames)

    def add(self, model: Network, title: str) -> None:
        """Draw what `model` says where, as the next frame."""
        seen, pixels = self._see(model), pixels_for(model, PIXELS, MULTIPLY_ADDS / MOST)
        if self._drawn is None:
            self._drawn = self._begin(seen, pixels)
        else:
            self._drawn[1].set_data(region_image(seen, self._view, pixels))
        made, _, words = self._drawn
        words.set_text(title)
        self._frames.append(_kept(png(made)))

    def _begin(self, seen: Any, pixels: int) -> tuple[Any, Any, Any]:
        """What stays from frame to frame is drawn once."""
        with figure(PAPER, WIDTH, HEIGHT) as made:
            words = made.text(0.03, 0.957, "", fontsize=13, va="center", family="DejaVu Sans Mono")
            axes = made.add_axes((0.02, 0.01, 0.96, 0.90))
            data = self._points, self._labels, self._classes
            shown = draw_regions(axes, seen, *data, self._view, pixels, dot=12)
            axes.set(xticks=[], yticks=[])
        return made, shown, words

    # ---- the file ----
    def gif(self) -> bytes:
        """All frames as a GIF that begins anew when it has ended. Raises ValueError for none."""
        if not self._frames:
            raise ValueError("an animation without frames; add some first")
        images = [_read(frame).convert("RGB") for frame in self._frames]
        palette = _palette(images)
        first, *others = (one.quantize(palette=palette, dither=_undithered()) for one in images)
        file = io.BytesIO()
        first.save(
            file,
            format="GIF",
            save_all=True,
            append_images=others,
            duration=[FRAME] * len(others) + [LAST],
            loop=0,
        )
        return file.getvalue()

    # ---- for checkpoints ----
    def get_state(self) -> dict[str, np.ndarray]:
        """The frames, one after the other, and how long each is."""
        return {
            "frames": np.frombuffer(b"".join(self._frames), np.uint8),
            "frame_sizes": np.array([len(frame) for frame in self._frames], np.int64),
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Take what `get_state` gave; a state without frames is one of none.

        Raises ValueError, and changes nothing, for something else.
        """
        joined = np.asarray(state.get("frames", ()), np.uint8).tobytes()
        sizes = np.asarray(state.get("frame_sizes", ()), np.int64).tolist()
        if min(sizes, default=1) < 1 or sum(sizes) != len(joined):
            raise ValueError(f"frames: got {len(joined)} bytes for frames of {sizes[:4]}...")
        ends = np.cumsum([0, *sizes]).tolist()
        frames = [joined[start:end] for start, end in pairwise(ends)]
        for frame in frames:
            _read(frame)
        self._frames = frames


def _kept(picture: bytes) -> bytes:
    """A quarter of the bytes: a PNG of few colours."""
    from PIL import Image

    file = io.BytesIO()
    few = Image.open(io.BytesIO(picture)).convert("RGB").quantize(COLOURS[0], dither=_undithered())
    few.save(file, format="PNG")
    return file.getvalue()


def _read(frame: bytes) -> Any:
    """The image in a PNG of ours. Raises ValueError for anything else."""
    from PIL import Image

    try:
        image = Image.open(io.BytesIO(frame), formats=("PNG",))
        if image.size != (WIDTH, HEIGHT):
            raise ValueError(f"frame: got {image.size} pixels, expected {(WIDTH, HEIGHT)}")
        image.load()
    except (OSError, SyntaxError) as error:  # what Pillow raises for a damaged file
        raise ValueError(f"frame: not a PNG file ({error})") from error
    return image


def _palette(images: Sequence[Any]) -> Any:
    """The colours that serve all frames best, found in small copies of them side by side."""
    from PIL import Image

    width, height = WIDTH // 4, HEIGHT // 4
    sheet = Image.new("RGB", (width, height * len(images)))
    for number, image in enumerate(images):
        small = image.resize((width, height), Image.Resampling.NEAREST)
        sheet.paste(small, (0, number * height))
    found = sheet.quantize(COLOURS[1], Image.Quantize.MEDIANCUT)
    colours = np.array(found.getpalette() or [], np.uint8).reshape(-1, 3)
    colours[colours.min(axis=1) >= NEARLY] = 255  # the ground, which is not to differ from the page
    found.putpalette(colours.tobytes())
    return found


def _undithered() -> Any:
    from PIL import Image

    return Image.Dither.NONE  # dots that dither from frame to frame flicker, and do not compress
