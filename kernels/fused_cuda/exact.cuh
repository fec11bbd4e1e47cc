// ---- sums without rounding: the same for every order, grouping and number of processes ----
//
//   formula   x = (w2 2^102 + w1 2^51 + w0) 2^-70, rounded once, to the nearest multiple of 2^-70:
//                 w2 = rint(x 2^-32), w1 = rint((x 2^-32 - w2) 2^51), w0 = rint(what is left 2^51)
//             Whole numbers are added. What is not below 2^62, or is no number, is poison: w2
//             becomes 2^52 and stays it, and the sum is NaN
//   carry     the one form of a sum: w0 and w1 in [-2^50, 2^50); what is more goes to the next word
//   value     ((w2 2^51 + w1) 2^51 + w0) 2^-70, two roundings at most, of the words after `carry`
//   losses    may be larger, and are few: four windows of three words, whose units are 2^92 apart.
//             A loss goes to the first one in which it fits
//
//   Words in memory are always carried, but for those that other processes were added to: 2^10 of
//   them overflow nothing, and |w2| >= 2^51 is poison, whoever it came from.
//
//   threads   one a number, as the callers have them
//   cost      some 12 additions and products in float64 and 20 of integers for `add`, whatever real
//             is; 48 bytes of words. Products are by powers of two, and exact. All are intrinsics
//             that name their rounding: no compiler contracts them to something else
//   used by   finish.cuh, fused_end.cu, exact.cu
//   the same  kernels/fused_cpu/exact.py, and as array code nnfs_gpu/backend/exact.py

constexpr int WORD_BITS = 51, LOSS_WINDOWS = 4;
constexpr index_t HALF_WORD = (index_t)1 << (WORD_BITS - 1);
constexpr index_t POISON = (index_t)1 << 52, POISONED = (index_t)1 << 51;

constexpr double WORD_LIMIT = 0x1p62;  // of what fits
__device__ __forceinline__ bool is_poison(index_t high) { return high >= POISONED || high <= -POISONED; }

// The nearest whole number of v, |v| < 2^62, which is subtracted from v.
__device__ __forceinline__ index_t whole_of(double& v) {
  const index_t whole = __double2ll_rn(v);
  v = __dsub_rn(v, __ll2double_rn(whole));
  return whole;
}

__device__ __forceinline__ void carry(index_t& word, index_t& next) {
  const index_t up = (word + HALF_WORD) >> WORD_BITS;
  word -= (index_t)((word64)up << WORD_BITS);
  next += up;
}

// w0, w1, w2 += the words of x
__device__ __forceinline__ void add_exactly(index_t& w0, index_t& w1, index_t& w2, double x) {
  const bool fits = fabs(x) < WORD_LIMIT, poison = !fits || is_poison(w2);
  index_t low = w0, middle = w1, high = w2;
  double rest = __dmul_rn(fits ? x : 0., 0x1p-32);
  high += whole_of(rest);
  rest = __dmul_rn(rest, 0x1p51);
  middle += whole_of(rest);
  rest = __dmul_rn(rest, 0x1p51);
  low += whole_of(rest);
  carry(low, middle);
  carry(middle, high);
  w0 = low, w1 = middle, w2 = poison ? POISON : high;
}

__device__ __forceinline__ double value_of(index_t w0, index_t w1, index_t w2) {
  carry(w0, w1);
  carry(w1, w2);
  const double upper = __fma_rn(__ll2double_rn(w2), 0x1p51, __ll2double_rn(w1));
  const double value = __dmul_rn(__fma_rn(upper, 0x1p51, __ll2double_rn(w0)), 0x1p-70);
  return is_poison(w2) ? (double)not_a_number() : value;
}

// The same for a loss: words (4, 3), window after window.
__device__ __forceinline__ void add_loss(index_t* words, double x) {
  int window = 0;
  for (; window < LOSS_WINDOWS - 1 && !(fabs(x) < WORD_LIMIT); window++) x = __dmul_rn(x, 0x1p-92);
  index_t* w = words + 3 * window;
  add_exactly(w[0], w[1], w[2], x);
}

__device__ __forceinline__ double loss_of(const index_t* words) {
  constexpr double UNITS[] = {1., 0x1p92, 0x1p184, 0x1p276};
  double total = 0.;
#pragma unroll
  for (int window = LOSS_WINDOWS - 1; window >= 0; window--) {
    const index_t* w = words + 3 * window;
    total = __dadd_rn(total, __dmul_rn(value_of(w[0], w[1], w[2]), UNITS[window]));
  }
  return total;
}
