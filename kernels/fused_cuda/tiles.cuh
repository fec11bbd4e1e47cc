// ---- tiles: any stages whose activations of TILE samples fit in shared memory ----
//
//   activations  a row a unit, a column a sample: 4 neighbouring samples are one access. Row
//                first_row(s) is the first of stage s's inputs; back, gradients take their place
//   products     a job is 4 units x 4 samples (forward, back), fewer units where there would be too
//                few jobs: a thread adds up all terms of its sums, in their order, as the CPU does
//                (kernels/fused_cpu/products.py). For weights it is 4 inputs x 4 units; where there
//                are fewer jobs than threads, SPLIT neighbouring lanes share one and add up by
//                shuffles, in a fixed order

constexpr int QUADS = TILE / 4;
constexpr int PITCH = TILE + 4;  // rows begin in different banks

__device__ __forceinline__ constexpr int first_row(int s) {
  int first = 0;
  for (int k = 0; k < s; k++) first += width(k);
  return first;
}

// Lanes that share a job of `length` terms: a power of two.
__device__ __forceinline__ constexpr int split_for(int jobs, int length, int at_most) {
  int split = 1;
  while (2 * split * jobs <= THREADS && 2 * split <= length && 2 * split <= at_most) split *= 2;
  return split;
}
// Units of a job of 4 samples: fewer than 4 where not half of the threads would have a job. A split
// of the sum would keep as many busy, but its order would depend on the tile.
__device__ __forceinline__ constexpr int units_for(int rows) {
  int units = 4;
  while (units > 1 && (rows + units - 1) / units * QUADS < THREADS / 2) units /= 2;
  return units;
}
__device__ __forceinline__ constexpr int rounds_for(int jobs, int at_once) { return (jobs + at_once - 1) / at_once; }

// Jobs of a grid of ROWS x COLUMNS, numbered so that 32 neighbours make 4 x 8: then a load of
// theirs is 4 or 8 stretches of 16 bytes, which shared memory gives at once.
template <int ROWS, int COLUMNS> struct Jobs {
  static constexpr int DOWN = ROWS < 4 ? ROWS : 4, ACROSS = COLUMNS < 8 ? COLUMNS : 8;
  static constexpr int PATCHES = (COLUMNS + ACROSS - 1) / ACROSS, PATCH = DOWN * ACROSS;
  static constexpr int COUNT = (ROWS + DOWN - 1) / DOWN * PATCHES * PATCH;
  int row, column;
  bool here;  // else it is a job that the grid has not; row and column are in range all the same
  __device__ __forceinline__ explicit Jobs(int job) {
    row = job / PATCH / PATCHES * DOWN + job % PATCH / ACROSS;
    column = job / PATCH % PATCHES * ACROSS + job % ACROSS;
    here = row < ROWS && column < COLUMNS;
    if (!here) row = column = 0;
  }
};

// Where stage S's weights begin in shared memory: rows of inputs, then the bias, padded.
template <int S> struct Shape {
  static constexpr int I = width(S), O = width(S + 1), FIRST = first_parameter(S);
  static constexpr int I4 = (I + 3) / 4, O4 = (O + 3) / 4, WIDE = 4 * O4 + 4;
  static constexpr int KIND = S == STAGES - 1 ? (int)LINEAR : activation(S);  // `judge` has the last one
  static constexpr int UNITS_F = units_for(O), UNITS_B = units_for(I);
  using Forward = Jobs<(O + UNITS_F - 1) / UNITS_F, QUADS>;
  using Back = Jobs<(I + UNITS_B - 1) / UNITS_B, QUADS>;
  using Weights = Jobs<O4, I4>;
  static constexpr int ROUNDS_F = rounds_for(Forward::COUNT, THREADS);
  static constexpr int ROUNDS_B = rounds_for(Back::COUNT, THREADS);
  static constexpr int SPLIT_W = split_for(Weights::COUNT, QUADS, WARP), AT_ONCE_W = THREADS / SPLIT_W;
  static constexpr int ROUNDS_W = rounds_for(Weights::COUNT, AT_ONCE_W);
  static constexpr int SPLIT_D = split_for(O, QUADS, WARP), AT_ONCE_D = THREADS / SPLIT_D;
  static constexpr int ROUNDS_D = rounds_for(O, AT_ONCE_D);
};

template <int S = 0> __device__ __forceinline__ constexpr int staged_before(int s) {
  if constexpr (S >= STAGES) return 0;
  else return S >= s ? 0 : (Shape<S>::I + 1) * Shape<S>::WIDE + staged_before<S + 1>(s);
}
template <int S = 0> __device__ __forceinline__ constexpr int registers_for() {
  if constexpr (S >= STAGES) return 0;
  else return 16 * Shape<S>::ROUNDS_W + Shape<S>::ROUNDS_D + registers_for<S + 1>();
}

constexpr int ROWS_SIZE = first_row(STAGES + 1) * PITCH;
constexpr int STAGED_SIZE = staged_before(STAGES);
constexpr bool STAGED = ROWS_SIZE + STAGED_SIZE <= MOST_SHARED;  // weights stand in shared memory
constexpr int POOL = ROWS_SIZE + (STAGED ? STAGED_SIZE : 0);
static_assert(POOL <= MOST_SHARED, "this TILE does not fit in ROOM");
static_assert(THREADS % WARP == 0 && TILE % 4 == 0, "whole warps, quads of samples");
constexpr bool KEPT = registers_for() * (int)sizeof(real) <= 400;  // sums stay in registers between tiles

template <int S> struct Sums {
  real w[Shape<S>::ROUNDS_W][4][4], b[Shape<S>::ROUNDS_D];
  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int k = 0; k < Shape<S>::ROUNDS_W; k++)
#pragma unroll
      for (int i = 0; i < 16; i++) w[k][i / 4][i % 4] = real(0);
#pragma unroll
    for (int k = 0; k < Shape<S>::ROUNDS_D; k++) b[k] = real(0);
  }
};
template <int S> struct AllSums : AllSums<S + 1> {
  Sums<S> mine;
  __device__ __forceinline__ void clear() { mine.clear(), AllSums<S + 1>::clear(); }
};
template <> struct AllSums<STAGES> {
  __device__ __forceinline__ void clear() {}
};

struct Tile {
  real* rows;           // of activations, in shared memory
  const real* staged;   // weights, in shared memory
  const real* weights;  // weights, as they are
  index_t number, first;  // of the tile, of its first row in the step
  int here;             // rows that it has
};

// Weights (i, o..o + N - 1) of stage S, 0 beyond its units; row I is the bias.
template <int S, int N> __device__ __forceinline__ Few<N> weights_at(const Tile& t, int i, int o) {
  using D = Shape<S>;
  if (STAGED) return *(const Few<N>*)(t.staged + staged_before(S) + i * D::WIDE + o);
  const real* w = t.weights + D::FIRST + i * D::O + o;
  Few<N> found;
#pragma unroll
  for (int k = 0; k < N; k++) found.v[k] = o + k < D::O ? w[k] : real(0);
  return found;
}

template <int S = 0> __device__ __forceinline__ void stage_all(const real* parameters, real* staged) {
  if constexpr (S < STAGES) {
    using D = Shape<S>;
#pragma unroll 1  // copies that the compiler makes of it cost registers elsewhere
    for (int k = threadIdx.x; k < (D::I + 1) * D::WIDE; k += THREADS) {
      const int i = k / D::WIDE, o = k % D::WIDE;
      staged[staged_before(S) + k] = o < D::O ? parameters[D::FIRST + i * D::O + o] : real(0);
    }
    stage_all<S + 1>(parameters, staged);
  }
}

template <int SPLIT> __device__ __forceinline__ void join(real (*sum)[4]) {
#pragma unroll
  for (int step = SPLIT / 2; step > 0; step /= 2)
#pragma unroll
    for (int k = 0; k < 16; k++) sum[k / 4][k % 4] += __shfl_xor_sync(ALL_LANES, sum[k / 4][k % 4], step);
}

template <int U> __device__ __forceinline__ void multiply_add(real (&sum)[U][4], const Few<U>& a, const Four& b) {
#pragma unroll
  for (int i = 0; i < U; i++)
#pragma unroll
    for (int j = 0; j < 4; j++) sum[i][j] = fma_(a.v[i], b.v[j], sum[i][j]);
}

// The k-th of a job's U rows, of N; beyond the last the last again, for nothing. Rows of a job are
// N / U apart: a fixed distance, which an address takes for free.
template <int N, int U> __device__ __forceinline__ constexpr int rows_apart() { return (N + U - 1) / U; }
template <int N, int U> __device__ __forceinline__ int job_row(int first, int k) {
  const int row = first + k * rows_apart<N, U>();
  return N % U == 0 ? row : min(row, N - 1);
}

// ---- dropout: words of Philox, as dropout_forward of philox.cu has them ----

constexpr word32 STREAM_DROPOUT = 1;

// Stage S's outputs (or gradients there) times its mask. A thread makes four words at a time.
template <int S> __device__ __forceinline__ void drop(const Arguments& a, const Tile& t) {
  constexpr int W = width(S + 1);
  real* rows = t.rows + first_row(S + 1) * PITCH;
  const unsigned* mine = a.dropouts + 5 * S;
  const word64 seed = mine[0] | (word64)mine[1] << 32, keep_below = mine[2] | (word64)mine[3] << 32;
  const real scale = a.settings[STAGE_SETTINGS + S * STAGE_SETTING_COUNT + SCALE];
  const index_t begin = (t.first + (PART ? a.before : 0)) * W, end = begin + (index_t)t.here * W;
  for (index_t block = begin / 4 + threadIdx.x; 4 * block < end; block += THREADS) {
    const Words four = philox_block((word64)block, seed, STREAM_DROPOUT, mine[4]);
#pragma unroll
    for (int k = 0; k < 4; k++) {
      const index_t element = 4 * block + k;
      if (element < begin || element >= end) continue;
      const int local = (int)(element - begin);
      rows[local % W * PITCH + local / W] *= four.w[k] < keep_below ? scale : real(0);
    }
  }
}

// ---- forward ----

template <int S> __device__ __forceinline__ void dense_forward(const Arguments& a, const Tile& t) {
  using D = Shape<S>;
  constexpr int U = D::UNITS_F;
  const real constant = D::KIND == LINEAR ? real(0) : constant_of<S>(a.settings);
  const real* in = t.rows + first_row(S) * PITCH;
  real* out = t.rows + first_row(S + 1) * PITCH;
#pragma unroll
  for (int round = 0; round < D::ROUNDS_F; round++) {
    const typename D::Forward job(round * THREADS + threadIdx.x);
    if (!job.here) continue;
    const int quad = 4 * job.column, unit = U * job.row;
    real sum[U][4];
    const Few<U> bias = weights_at<S, U>(t, D::I, unit);
#pragma unroll
    for (int k = 0; k < 4 * U; k++) sum[k / 4][k % 4] = bias.v[k / 4];
#pragma unroll 4
    for (int i = 0; i < D::I; i++) multiply_add(sum, weights_at<S, U>(t, i, unit), four(in + i * PITCH + quad));
#pragma unroll
    for (int u = 0; u < U; u++) {
      if (unit + u >= D::O) continue;
      Four y;
#pragma unroll
      for (int k = 0; k < 4; k++) y.v[k] = activate<D::KIND>(sum[u][k], constant);
      *(Four*)(out + (unit + u) * PITCH + quad) = y;
    }
  }
  __syncthreads();
}

template <int S = 0>
__device__ __forceinline__ void forward_tile(const Arguments& a, const Tile& t) {
  if constexpr (S < STAGES) {
    dense_forward<S>(a, t);
    if constexpr (dropout(S)) {
      drop<S>(a, t);
      __syncthreads();
    }
    forward_tile<S + 1>(a, t);
  }
}

// ---- loss: LANES neighbouring lanes share a sample; scores become gradients ----

constexpr int LANES = TILE >= THREADS ? 1 : THREADS / TILE > WARP ? WARP : THREADS / TILE;
constexpr int EACH = WARP / LANES;  // lanes of a row's sum that a thread stands for

__device__ __forceinline__ constexpr int lanes_with_terms() {
  int lanes = 1;
  while (lanes < OUTPUTS && lanes < LANES) lanes *= 2;
  return lanes;
}

// The sum of term(c) over a sample's outputs, c with lane c mod LANES, in the order of all rows
// (docs/decisions/one-answer.md): term c to lane c mod 32, halves of the lanes are joined until
// one is left. Lanes that have a term get it.
template <class F> __device__ __forceinline__ real row_sum(int lane, F term) {
  constexpr int ALL = (OUTPUTS + LANES - 1) / LANES, N = ALL < EACH ? ALL : EACH;
  real sums[N];
#pragma unroll
  for (int k = 0; k < N; k++) sums[k] = real(0);
#pragma unroll 1
  for (int first = lane; first < OUTPUTS; first += N * LANES)
#pragma unroll
    for (int k = 0; k < N; k++)
      if (first + k * LANES < OUTPUTS) sums[k] += term(first + k * LANES);
  return warp_reduce<Sum, lanes_with_terms()>(row_sum(sums));
}

// The place of the first largest value over the lanes of a sample.
__device__ __forceinline__ int first_largest(real value, int place) {
#pragma unroll
  for (int step = LANES / 2; step > 0; step /= 2) {
    const real other = __shfl_xor_sync(ALL_LANES, value, step);
    const int there = __shfl_xor_sync(ALL_LANES, place, step);
    if (other > value || (other == value && there < place)) value = other, place = there;
  }
  return place;
}

__device__ __forceinline__ void softmax_tile(const Arguments& a, index_t at, real* z, int lane, bool here,
                                             real weight, real& loss, real& right) {
  const int label = TARGETS == NUMBERS ? -1 : label_of(a, at);
  const real low = a.settings[LOW], high = a.settings[HIGH];
  real largest = minus_infinity(), target_largest = minus_infinity(), chosen = real(1);
  int best = OUTPUTS, target_best = OUTPUTS;
  for (int c = lane; c < OUTPUTS; c += LANES) {
    const real score = z[c * PITCH];
    if (score > largest) best = c;
    largest = max_(largest, score);
    if (TARGETS != NUMBERS) continue;
    const real target = a.targets[at * OUTPUTS + c];
    if (target > target_largest) target_largest = target, target_best = c;
  }
  best = first_largest(largest, best);
  target_best = TARGETS == NUMBERS ? first_largest(target_largest, target_best) : label;
  largest = warp_reduce<Max, LANES>(largest);
  const real share = real(1) / row_sum(lane, [&](int c) {
    const real e = exp_below_0_(z[c * PITCH] - largest);
    z[c * PITCH] = e;
    return e;
  });
  if (here && lane == 0 && ACCURACY == ARGMAX) right += real(best == target_best);
  if (TARGETS == NUMBERS) {
    const real found = row_sum(lane, [&](int c) {
      const real p = z[c * PITCH] * share, target = a.targets[at * OUTPUTS + c];
      z[c * PITCH] = here ? weighed(p - target, weight) : real(0);
      return target == real(0) ? target : target * log_(clip(p, low, high));
    });
    if (here && lane == 0) loss -= weighed(found, weight);
    return;
  }
  const bool inside = label >= 0 && label < OUTPUTS;
  for (int c = lane; c < OUTPUTS; c += LANES) {
    const real p = z[c * PITCH] * share;
    if (c == label) chosen = p;
    z[c * PITCH] = !here ? real(0) : inside ? weighed(p - real(c == label), weight) : not_a_number();
  }
  if (here && inside && label % LANES == lane) loss -= weighed(log_(clip(chosen, low, high)), weight);
  if (here && !inside) loss = not_a_number();
}

__device__ __forceinline__ void judge_tile(const Arguments& a, const Tile& t, real& loss, real& right, real& weights) {
  const int lane = threadIdx.x % LANES;
#pragma unroll 1
  for (int s = threadIdx.x / LANES; s < TILE; s += THREADS / LANES) {
    const bool here = s < t.here;
    const index_t at = a.first + t.first + (here ? s : 0);
    real* z = t.rows + first_row(STAGES) * PITCH + s;
    const real weight = weight_of(a, at);
    if (WEIGHTS && here && lane == 0) weights += weight;
    if constexpr (LOSS == SOFTMAX_CROSS_ENTROPY) {
      softmax_tile(a, at, z, lane, here, weight, loss, right);
    } else {
      const real found = row_sum(lane, [&](int c) {
        const Judged one = judge(z[c * PITCH], a.targets[at * OUTPUTS + c], a.settings);
        z[c * PITCH] = here ? weighed(one.dz, weight) : real(0);
        if (here) right += one.right;
        return one.loss;
      });
      if (here && lane == 0) loss += weighed(found / real(OUTPUTS), weight);
    }
  }
  __syncthreads();
}
