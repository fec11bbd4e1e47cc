"""The tables that tell the fused step about a network: what stands where.

nnfs_gpu/fused/cpu/ fills them (`layout.py` what follows from the plan, `binding.py` what belongs
to the model's objects, `groups.py` and `engine.py` the addresses of sums and results, `calls.py`
those of functions); the files of this folder read them. `head` and one row of `table` a stage
hold whole numbers, one row of `factors` a stage and `rules` real ones. An address counts in
bytes; a place in a thread's workspace, in numbers.

Each table is one list of names, numbered from 0, that ends in their count: Numba takes a number
of a module as a constant. A name stands in one list only, which a test looks after.
"""

# fmt: off
(  # ---- head: the network ----
    STAGES, TILE, PITCH, SOFT, GRADIENTS,
    ROOM_ROWS,  # of the room for the loss
    TARGETS_AT, ROOM_AT, TURNED_AT, MASKS_AT,  # places in the workspace
    TABLE, FACTORS, RULES, CELLS, SUMS, TOTALS, EXACT, MEASURED,  # addresses
    PIECES, PENALTIES, CALL_TABLE,  # addresses
    PIECE_COUNT,
    LOSS_POINTER, UPDATE_POINTER, DROPOUT_POINTER,  # of functions: pointers.py
    GROUP_POINTER,
    NARROW,  # the units of a network with one hidden layer, and some more: narrow.py
    ZEROS_AT, PRODUCTS_AT, GATES_AT, MASKED_AT, FOLDED_AT, UNITS_AT, START_AT, MEANS_AT,
    GATHERED_AT,  # the targets of a tile whose samples come in an order
    GATHER_POINTER, COLLECT_POINTER,
    WEIGHTS, WEIGHED,  # addresses: of the samples' weights, or 0, and of the first one's targets
    WEIGHTS_AT, WEIGHED_LOSS_POINTER,
    HEAD_FIELDS,
) = range(43)

(  # ---- table: a stage ----
    INPUTS, OUTPUTS, DROPOUT, BY_LANES,
    END, GRADIENT_END,  # of the products, forward and back: vectors.py
    ACTIVATION_POINTER, GRADIENT_POINTER,  # of functions or 0: the activation after the product
    W, B, DW, DB, W_FIRST, W_SECOND, B_FIRST, B_SECOND,  # addresses
    X_AT, MASK_AT, D_AT, LANES_AT,  # places in the workspace
    GRADIENT_AT, PADDED,  # a place in a group's sums, and the numbers of a row there
    SEED, CALL, BELOW,  # of the dropout after the stage
    PACKED,  # 0, or the address of the weights as products.py packs them
    TABLE_FIELDS,
) = range(27)

(  # ---- pieces: what a thread collects and updates at a time, rows of a stage's weights ----
    STAGE, FIRST_ROW, STOP_ROW,  # the biases are the row after the last
    PIECE_FIELDS,
) = range(4)

(  # ---- cells: where threads meet, see waiting.py; each is APART numbers ----
    OPENED, GROUPS_CLAIMED, GROUPS_DONE, PIECES_CLAIMED, PIECES_DONE, CALLED, PRESENT,
    CELLS_FIELDS,
) = range(8)

(  # ---- call: what `lead` tells those that follow ----
    X, Y, N, ROW, PER, STEPS_OF_CALL, ITERATION, COUNT, WHAT, ALONG, ORDER,
    CALL_FIELDS,
) = range(12)

(  # ---- factors: a stage ----
    W_L1, W_L2, B_L1, B_L2, SCALE,
    CONSTANT,  # of the activation, such as a slope
    FACTOR_FIELDS,
) = range(7)

(  # ---- rules: the optimizer, and the precision of a regression's accuracy ----
    LEARNING_RATE, DECAY, CURRENT, EPSILON,
    FIRST, SECOND,  # how much of each state stays
    WEIGHT_DECAY,
    PRECISION,
    RULE_FIELDS,
) = range(9)

(  # ---- totals: a group ----
    LOSS_TOTAL, RIGHT_TOTAL, WEIGHT_TOTAL,
    TOTAL_FIELDS,
) = range(4)

(  # ---- measured: a step ----
    LOSSES, RIGHT, PENALTY, RATE,
    WEIGHT,  # of the batch: its samples, or the sum of their weights
    MEASURED_FIELDS,
) = range(6)
# fmt: on

# ---- at the address EXACT: the words of all numbers and of the losses (exact.py), and then, with
# the words of the weights behind them ----
RIGHT_ANSWERS, ROWS_GIVEN, ROWS_WEIGHED, AFTER = range(4)

# ---- what the fields can hold ----
GROUPS, COLLECT, FRESH, FINISH = 1, 2, 4, 8  # what `train` does, added up
ALONE, LEAD, FOLLOW, JOIN = range(4)  # the part that a thread has in it
