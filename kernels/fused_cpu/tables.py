"""The tables that tell the fused step about a network: what stands where.

nnfs_gpu/fused/cpu/ fills them (`layout.py` what follows from the plan, `binding.py` what belongs
to the model's objects, `groups.py` and `engine.py` the addresses of sums and results); the files
of this folder read them. `head` and one row of `table` a stage hold whole numbers, one row of
`factors` a stage and `rules` real ones. An address counts in bytes; a place in a thread's
workspace, in numbers.
"""

# ---- head: the network ----
STAGES, TILE, PITCH, SOFT, GRADIENTS = range(5)
TARGETS_AT, ROOM_AT, TURNED_AT, MASKS_AT = range(5, 9)  # places in the workspace
TABLE, FACTORS, RULES, CELLS, SUMS, TOTALS, GRADIENT, MEASURED = range(9, 17)  # addresses
PIECES, PENALTIES = range(17, 19)  # addresses
CALL_TABLE = 19  # an address
PIECE_COUNT = 20
LOSS_POINTER, UPDATE_POINTER, DROPOUT_POINTER = range(21, 24)  # of functions: pointers.py
SIGMOID_POINTER, SIGMOID_GRADIENT_POINTER = range(24, 26)
GROUP_POINTER = 26
NARROW = 27  # the units of a network with one hidden layer, and some more: narrow.py
ZEROS_AT, PRODUCTS_AT, GATES_AT, MASKED_AT, FOLDED_AT, UNITS_AT, START_AT, MEANS_AT = range(28, 36)
GATHERED_AT = 36  # the targets of a tile whose samples come in an order
GATHER_POINTER = 37
HEAD_FIELDS = 38

# ---- table: a stage ----
INPUTS, OUTPUTS, ACTIVATION, DROPOUT, BY_LANES = range(5)
W, B, DW, DB, W_FIRST, W_SECOND, B_FIRST, B_SECOND = range(5, 13)  # addresses
X_AT, Y_AT, MASK_AT, D_AT, LANES_AT = range(13, 18)  # places in the workspace
GRADIENT_AT, PADDED = range(18, 20)  # a place in a group's sums, and the numbers of a row there
SEED, CALL, BELOW = range(20, 23)  # of the dropout after the stage
PACKED = 23  # 0, or the address of the weights as fused_products.py packs them
TABLE_FIELDS = 24

# ---- pieces: what a thread collects and updates at a time, rows of a stage's weights ----
STAGE, FIRST_ROW, STOP_ROW = range(3)  # the biases are the row after the last
PIECE_FIELDS = 3

# ---- cells: where threads meet, see waiting.py; each is APART numbers ----
OPENED, GROUPS_TAKEN, GROUPS_DONE, PIECES_TAKEN, PIECES_DONE, CALLED, PRESENT = range(7)
CELLS_FIELDS = 7

# ---- call: what `lead` tells those that follow ----
X, Y, N, ROW, PER, STEPS_OF_CALL, ITERATION, COUNT, WHAT, ALONG, ORDER = range(11)
CALL_FIELDS = 11

# ---- factors: a stage ----
W_L1, W_L2, B_L1, B_L2, SCALE = range(5)
FACTOR_FIELDS = 5

# ---- rules: the optimizer, and the precision of a regression's accuracy ----
LEARNING_RATE, DECAY, CURRENT, EPSILON, FIRST, SECOND, PRECISION = range(7)
RULE_FIELDS = 7

# ---- measured: a step ----
LOSSES, RIGHT, PENALTY, RATE = range(4)
MEASURED_FIELDS = 4

# ---- what the fields can hold ----
LINEAR_ACTIVATION, RELU_ACTIVATION, SIGMOID_ACTIVATION = range(3)
GROUPS, COLLECT, FRESH, FINISH = 1, 2, 4, 8  # what `train` does, added up
ALONE, LEAD, FOLLOW, JOIN = range(4)  # the part that a thread has in it
