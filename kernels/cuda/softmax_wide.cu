// Softmax of rows too long for one block's registers: blocks share a row.
//
//   forward        y = exp(x - max) / sum(exp(x - max))
//   backward       dx = y (dy - sum(y dy)): the Jacobian-vector product, J never built
//   cross_entropy  loss = -log clip(p[t]), dx = (p - [c = t]) / N with p = softmax(x);
//                  _soft: loss = -sum(t log clip(p)), dx = (p - t) / N
//
//   x, y, dy, dx (N, C) real, row-major; t (N,) int32, out of range gives NaN, or (N, C) real;
//   loss (N,) real
//   threads   a warp takes a chunk of a row (row_order.cuh), and goes on by the warps of the row's
//             PARTS blocks. Between two launches lies the only barrier that blocks have:
//             softmax_largest_wide finds the chunks' maxima, softmax_sums_wide their sums of
//             exp(x - max), softmax_dots_wide those of y dy, each (N, ceil(C / CHUNK)); the kernel
//             of the operation joins these and writes. Losses of _soft are sums of chunks, too,
//             which softmax_losses_wide joins, a warp a row
//   traffic   forward 16 bytes an element in float32, backward 20, _soft 20: a row is read again,
//             from the cache where it fits
//   launch    grid (N, PARTS), block 256; PARTS as the host likes, up to a block for 8 chunks

#include "row_order.cuh"

constexpr int BLOCK = 256;
constexpr int WARPS = BLOCK / WARP;
// Three blocks a multiprocessor are asked for, no more: left to itself, the compiler aims at more and
// moves a few registers to memory to get there.

__device__ __forceinline__ index_t chunks_of(index_t columns) { return (columns + CHUNK - 1) / CHUNK; }

// f(chunk, first, last) of every chunk that belongs to this warp: elements first..last-1 of the
// arrays, of which this lane takes every 32nd.
template <class F>
__device__ __forceinline__ void each_chunk(index_t columns, F f) {
  const index_t row = blockIdx.x, chunks = chunks_of(columns), lane = threadIdx.x % WARP;
  for (index_t j = (index_t)blockIdx.y * WARPS + threadIdx.x / WARP; j < chunks; j += gridDim.y * WARPS) {
    const index_t end = (j + 1) * CHUNK < columns ? (j + 1) * CHUNK : columns;
    f(row * chunks + j, row * columns + j * CHUNK + lane, row * columns + end);
  }
}

// The warp's results for a chunk, from all lanes, and where it goes.
template <class Op>
__device__ __forceinline__ void put(real v, real* result) {
  v = warp_reduce<Op>(v);
  if (threadIdx.x % WARP == 0) *result = v;
}

extern "C" __global__ void __launch_bounds__(BLOCK, 3)
softmax_largest_wide(const real* __restrict__ x, real* __restrict__ largest, index_t columns) {
  each_chunk(columns, [&](index_t chunk, index_t first, index_t last) {
    real m = minus_infinity();
#pragma unroll 4
    for (index_t e = first; e < last; e += WARP) m = max_(m, x[e]);
    put<Max>(m, largest + chunk);
  });
}

// The maximum of this block's row.
__device__ __forceinline__ real row_maximum(const real* __restrict__ largest, index_t columns) {
  const index_t chunks = chunks_of(columns);
  real m = minus_infinity();
  for (index_t j = threadIdx.x % WARP; j < chunks; j += WARP) m = max_(m, largest[blockIdx.x * chunks + j]);
  return warp_reduce<Max>(m);
}

// The sum of this block's row.
__device__ __forceinline__ real row_total(const real* __restrict__ sums, index_t columns) {
  const index_t chunks = chunks_of(columns);
  return sum_of_chunks(sums + blockIdx.x * chunks, chunks);
}

extern "C" __global__ void __launch_bounds__(BLOCK, 3)
softmax_sums_wide(const real* __restrict__ x, const real* __restrict__ largest, real* __restrict__ sums,
                  index_t columns) {
  const real m = row_maximum(largest, columns);
  each_chunk(columns, [&](index_t chunk, index_t first, index_t last) {
    real s = NOTHING;
#pragma unroll 4
    for (index_t e = first; e < last; e += WARP) s += exp_below_0_(x[e] - m);
    put<Sum>(s, sums + chunk);
  });
}

extern "C" __global__ void __launch_bounds__(BLOCK, 3)
softmax_forward_wide(const real* __restrict__ x, const real* __restrict__ largest,
                     const real* __restrict__ sums, real* __restrict__ y, index_t columns) {
  const real m = row_maximum(largest, columns), scale = real(1) / row_total(sums, columns);
  each_chunk(columns, [&](index_t, index_t first, index_t last) {
#pragma unroll 4
    for (index_t e = first; e < last; e += WARP) y[e] = exp_below_0_(x[e] - m) * scale;
  });
}

extern "C" __global__ void __launch_bounds__(BLOCK, 3)
softmax_cross_entropy_wide(const real* __restrict__ x, const real* __restrict__ largest,
                           const real* __restrict__ sums, const int* __restrict__ t,
                           real* __restrict__ loss, real* __restrict__ dx, index_t columns,
                           real one_by_n, real low, real high) {
  const index_t row = blockIdx.x;
  const int label = t[row];
  const bool outside = label < 0 || label >= columns;
  const real m = row_maximum(largest, columns), scale = real(1) / row_total(sums, columns);
  if (outside && blockIdx.y == 0 && threadIdx.x == 0) loss[row] = not_a_number();
  each_chunk(columns, [&](index_t, index_t first, index_t last) {
#pragma unroll 4
    for (index_t e = first; e < last; e += WARP) {
      const real p = exp_below_0_(x[e] - m) * scale;
      const bool here = e - row * columns == label;
      if (here) loss[row] = -log_(clip(p, low, high));
      dx[e] = outside ? not_a_number() : (p - real(here)) * one_by_n;
    }
  });
}

extern "C" __global__ void __launch_bounds__(BLOCK, 3)
softmax_cross_entropy_soft_wide(const real* __restrict__ x, const real* __restrict__ largest,
                                const real* __restrict__ sums, const real* __restrict__ t,
                                real* __restrict__ losses, real* __restrict__ dx, index_t columns,
                                real one_by_n, real low, real high) {
  const real m = row_maximum(largest, columns), scale = real(1) / row_total(sums, columns);
  each_chunk(columns, [&](index_t chunk, index_t first, index_t last) {
    real s = NOTHING;
#pragma unroll 2
    for (index_t e = first; e < last; e += WARP) {
      const real p = exp_below_0_(x[e] - m) * scale;
      s = fma_(t[e], log_(clip(p, low, high)), s);
      dx[e] = (p - t[e]) * one_by_n;
    }
    put<Sum>(s, losses + chunk);
  });
}

// loss = -(sum of the chunks' losses). Any grid.
extern "C" __global__ void __launch_bounds__(BLOCK, 3)
softmax_losses_wide(const real* __restrict__ losses, real* __restrict__ loss, index_t n, index_t chunks) {
  each_row(n, WARP, [=](index_t row, int lane, bool here) {
    const real total = sum_of_chunks(losses + row * chunks, chunks);
    if (here && lane == 0) loss[row] = -total;
  });
}

extern "C" __global__ void __launch_bounds__(BLOCK, 3)
softmax_dots_wide(const real* __restrict__ dy, const real* __restrict__ y, real* __restrict__ dots,
                  index_t columns) {
  each_chunk(columns, [&](index_t chunk, index_t first, index_t last) {
    real s = NOTHING;
#pragma unroll 4
    for (index_t e = first; e < last; e += WARP) s = fma_(y[e], dy[e], s);
    put<Sum>(s, dots + chunk);
  });
}

extern "C" __global__ void __launch_bounds__(BLOCK, 3)
softmax_backward_wide(const real* __restrict__ dy, const real* __restrict__ y,
                      const real* __restrict__ dots, real* __restrict__ dx, index_t columns) {
  const real dot = row_total(dots, columns);
  each_chunk(columns, [&](index_t, index_t first, index_t last) {
#pragma unroll 4
    for (index_t e = first; e < last; e += WARP) dx[e] = y[e] * (dy[e] - dot);
  });
}
