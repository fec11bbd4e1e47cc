"""The tables that tell the fused step about a network: what stands where.

nnfs_gpu/fused/layout.py and cpu.py fill them, kernels/fused_step.py and fused_update.py read
them. `head` and one row of `table` a stage hold whole numbers, one row of `factors` a stage
and `rules` real ones. An address counts in bytes; a place in a thread's workspace, in numbers.
"""

# ---- head: the network ----
STAGES, TILE, PITCH, LOSS, OPTIMIZER, SOFT, GRADIENTS = range(7)
TARGETS_AT, ROOM_AT, TURNED_AT, MASKS_AT = range(7, 11)  # places in the workspace
TABLE, FACTORS, RULES, CELLS, SUMS, TOTALS, GRADIENT, MEASURED = range(11, 19)  # addresses
PIECES, PENALTIES = range(19, 21)  # addresses
CALL = 21  # an address
PIECE_COUNT = 22
END_CODE, FINISH_CODE, DRAW_CODE, SIGMOID_CODE, SIGMOID_BACK_CODE = range(23, 28)
GROUP_CODE = 28  # 0, or what does a group in place of fused_group.py
NARROW = 29  # 0, or the units of a network with one hidden layer, and some more: fused_narrow.py
ZEROS_AT, PRODUCTS_AT, GATES_AT, MASKED_AT, FOLDED_AT, UNITS_AT, START_AT, MEANS_AT = range(30, 38)
HEAD_FIELDS = 38

# ---- table: a stage ----
INPUTS, OUTPUTS, ACTIVATION, DROPOUT, BY_LANES = range(5)
W, B, DW, DB, W_FIRST, W_SECOND, B_FIRST, B_SECOND = range(5, 13)  # addresses
X_AT, Y_AT, MASK_AT, D_AT, LANES_AT = range(13, 18)  # places in the workspace
GRADIENT_AT, PADDED = range(18, 20)  # a place in a group's sums, and the numbers of a row there
SEED, CALL, BELOW = range(20, 23)  # of the dropout after the stage
TABLE_FIELDS = 23

# ---- pieces: what a thread collects and updates at a time, rows of a stage's weights ----
STAGE, FIRST_ROW, STOP_ROW = range(3)  # the biases are the row after the last
PIECE_FIELDS = 3

# ---- cells: where threads meet, see waiting.py; each is APART numbers ----
OPENED, GROUPS_TAKEN, GROUPS_DONE, PIECES_TAKEN, PIECES_DONE, CALLED, PRESENT = range(7)
CELLS_FIELDS = 7

# ---- call: what `lead` tells those that follow ----
X, Y, N, ROW, PER, STEPS_OF_CALL, ITERATION, COUNT, WHAT = range(9)
CALL_FIELDS = 9

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
SOFTMAX_CROSS_ENTROPY, BINARY_CROSS_ENTROPY, SQUARED_ERROR, ABSOLUTE_ERROR = range(4)
SGD, MOMENTUM, ADAGRAD, RMSPROP, ADAM = range(5)
GROUPS, COLLECT, FRESH, FINISH = 1, 2, 4, 8  # what `train` does, added up
ALONE, LEAD, FOLLOW, JOIN = range(4)  # the part that a thread has in it
