// The largest of each row, and column sums, in an order that depends on the shape alone.

// argmax: column of the first largest element of each row; NaN counts as largest, as in NumPy
//   x (N, C) real, row-major, 1 <= C < 2^31; column (N,) int32
//   threads   a row belongs to 1 thread (C < 8), 8 threads (C < 64) or a warp; lane k looks at
//             columns k, k + lanes, ..., then the lanes compare in pairs
//   traffic   4 bytes an element in float32 and 4 a row
//   launch    grid ceil(N threads / 256), block 256; any grid is right
struct Candidate {
  real value;
  int column;

  // NaN before numbers, larger before smaller, the first of equals.
  __device__ __forceinline__ bool after(const Candidate& other) const {
    const bool nan = value != value, other_nan = other.value != other.value;
    if (nan || other_nan) return nan && other_nan ? other.column < column : other_nan;
    return other.value > value || (other.value == value && other.column < column);
  }
};

extern "C" __global__ void __launch_bounds__(256)
argmax(const real* __restrict__ x, int* __restrict__ column, index_t n, index_t columns) {
  const int lanes = lanes_for(columns);
  each_row(n, lanes, [=](index_t row, int lane, bool here) {
    const int first = lane < columns ? lane : 0;
    Candidate best{x[row * columns + first], first};
#pragma unroll 4
    for (int c = first + lanes; c < columns; c += lanes) {
      const Candidate next{x[row * columns + c], c};
      if (best.after(next)) best = next;
    }
    for (int step = lanes / 2; step > 0; step /= 2) {
      const Candidate next{__shfl_xor_sync(ALL_LANES, best.value, step),
                           __shfl_xor_sync(ALL_LANES, best.column, step)};
      if (best.after(next)) best = next;
    }
    if (here && lane == 0) column[row] = best.column;
  });
}

// column_sum: sums[j] = column sums of chunk j, 256 rows; again and again, until one row is left
//   dy (N, C), sums (ceil(N / 256), C) real, row-major
//   threads   8 a column and chunk; up to 32 neighbouring columns a block, and as many chunks as
//             there are threads for: 3 columns are 10 chunks
//   traffic   4 bytes an element in float32
//   launch    grid (ceil(C / 32), ceil(N / 256)), block 256; any grid is right, with the same bits
extern "C" __global__ void __launch_bounds__(COLUMN_BLOCK)
column_sum(const real* __restrict__ dy, real* __restrict__ sums, index_t n, index_t columns) {
  __shared__ real scratch[COLUMN_BLOCK];
  column_sums(n, columns, sums, scratch, [=](index_t row, index_t column) { return dy[row * columns + column]; });
}
