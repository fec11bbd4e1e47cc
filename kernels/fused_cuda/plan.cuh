// What fused.cu is built for: the plan as constants, what the kernel is given, and the
// arithmetic of one value. Included by fused.cu alone, as the others here.

// ---- the plan: a build without definitions is 2-64-3, ReLU, Adam ----
#ifndef WIDTHS
#define WIDTHS 2, 64, 3    // inputs, outputs of every stage
#define ACTIVATIONS RELU, LINEAR  // of every stage
#define DROPOUTS 0, 0      // of every stage: 1 where dropout follows
#define STAGES 2
#define LOSS SOFTMAX_CROSS_ENTROPY
#define OPTIMIZER ADAM
#define MOMENTUMS 1        // what it keeps of each parameter: 1 where it does
#define CACHES 1
#define ACCURACY ARGMAX
#define TARGETS 0          // 0 labels, 1 bytes, 2 targets
#define PENALTIES 0        // 1 where a stage has L1 or L2
#define NARROW 1
#define DIFFERENCES 1      // of NARROW: 1 where scores are differences to the last one's
#define THREADS 512
#define TILE 512           // samples that a block has in shared memory
#define BLOCKS 1           // of a multiprocessor
#define ROOM 49152         // bytes of shared memory for a block; SHARED: the same, given by the launch
#endif
#ifndef PART
#define PART 0             // 1: a launch does a leaf, a part of a step's rows
#endif
#ifndef WEIGHTS
#define WEIGHTS 0          // 1: samples have weights
#endif

// Names of nnfs_gpu/fused/vocabulary.py in capitals. A plan with any other does not compile.
enum { LINEAR, RELU, LEAKY_RELU, SIGMOID, TANH };
enum { SOFTMAX_CROSS_ENTROPY, BINARY_CROSS_ENTROPY, SQUARED_ERROR, ABSOLUTE_ERROR };
enum { SGD, MOMENTUM, ADAGRAD, RMSPROP, ADAM, ADAMW };
enum { NONE, ARGMAX, THRESHOLD, CLOSE };
enum { LABELS, BYTES, NUMBERS };

__device__ __forceinline__ constexpr int width(int s) {
  constexpr int values[] = {WIDTHS};
  return values[s];
}
__device__ __forceinline__ constexpr int activation(int s) {
  constexpr int values[] = {ACTIVATIONS};
  return values[s];
}
__device__ __forceinline__ constexpr bool dropout(int s) {
  constexpr int values[] = {DROPOUTS};
  return values[s] != 0;
}
__device__ __forceinline__ constexpr int first_parameter(int s) {
  int first = 0;
  for (int k = 0; k < s; k++) first += (width(k) + 1) * width(k + 1);
  return first;
}
__device__ __forceinline__ constexpr int round_up(int n, int to) { return (n + to - 1) / to * to; }
__device__ __forceinline__ constexpr int most(int a, int b) { return a > b ? a : b; }

constexpr int OUTPUTS = width(STAGES);
constexpr int ANSWERS = LOSS == SOFTMAX_CROSS_ENTROPY ? 1 : OUTPUTS;  // what is compared of a sample
constexpr int PARAMETERS = first_parameter(STAGES);
constexpr int SLOT = PARAMETERS + 2 + WEIGHTS;  // a block's sums: gradients, losses, right predictions, weights
constexpr int LOSS_WORDS = 3 * PARAMETERS, RIGHT_WORD = LOSS_WORDS + 12, ROWS_WORD = RIGHT_WORD + 1;  // of `words`
constexpr int WEIGHED_WORD = ROWS_WORD + 1, WEIGHT_WORDS = WEIGHED_WORD + 1;
constexpr int WARPS = THREADS / WARP;
constexpr int MOST_SHARED = ROOM / (int)sizeof(real) - 64;  // reals

// ---- settings, by their place ----
enum { LOW, HIGH, PRECISION, EPSILON, DECAY_1, REST_1, DECAY_2, REST_2, WEIGHT_DECAY, STAGE_SETTINGS = 10 };
enum { W_L1, W_L2, B_L1, B_L2, SCALE, CONSTANT, STAGE_SETTING_COUNT };

// The number that stage S's activation has, such as a slope; where it has none, nothing is loaded.
template <int S> __device__ __forceinline__ real constant_of(const real* settings) {
  return activation(S) == LEAKY_RELU ? settings[STAGE_SETTINGS + S * STAGE_SETTING_COUNT + CONSTANT] : real(0);
}

struct Arguments {
  const real* x;
  const int* labels;
  const unsigned char* bytes;
  const real *targets, *weights;
  real *parameters, *gradients, *momentums, *caches, *partials;
  unsigned *counters, *dropouts;
  const real *schedule, *settings;
  real *records, *totals;
  index_t* words;
  index_t first, rows;  // of this step, or of the part of it that this launch does
  index_t all, before;  // rows of the whole step; with PART the number in it of the first of ours
  unsigned position;    // of this step in schedule and records
  bool fresh;           // this step begins a pass
};

// ---- several values at once ----

template <int N> struct alignas(N * sizeof(real) < 16 ? N * sizeof(real) : 16) Few { real v[N]; };
typedef Few<4> Four;

__device__ __forceinline__ Four four(const real* p) { return *(const Four*)p; }

// The sum of a row whose N terms one thread has, in the order of all rows
// (docs/decisions/one-answer.md): halves are joined until one is left.
template <int N> __device__ __forceinline__ real row_sum(const real (&terms)[N]) {
  static_assert(N <= WARP, "a lane has one term");
  real sums[N];
#pragma unroll
  for (int k = 0; k < N; k++) sums[k] = terms[k];
#pragma unroll
  for (int step = WARP / 2; step > 0; step /= 2)
#pragma unroll
    for (int k = 0; k < step; k++)
      if (k + step < N) sums[k] += sums[k + step];
  return sums[0];
}

__device__ __forceinline__ real sigmoid(real x) {
  const real e = exp_below_0_(-abs_(x));  // never above 1
  return (x >= real(0) ? real(1) : e) / (real(1) + e);
}

template <int KIND> __device__ __forceinline__ real activate(real v, real constant) {
  if constexpr (KIND == RELU) return v <= real(0) ? real(0) : v;
  else if constexpr (KIND == LEAKY_RELU) return v <= real(0) ? constant * v : v;
  else if constexpr (KIND == SIGMOID) return sigmoid(v);
  else if constexpr (KIND == TANH) return tanh_(v);
  else {
    static_assert(KIND == LINEAR, "activate: a plan has an activation that is not written here");
    return v;
  }
}

// Gradient before the activation, from the one behind it and the activation's value.
template <int KIND> __device__ __forceinline__ real through(real dy, real y, real constant) {
  if constexpr (KIND == RELU) return y <= real(0) ? real(0) : dy;
  else if constexpr (KIND == LEAKY_RELU) return y <= real(0) ? constant * dy : dy;
  else if constexpr (KIND == SIGMOID) return dy * (real(1) - y) * y;
  else if constexpr (KIND == TANH) return dy * ((real(1) - y) * (real(1) + y));
  else {
    static_assert(KIND == LINEAR, "through: a plan has an activation that is not written here");
    return dy;
  }
}

// Whether an output of 0 passes no gradient on: then its 0 is enough to tell what was dropped.
template <int KIND> __device__ __forceinline__ constexpr bool stops_at_zero() { return KIND == RELU || KIND == SIGMOID; }

// ---- losses that treat each output on its own: z -> loss, gradient at z, right or not ----
//
// To the bits of kernels/fused_cpu/losses.py. The loss of a sample is the sum over its outputs divided
// by how many they are; 1 / N comes in once, when the gradients of all samples have been summed. Where
// samples have weights, a sample's loss and gradient count as much, and N is the sum of the weights.

struct Judged { real loss, dz, right; };

template <int KIND = LOSS> __device__ __forceinline__ Judged judge(real z, real t, const real* settings) {
  Judged result = {real(0), real(0), real(0)};
  real y = z;
  if constexpr (KIND == BINARY_CROSS_ENTROPY) {
    y = sigmoid(z);
    const real p = clip(y, settings[LOW], settings[HIGH]), rest = real(1) - p;
    result.loss = -fma_(t, log_(p), (real(1) - t) * log_(rest));
    const real share = y == p ? real(1) : y * (real(1) - y) / (p * rest);
    result.dz = (p - t) * share;
  } else if constexpr (KIND == SQUARED_ERROR) {
    const real difference = y - t;
    result.loss = difference * difference;
    result.dz = real(2) * difference;
  } else if constexpr (KIND == ABSOLUTE_ERROR) {
    const real difference = y - t;
    result.loss = abs_(difference);
    result.dz = difference > real(0) ? real(1) : difference < real(0) ? real(-1) : difference;
  } else {
    static_assert(KIND == SOFTMAX_CROSS_ENTROPY, "judge: a plan has a loss that is not written here");
  }
  if (ACCURACY == THRESHOLD) result.right = real(real(y > real(0.5)) == t);
  if (ACCURACY == CLOSE) result.right = real(abs_(y - t) < settings[PRECISION]);
  return result;
}
static_assert(activation(STAGES - 1) == (LOSS == BINARY_CROSS_ENTROPY ? SIGMOID : LINEAR), "losses begin with z");

// What a sample counts.
__device__ __forceinline__ real weight_of(const Arguments& a, index_t row) {
  return WEIGHTS ? a.weights[row] : real(1);
}
// Its loss, or a gradient of it, counted so.
__device__ __forceinline__ real weighed(real value, real weight) { return WEIGHTS ? value * weight : value; }

__device__ __forceinline__ int label_of(const Arguments& a, index_t row) {
  return TARGETS == BYTES ? (int)a.bytes[row] : a.labels[row];
}
