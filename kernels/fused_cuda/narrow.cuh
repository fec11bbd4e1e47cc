// ---- narrow: one hidden layer, few inputs and outputs ----
//
//   forward   a thread has R samples and goes through the hidden units, whose weights come four
//             at a time from shared memory. The gradients at the outputs follow at once
//   back      a thread owns UNITS hidden units and goes through samples {x, dz}: it computes
//             each unit's value again and adds to its sums in registers
//   softmax   is shift invariant and, with class labels, its gradients sum to 0: with DIFFERENCES
//             the last score counts as 0, and D = C - 1 of them are enough; where the CPU does so
//   A group of GROUPS threads has all units and shares the samples with SLICES - 1 others.

constexpr int N_I = width(0), N_H = width(1);
constexpr int N_D = OUTPUTS - DIFFERENCES;
constexpr int N_ROWS = N_I + 1 + N_D;  // numbers of a unit: from the inputs, bias, to the outputs
constexpr int UNITS = VEC == 2 ? 1 + (N_ROWS <= 6) : N_ROWS <= 6 ? 4 : N_ROWS <= 12 ? 2 : 1;

__device__ __forceinline__ constexpr int groups_for(int threads) {
  if (threads > WARP) return round_up(threads, WARP);
  int groups = 4 / UNITS;
  while (groups < threads) groups *= 2;
  return groups;
}

constexpr int GROUPS = groups_for((N_H + UNITS - 1) / UNITS);
constexpr int SLICES = THREADS / GROUPS;
constexpr int PADDED = GROUPS * UNITS;  // units, those beyond H have weights of 0
constexpr int FEATURES = round_up(N_I + N_D, VEC);
constexpr int R = TILE / THREADS;
constexpr bool OWN = GROUPS <= WARP && R > 1;  // a warp goes back through its own samples
constexpr int PARTS = GROUPS <= WARP ? WARPS : SLICES;
constexpr int TAIL = N_D + 2 + WEIGHTS;  // sums of dz, of losses, of right predictions, of weights

constexpr int FEATURES_SIZE = TILE * FEATURES, SUMS_SIZE = PARTS * N_ROWS * PADDED;
constexpr int TAILS_SIZE = round_up(WARPS * TAIL, 4);
constexpr int FIXED_SIZE = N_ROWS * PADDED + TAILS_SIZE;
constexpr bool APART = FIXED_SIZE + FEATURES_SIZE + SUMS_SIZE <= MOST_SHARED;
constexpr int AREA = APART ? FEATURES_SIZE + SUMS_SIZE : most(FEATURES_SIZE, SUMS_SIZE);
constexpr bool COPY = FIXED_SIZE + AREA + PARAMETERS <= MOST_SHARED;  // of the parameters
constexpr int POOL = FIXED_SIZE + AREA + (COPY ? PARAMETERS : 0);
static_assert(POOL <= MOST_SHARED, "this TILE does not fit in ROOM");
static_assert(THREADS % WARP == 0 && THREADS % GROUPS == 0 && TILE % THREADS == 0, "whole warps, groups and samples");

// exp of each score less the largest, which is number `best`: 1 for that one, whose exp is not computed
// where there are few, as choosing among them takes less. Where it is infinite, NaN.
template <int N>
__device__ __forceinline__ void exp_of_scores(const real (&scores)[N], real largest, int best, real (&terms)[N]) {
  if constexpr (N > 4) {
#pragma unroll
    for (int c = 0; c < N; c++) terms[c] = exp_below_0_(scores[c] - largest);
  } else {
    const real own = largest - largest + real(1);
    real others[N];
#pragma unroll
    for (int c = 0; c < N - 1; c++) others[c] = exp_below_0_((c < best ? scores[c] : scores[c + 1]) - largest);
#pragma unroll
    for (int c = 0; c < N; c++) {
      terms[c] = own;
      if (c < N - 1 && c < best) terms[c] = others[c];
      if (c > 0 && c > best) terms[c] = others[c - 1];
    }
  }
}

// Loss, gradients and verdict of one sample, from its scores z; nothing of a sample that is not
// `here`, as those of a last tile's end. No branches: the samples of a thread go side by side.
__device__ __forceinline__ void judge_narrow(const Arguments& a, index_t at, bool here, real weight, const real* z,
                                             real* dz, real& loss, real& right) {
  const real low = a.settings[LOW], high = a.settings[HIGH];
  real terms[OUTPUTS];  // of sums over outputs
  if (LOSS != SOFTMAX_CROSS_ENTROPY) {
#pragma unroll
    for (int c = 0; c < OUTPUTS; c++) {
      const Judged found = judge(z[c], a.targets[at * OUTPUTS + c], a.settings);
      dz[c] = here ? weighed(found.dz, weight) : real(0);
      terms[c] = found.loss;
      if (here) right += found.right;
    }
    if (here) loss += weighed(row_sum(terms) / real(OUTPUTS), weight);
    return;
  }
  real scores[OUTPUTS], largest = z[0];
  int best = 0;
#pragma unroll
  for (int c = 0; c < OUTPUTS; c++) {
    scores[c] = c < N_D ? z[c] : real(0);
    if (scores[c] > largest) largest = scores[c], best = c;
  }
  exp_of_scores(scores, largest, best, terms);
  real share = real(1) / row_sum(terms);
  if (TARGETS == NUMBERS) {
    const real* t = a.targets + at * OUTPUTS;
    int target = 0;
#pragma unroll
    for (int c = 0; c < OUTPUTS; c++) {
      const real p = terms[c] * share;
      if (t[c] > t[target]) target = c;
      terms[c] = t[c] * log_(clip(p, low, high));
      dz[c] = here ? weighed(p - t[c], weight) : real(0);
    }
    if (here) loss -= weighed(row_sum(terms), weight);
    if (here && best == target) right += real(1);
    return;
  }
  int label = label_of(a, at);
  real chosen = terms[0];
#pragma unroll
  for (int c = 1; c < OUTPUTS; c++)
    if (c == label) chosen = terms[c];
  if ((unsigned)label >= (unsigned)OUTPUTS) share = not_a_number();  // and all of it
  if (here) loss -= weighed(log_(clip(chosen * share, low, high)), weight);
  if (here && best == label) right += real(1);
  if (!here) share = real(0), label = -1;
#pragma unroll
  for (int c = 0; c < N_D; c++) dz[c] = weighed(terms[c] * share - (c == label ? real(1) : real(0)), weight);
}

// Rows of weights as both directions read them: from each input, bias, to each output.
__device__ __forceinline__ void stage_weights(const real* p, real* weights) {
  constexpr int SECOND = (N_I + 1) * N_H;
#pragma unroll 1  // copies that the compiler makes of it cost registers elsewhere
  for (int k = threadIdx.x; k < N_ROWS * PADDED; k += THREADS) {
    const int row = k / PADDED, unit = k % PADDED, c = row - N_I - 1;
    real w = real(0);
    if (unit < N_H && c < 0) w = p[row * N_H + unit];
    if (unit < N_H && c >= 0) {
      w = p[SECOND + unit * OUTPUTS + c];
      if (N_D < OUTPUTS) w -= p[SECOND + unit * OUTPUTS + N_D];
    }
    weights[k] = w;
  }
}

// Scores of a thread's R samples.
__device__ __forceinline__ void forward_narrow(const real* weights, const real (*x)[N_I], real (*z)[N_D],
                                               real constant) {
#pragma unroll(R > 2 ? 1 : 2)
  for (int unit = 0; unit < PADDED; unit += 4) {
    Four w[N_ROWS];
#pragma unroll
    for (int row = 0; row < N_ROWS; row++) w[row] = four(weights + row * PADDED + unit);
#pragma unroll
    for (int u = 0; u < 4; u++)
#pragma unroll
      for (int r = 0; r < R; r++) {
        real v = w[N_I].v[u];
#pragma unroll
        for (int i = 0; i < N_I; i++) v = fma_(x[r][i], w[i].v[u], v);
        // A comparison would keep NaN and cost one more instruction; see samples_forward.
        v = activation(0) == RELU ? fmax(v, real(0)) : activate<activation(0)>(v, constant);
#pragma unroll
        for (int c = 0; c < N_D; c++) z[r][c] = fma_(v, w[N_I + 1 + c].v[u], z[r][c]);
      }
  }
}

// Forward for the thread's samples of a tile, of which `left` rows are there: features {x, dz} to
// shared memory, sums to tail. Beyond the last row its values stand again, with gradients of 0.
__device__ __forceinline__ void samples_forward(const Arguments& a, const real* p, const real* weights,
                                                real* features, index_t tile, int left, real* tail) {
  constexpr int OUTPUT_BIAS = PARAMETERS - OUTPUTS;
  const int mine = threadIdx.x / WARP * (WARP * R) + threadIdx.x % WARP;
  const index_t first = a.first + tile * TILE;
  const real* data = a.x + first * N_I;
  real x[R][N_I], z[R][N_D];
#pragma unroll
  for (int r = 0; r < R; r++) {
    const int row = min(mine + r * WARP, left - 1);
    real check = real(0);
#pragma unroll
    for (int i = 0; i < N_I; i++) {
      x[r][i] = data[row * N_I + i];
      check = fma_(x[r][i], real(0), check);  // NaN for NaN and infinity, which a maximum would hide
    }
#pragma unroll
    for (int c = 0; c < N_D; c++) z[r][c] = check;
  }
#pragma unroll
  for (int c = 0; c < N_D; c++) {
    const real bias = p[OUTPUT_BIAS + c] - (N_D < OUTPUTS ? p[OUTPUT_BIAS + N_D] : real(0));
#pragma unroll
    for (int r = 0; r < R; r++) z[r][c] += bias;
  }
  forward_narrow(weights, x, z, constant_of<0>(a.settings));
#pragma unroll
  for (int r = 0; r < R; r++) {
    const int row = mine + r * WARP;
    const bool here = row < left;
    real dz[N_D], packed[FEATURES];
    const index_t at = first + min(row, left - 1);
    const real weight = weight_of(a, at);
    judge_narrow(a, at, here, weight, z[r], dz, tail[N_D], tail[N_D + 1]);
    if (WEIGHTS && here) tail[TAIL - 1] += weight;
#pragma unroll
    for (int f = 0; f < FEATURES; f++) packed[f] = f < N_I ? x[r][f] : f < N_I + N_D ? dz[f - N_I] : real(0);
#pragma unroll
    for (int c = 0; c < N_D; c++) tail[c] += dz[c];
#pragma unroll
    for (int f = 0; f < FEATURES; f += VEC) {
      Vec<real> part;
#pragma unroll
      for (int k = 0; k < VEC; k++) part.v[k] = packed[f + k];
      store_vec(features + row * FEATURES + f, part);
    }
  }
}

// Back through samples first, first + step, ... before last: adds to a thread's sums.
__device__ __forceinline__ void samples_backward(const real* features, int first, int last, int step,
                                                 const real (*w)[UNITS], real (*sums)[UNITS],
                                                 real constant) {
#pragma unroll 4
  for (int s = first; s < last; s += step) {
    real f[FEATURES];
#pragma unroll
    for (int k = 0; k < FEATURES; k += VEC) {
      const Vec<real> part = load_vec(features + s * FEATURES + k);
#pragma unroll
      for (int j = 0; j < VEC; j++) f[k + j] = part.v[j];
    }
#pragma unroll
    for (int u = 0; u < UNITS; u++) {
      real v = w[N_I][u], dv = real(0);
#pragma unroll
      for (int i = 0; i < N_I; i++) v = fma_(f[i], w[i][u], v);
#pragma unroll
      for (int c = 0; c < N_D; c++) dv = fma_(f[N_I + c], w[N_I + 1 + c][u], dv);
      if constexpr (activation(0) == RELU) {
        if (v <= real(0)) continue;
      } else {
        v = activate<activation(0)>(v, constant), dv = through<activation(0)>(dv, v, constant);
      }
#pragma unroll
      for (int c = 0; c < N_D; c++) sums[N_I + 1 + c][u] = fma_(v, f[N_I + c], sums[N_I + 1 + c][u]);
#pragma unroll
      for (int i = 0; i < N_I; i++) sums[i][u] = fma_(dv, f[i], sums[i][u]);
      sums[N_I][u] += dv;
    }
  }
}

// A thread's sums to shared memory: part by part, rows of weights, units.
__device__ __forceinline__ void store_sums(real (*sums)[UNITS], real* tail, real* area, real* tails) {
  const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
#pragma unroll
  for (int k = 0; k < TAIL; k++) {
    const real total = warp_reduce<Sum>(tail[k]);
    if (lane == 0) tails[warp * TAIL + k] = total;
  }
  const int part = GROUPS <= WARP ? warp : threadIdx.x / GROUPS;
#pragma unroll
  for (int row = 0; row < N_ROWS; row++)
#pragma unroll
    for (int u = 0; u < UNITS; u++) {
      real total = sums[row][u];
#pragma unroll
      for (int step = WARP / 2; step >= GROUPS; step /= 2) total += __shfl_xor_sync(ALL_LANES, total, step);
      if (GROUPS >= WARP || lane < GROUPS)
        area[(part * N_ROWS + row) * PADDED + u * GROUPS + threadIdx.x % GROUPS] = total;
    }
}

// This block's sum at place p of a slot, from what store_sums has left.
__device__ __forceinline__ real narrow_sum(const real* area, const real* tails, int p) {
  constexpr int SECOND = (N_I + 1) * N_H, OUTPUT_BIAS = SECOND + N_H * OUTPUTS;
  if (p >= OUTPUT_BIAS) {
    const int k = p - OUTPUT_BIAS;  // bias, then losses, right predictions and weights
    const bool sum_of_others = N_D < OUTPUTS && k == N_D;
    const int first = sum_of_others ? 0 : k >= OUTPUTS ? k - OUTPUTS + N_D : k, count = sum_of_others ? N_D : 1;
    real total = real(0);
    for (int c = first; c < first + count; c++)
#pragma unroll 4
      for (int warp = 0; warp < WARPS; warp++) total += tails[warp * TAIL + c];
    return sum_of_others ? -total : total;
  }
  const int q = p - SECOND, unit = p < SECOND ? p % N_H : q / OUTPUTS;
  const int c = p < SECOND ? 0 : q % OUTPUTS;
  const bool sum_of_others = p >= SECOND && c == N_D;
  const int first = p < SECOND ? p / N_H : N_I + 1 + (sum_of_others ? 0 : c), count = sum_of_others ? N_D : 1;
  real total = real(0);
  for (int row = first; row < first + count; row++)
#pragma unroll 8
    for (int part = 0; part < PARTS; part++) total += area[(part * N_ROWS + row) * PADDED + unit];
  return sum_of_others ? -total : total;
}

__device__ __forceinline__ void narrow_step(const Arguments& a, const real* parameters, real* pool, real* copy,
                                            real* scratch, int* flag) {
  real* weights = pool;
  real* tails = weights + N_ROWS * PADDED;
  real* features = tails + TAILS_SIZE;
  real* area = APART ? features + FEATURES_SIZE : features;
  stage_weights(parameters, weights);
  __syncthreads();
  const int group = threadIdx.x % GROUPS;
  real w[N_ROWS][UNITS], sums[N_ROWS][UNITS], tail[TAIL];
  const real constant = constant_of<0>(a.settings);
#pragma unroll
  for (int k = 0; k < TAIL; k++) tail[k] = real(0);
#pragma unroll
  for (int row = 0; row < N_ROWS; row++)
#pragma unroll
    for (int u = 0; u < UNITS; u++) {
      w[row][u] = weights[row * PADDED + u * GROUPS + group];
      sums[row][u] = real(0);
    }
  const index_t tiles = (a.rows + TILE - 1) / TILE;
  for (index_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    const index_t after = a.rows - tile * TILE;
    const int left = after < TILE ? (int)after : TILE, warp = threadIdx.x / WARP * (WARP * R);
    if (OWN || warp < left) samples_forward(a, parameters, weights, features, tile, left, tail);
    if constexpr (OWN) {
      __syncwarp();
      samples_backward(features + warp * FEATURES, threadIdx.x % WARP / GROUPS, WARP * R, WARP / GROUPS, w, sums,
                       constant);
      __syncwarp();
    } else {
      __syncthreads();
      samples_backward(features, threadIdx.x / GROUPS, left, SLICES, w, sums, constant);
      if (tile + gridDim.x < tiles) __syncthreads();
    }
  }
  if (!APART) __syncthreads();
  store_sums(sums, tail, area, tails);
  __syncthreads();
  finish<false>(a, [=](int p) { return narrow_sum(area, tails, p); }, copy, scratch, flag);
}
