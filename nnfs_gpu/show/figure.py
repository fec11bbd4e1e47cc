"""A figure of Matplotlib that notebooks show. Importing this imports Matplotlib: see `style.py`."""

from __future__ import annotations

import io

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

DPI = 100  # a point of a figure's size in pixels
SHARP = 2  # pixels of a screen for one of the page, at most


class Picture(Figure):
    """A Figure that shows itself in a notebook, also where pyplot was never imported.

    IPython knows how to show a Figure from the moment that pyplot is imported, and then does; for
    the time before, the figure says itself how.
    """

    def __init__(self, **options: object):
        super().__init__(**options)  # type: ignore[arg-type]
        FigureCanvasAgg(self)

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        """A PNG for sharp screens, and the size that it has on the page."""
        file = io.BytesIO()
        self.savefig(file, format="png", dpi=SHARP * DPI)
        width, height = (round(inches * DPI) for inches in self.get_size_inches())
        return file.getvalue(), {"width": width, "height": height}
