// The end of a step: sums over blocks in a fixed order, the optimizer, what is recorded.

// ---- sums over blocks ----
//
// Every block writes its sums into a row of `partials`. The last block of a group of GROUP to
// do so adds up the group's rows, and the last group's last block the groups' sums: in order,
// whichever block comes last. No block waits for another.

constexpr unsigned GROUP = 16;

// True, in all threads, in the last of `all` blocks to call it; it then sees what the others
// have written. Leaves the counter as it was.
__device__ __forceinline__ bool last_of(unsigned all, unsigned* counter, int* flag) {
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    *flag = atomicAdd(counter, 1u) == all - 1;
    if (*flag) *counter = 0;
  }
  __syncthreads();
  const bool last = *flag;
  __syncthreads();  // the flag may be written again
  if (last) __threadfence();
  return last;
}

__device__ __forceinline__ real column(const real* rows, int count, int place) {
  real total = real(0);
#pragma unroll 4
  for (int k = 0; k < count; k++) total += __ldcg(rows + (index_t)k * SLOT + place);
  return total;
}

// Once all blocks have written their row: true in the block that has the sum, `*sum` rows of
// `*count` to be added.
__device__ __forceinline__ bool gather(const Arguments& a, int* flag, const real** sum, int* count) {
  const unsigned blocks = gridDim.x, groups = (blocks + GROUP - 1) / GROUP, mine = blockIdx.x / GROUP;
  const unsigned first = mine * GROUP, size = blocks - first < GROUP ? blocks - first : GROUP;
  *sum = a.partials, *count = (int)blocks;
  if (blocks == 1) return true;
  if (!last_of(size, a.counters + 3 + mine, flag)) return false;
  if (groups == 1) return true;
  real* total = a.partials + (index_t)(blocks + mine) * SLOT;
#pragma unroll 1
  for (int p = threadIdx.x; p < SLOT; p += THREADS) total[p] = column(a.partials + (index_t)first * SLOT, (int)size, p);
  *sum = a.partials + (index_t)blocks * SLOT, *count = (int)groups;
  return last_of(groups, a.counters + 2, flag);
}

// ---- the optimizer ----

// True where `schedule` and `records` have no rows for so many steps: a CUDA graph that is
// replayed too often then changes nothing, instead of writing beside them.
__device__ __forceinline__ bool beyond_schedule(const unsigned* counters, index_t steps) {
  return counters[0] + steps > counters[1];
}

// Learning rate, what Adam's averages are multiplied by, and the rate times the first of them.
struct Rates { real rate, factor_1, factor_2, corrected; };

__device__ __forceinline__ Rates rates_of(const Arguments& a) {
  const real* row = a.schedule + 3 * (index_t)a.position;
  return {row[0], row[1], row[2], row[0] * row[1]};
}

// What a parameter carries from step to step, loaded before its gradient is known.
struct State { real w, m, cache; };

__device__ __forceinline__ State state_of(const Arguments& a, int p) {
  State s = {a.parameters[p], real(0), real(0)};
  if (MOMENTUMS) s.m = a.momentums[p];
  if (CACHES) s.cache = a.caches[p];
  return s;
}

template <int S = 0> __device__ __forceinline__ int penalty_place(int p) {
  if constexpr (S < STAGES) {
    constexpr int biases = first_parameter(S) + width(S) * width(S + 1);
    constexpr int place = STAGE_SETTINGS + S * STAGE_SETTING_COUNT;
    if (p < biases) return place + W_L1;
    if (p < first_parameter(S + 1)) return place + B_L1;
    return penalty_place<S + 1>(p);
  }
  return 0;
}

// Adds the penalty's gradient to dw; its value.
__device__ __forceinline__ real penalize(const Arguments& a, int p, real w, real& dw) {
  const real* factors = a.settings + penalty_place(p);
  const real l1 = factors[0], l2 = factors[1];
  if (l1 == real(0) && l2 == real(0)) return real(0);
  const real flat = w >= real(0) ? l1 : -l1;
  dw += l2 == real(0) ? flat : fma_(real(2) * l2, w, flat);
  return l2 == real(0) ? l1 * abs_(w) : fma_(l2, w * w, l1 * abs_(w));
}

// One parameter's step, to the bits of kernels/cpu/optimizers.py; returns its penalty before it.
template <int KIND = OPTIMIZER>
__device__ __forceinline__ real update(const Arguments& a, int p, State& s, real dw, Rates r) {
  const real* set = a.settings;
  const real penalty = PENALTIES ? penalize(a, p, s.w, dw) : real(0);
  a.gradients[p] = dw;
  if constexpr (KIND == SGD) {
    s.w = fma_(-r.rate, dw, s.w);
  } else if constexpr (KIND == MOMENTUM) {
    a.momentums[p] = s.m = fma_(set[DECAY_1], s.m, -(r.rate * dw));
    s.w += s.m;
  } else if constexpr (KIND == ADAM || KIND == ADAMW) {
    a.momentums[p] = s.m = fma_(set[DECAY_1], s.m, set[REST_1] * dw);
    a.caches[p] = s.cache = fma_(set[DECAY_2], s.cache, set[REST_2] * (dw * dw));
    const real size = sqrt_(s.cache * r.factor_2) + set[EPSILON];
    if constexpr (KIND == ADAM) {
      s.w -= r.corrected * s.m / size;
    } else {
      s.w = fma_(-r.rate, fma_(set[WEIGHT_DECAY], s.w, r.factor_1 * s.m / size), s.w);
    }
  } else {
    static_assert(KIND == ADAGRAD || KIND == RMSPROP, "update: a plan has an optimizer that is not written here");
    s.cache = KIND == ADAGRAD ? fma_(dw, dw, s.cache) : fma_(set[DECAY_2], s.cache, set[REST_2] * (dw * dw));
    a.caches[p] = s.cache;
    s.w -= r.rate * dw / (sqrt_(s.cache) + set[EPSILON]);
  }
  a.parameters[p] = s.w;
  return penalty;
}

// total + value, and what rounding lost of it, kept for the next time (Knuth's two-sum).
__device__ __forceinline__ void add_to(real* total, real* lost, real value, bool fresh) {
  const real before = fresh ? real(0) : *total;
  value += fresh ? real(0) : *lost;
  const real sum = before + value, part = sum - before;
  *total = sum;
  *lost = (before - (sum - part)) + (value - part);
}

// ---- what a step's sums are divided by: its samples or, where they have weights, the sum of these ----

// What gradients are multiplied by: 1 / N, or 1 / (N O) where a loss is a mean over O outputs.
__device__ __forceinline__ real factor_of(index_t samples) { return real(1) / real(samples * ANSWERS); }
__device__ __forceinline__ real mean_of(real loss, index_t samples) { return loss / real(samples); }
__device__ __forceinline__ void add_weight(const Arguments&, index_t) {}

// The same of a sum of weights, in float64 where it is known so; where that is 0, nothing counts.
template <class Number> __device__ __forceinline__ real factor_of(Number weight) {
  return weight == Number(0) ? real(0) : real(1) / real(weight * Number(ANSWERS));
}
template <class Number> __device__ __forceinline__ real mean_of(real loss, Number weight) {
  return weight == Number(0) ? loss : loss / real(weight);
}
template <class Number> __device__ __forceinline__ void add_weight(const Arguments& a, Number weight) {
  add_to(a.totals + 4, a.totals + 5, real(weight), a.fresh);
}

template <class Weight>
__device__ __forceinline__ void record(const Arguments& a, real loss, real right, real penalty, Weight weight) {
  real* row = a.records + 3 * (index_t)a.position;
  row[0] = mean_of(loss, weight);
  row[1] = penalty;
  row[2] = right / real(a.all * ANSWERS);
  add_to(a.totals, a.totals + 1, loss, a.fresh);
  add_to(a.totals + 2, a.totals + 3, right, a.fresh);
  add_weight(a, weight);
  a.counters[0] = a.position + 1;
#pragma unroll
  for (int s = 0; s < STAGES; s++)
    if (dropout(s)) a.dropouts[5 * s + 4]++;
}

// The end of a step, in all threads of one block: total(p) is the sum over all rows at place p of
// a slot, `weight` what the samples count: how many they are, or the sum of their weights.
// `weights`, where there are any, get the new parameters as well.
template <class Get, class Weight>
__device__ __forceinline__ void finish_step(const Arguments& a, Get total, Weight weight, real* weights,
                                            real* scratch) {
  const Rates rates = rates_of(a);
  const real factor = factor_of(weight);
  real penalty = real(0);
#pragma unroll 1
  for (int p = threadIdx.x; p < PARAMETERS; p += THREADS) {
    State state = state_of(a, p);
    penalty += update(a, p, state, total(p) * factor, rates);
    if (weights) weights[p] = state.w;
  }
  if (PENALTIES) penalty = block_reduce<Sum, THREADS>(penalty, scratch);
  if (threadIdx.x == THREADS - 1) record(a, total(PARAMETERS), total(PARAMETERS + 1), penalty, weight);
}

#if PART
// The end of a leaf, in all threads of one block: its sums, of a leaf, to `words`.
template <class Get> __device__ __forceinline__ void add_leaf(const Arguments& a, Get total) {
#pragma unroll 1
  for (int p = threadIdx.x; p < PARAMETERS; p += THREADS) {
    index_t* w = a.words + p;
    add_exactly(w[0], w[PARAMETERS], w[2 * PARAMETERS], (double)total(p));
  }
  if (threadIdx.x != THREADS - 1) return;
  add_loss(a.words + LOSS_WORDS, (double)total(PARAMETERS));
  a.words[RIGHT_WORD] += (index_t)total(PARAMETERS + 1);
  a.words[ROWS_WORD] += a.rows;
  if (!WEIGHTS) return;
  add_loss(a.words + WEIGHT_WORDS, (double)total(PARAMETERS + 2));
  a.words[WEIGHED_WORD] += a.rows;
}
#endif

// The end of a launch's rows, in all threads of all blocks: sum_of(p) is this block's sum at place
// p of a slot; where STORED, it already stands in the block's row of `partials`. What follows is
// the last block's: the end of the step, or with PART of a leaf.
template <bool STORED, class Get>
__device__ __forceinline__ void finish(const Arguments& a, Get sum_of, real* weights, real* scratch, int* flag) {
  const real* sum = nullptr;
  int count = 1;
  if (gridDim.x > 1) {
#pragma unroll 1
    for (int p = threadIdx.x; !STORED && p < SLOT; p += THREADS)
      a.partials[(index_t)blockIdx.x * SLOT + p] = sum_of(p);
    if (!gather(a, flag, &sum, &count)) return;
  }
  const auto total = [&](int p) { return sum ? column(sum, count, p) : sum_of(p); };
  if constexpr (PART) {
    add_leaf(a, total);
  } else if constexpr (WEIGHTS) {
    finish_step(a, total, total(PARAMETERS + 2), weights, scratch);
  } else {
    finish_step(a, total, a.all, weights, scratch);
  }
}
