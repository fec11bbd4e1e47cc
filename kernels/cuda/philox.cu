// What is drawn from Philox4x32-10 (common.cuh): plain words, dropout, the spiral.
//
//   A block of four words is a function of (position, call, stream) and the seed alone, so every
//   thread makes its own: the words of NumPy's and Numba's backends, bit for bit.
//   source    Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011

// Calls f(block, number of its elements) for blocks of four of `count` elements.
template <class F>
__device__ __forceinline__ void each_block(index_t count, F f) {
  const index_t threads = (index_t)gridDim.x * blockDim.x;
  for (index_t block = (index_t)blockIdx.x * blockDim.x + threadIdx.x; 4 * block < count; block += threads)
    f(block, count - 4 * block < 4 ? (int)(count - 4 * block) : 4);
}

__device__ __forceinline__ bool aligned(const void* p) { return ((word64)p & 15) == 0; }

// random_words: word k is output k % 4 of block k / 4
//   words (count,) uint32
//   threads   a block each; stored 16 bytes at a time where the address allows it
//   traffic   4 bytes a word
//   launch    grid ceil(count / 1024), block 256; any grid is right
extern "C" __global__ void __launch_bounds__(256)
random_words(unsigned* __restrict__ words, index_t count, word64 seed, word32 stream, word32 call) {
  const bool whole = aligned(words);
  each_block(count, [=](index_t block, int here) {
    const Words four = philox_block(block, seed, stream, call);
    unsigned* to = words + 4 * block;
    if (whole && here == 4) {
      *(uint4*)to = make_uint4(four.w[0], four.w[1], four.w[2], four.w[3]);
    } else {
#pragma unroll
      for (int k = 0; k < 4; k++)
        if (k < here) to[k] = four.w[k];
    }
  });
}

// dropout_forward: mask = scale where word e is below keep_below, else 0; y = x mask
//   x, y, mask (size,) real; keep_below = round(keep 2^32), up to 2^32; scale = 1 / keep
//   threads   four elements each, with 16-byte accesses where all addresses allow it
//   traffic   12 bytes an element in float32: the lower bound
//   launch    grid ceil(size / 1024), block 256; any grid is right
extern "C" __global__ void __launch_bounds__(256)
dropout_forward(const real* __restrict__ x, real* __restrict__ y, real* __restrict__ mask, index_t size,
                word64 keep_below, real scale, word64 seed, word32 stream, word32 call) {
  const bool whole = aligned(x) && aligned(y) && aligned(mask);
  each_block(size, [=](index_t block, int here) {
    const Words four = philox_block(block, seed, stream, call);
    const index_t first = 4 * block;
    real kept[4];
#pragma unroll
    for (int k = 0; k < 4; k++) kept[k] = four.w[k] < keep_below ? scale : real(0);
    if (whole && here == 4) {
#pragma unroll
      for (int k = 0; k < 4; k += VEC) {
        Vec<real> values = load_vec(x + first + k), masks;
#pragma unroll
        for (int j = 0; j < VEC; j++) {
          masks.v[j] = kept[k + j];
          values.v[j] *= kept[k + j];
        }
        store_vec(mask + first + k, masks);
        store_vec(y + first + k, values);
      }
    } else {
#pragma unroll
      for (int k = 0; k < 4; k++) {
        if (k >= here) break;
        mask[first + k] = kept[k];
        y[first + k] = x[first + k] * kept[k];
      }
    }
  });
}

// ---- the spiral ----
//
// As kernels/cpu/turns.py and philox.py have it, bit for bit. Angles are whole numbers of 2^-62 turns:
// a sum wraps around as an angle does, and loses no digits to the whole turns in it, so that float32 is
// enough for what remains.

constexpr word64 CLASS_TURNS = 0x976FC893C3AA34E9ull;   // 10 radians without the whole turn, of 2^-64 turns
constexpr word64 RADIUS_TURNS = 0xCBB7E449E1D51A74ull;  // 10 radians in units of 2^-63 turns
constexpr word32 HALF_ROOT = 0xB504F334u;               // sqrt(1/2) 2^32

// Sine and cosine of `angle`: of what is left after whole quarters, then put back.
__device__ __forceinline__ void sine_cosine(word64 angle, real& sine, real& cosine) {
  angle &= (1ull << 62) - 1;
  const word32 quarter = (word32)((angle + (1ull << 59)) >> 60);
  const long long rest = (long long)(angle - ((word64)quarter << 60));  // an eighth of a turn at most
  const real x = real(rest) * real(4.3368086899420177e-19);             // 2^-61: half turns
  const real s = sinpi_(x), c = cospi_(x);
  sine = quarter & 1 ? c : s;
  cosine = quarter & 1 ? s : c;
  sine = quarter & 2 ? -sine : sine;
  cosine = (quarter + 1) & 2 ? -cosine : cosine;
}

// j / d in units of 2^-63, rounded down, 0 <= j <= d (j = d gives 2^63 - 1).
__device__ __forceinline__ word64 fraction(word64 j, word64 d) {
  if (j >= d) return (1ull << 63) - 1;
  if (d <= 0xFFFFFFFFull) {  // two steps of long division
    const word64 upper = j << 32, high = upper / d;
    return high << 31 | ((upper - high * d) << 31) / d;
  }
  word64 quotient = 0;
  for (int bit = 0; bit < 63; bit++) {
    j *= 2;
    quotient *= 2;
    if (j >= d) j -= d, quotient++;
  }
  return quotient;
}

// A standard normal number (Box and Muller, 1958). u = (word + 1/2) / 2^32 is never 0; near 1 its
// logarithm is taken from 1 - u, which float32 holds where it does not hold u.
__device__ __forceinline__ real normal(word32 word, word32 other) {
  constexpr real SCALE = real(2.3283064365386963e-10);  // 2^-32
  const real below = real(~word) + real(0.5), above = real(word) + real(0.5);
  const real log_u = word >= HALF_ROOT ? log_near_one_(-below * SCALE) : log_(above * SCALE);
  real sine, cosine;
  sine_cosine((word64)other << 30, sine, cosine);
  return sqrt_(real(-2) * log_u) * cosine;
}

// spiral: rows first, first + step, ... of the whole: class c = row / samples, r = (row % samples) /
// (samples - 1), angle = 10 c + 10 r + 0.5 g, point (r sin angle, r cos angle), label c
//   points (rows, 2) real, labels (rows,) int32; g is normal, from words 2 row and 2 row + 1
//   threads   a row each
//   error     float32: below 1e-6 against the float64 specification, nearly all of it from g (over
//             300,000 points: 3.3e-7); float64: as the specification's own rounding
//   traffic   12 bytes a row in float32
//   launch    grid ceil(rows / 256), block 256; any grid is right
extern "C" __global__ void __launch_bounds__(256)
spiral(real* __restrict__ points, int* __restrict__ labels, index_t rows, index_t samples, index_t first,
       index_t step, word64 seed, word32 stream) {
  const word64 last = samples > 1 ? samples - 1 : 1;
  const index_t threads = (index_t)gridDim.x * blockDim.x;
  for (index_t i = (index_t)blockIdx.x * blockDim.x + threadIdx.x; i < rows; i += threads) {
    const word64 row = first + i * step, c = row / (word64)samples, j = row - c * samples;
    const Words four = philox_block(row / 2, seed, stream, 0);
    const real g = row % 2 ? normal(four.w[2], four.w[3]) : normal(four.w[0], four.w[1]);
    // Half a radian; |g| < 7 keeps the product below 2^62.
    const word64 noise = (word64)(long long)(g * real(366986312910250153.3));
    const word64 angle = (c * CLASS_TURNS >> 2) + __umul64hi(fraction(j, last), RADIUS_TURNS) + noise;
    const real r = real(j) / real(last);
    real sine, cosine;
    sine_cosine(angle, sine, cosine);
    points[2 * i] = r * sine;
    points[2 * i + 1] = r * cosine;
    labels[i] = (int)c;
  }
}
