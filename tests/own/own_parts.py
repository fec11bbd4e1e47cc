"""Parts as readers of the book write them, for the tests of own parts: all of them.

In the book's style: forward stores `self.output` and returns nothing, backward stores
`self.dinputs`; `training` from chapter 15 on; no base classes but where the book has them. The
arithmetic is NumPy's functions on whatever arrays come, as CuPy lets them work, too.
"""

from own_layers import *  # noqa: F403
from own_losses import *  # noqa: F403
from own_optimizers import *  # noqa: F403
