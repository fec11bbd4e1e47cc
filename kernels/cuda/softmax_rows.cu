// Softmax of rows that fit into the registers of one warp or one block.
//
//   forward        y = exp(x - max) / sum(exp(x - max))
//   backward       dx = y (dy - sum(y dy)): the Jacobian-vector product, J never built
//   cross_entropy  loss = -log clip(p[t]), dx = (p - [c = t]) / N with p = softmax(x), in one pass;
//                  _soft: loss = -sum(t log clip(p)), dx = (p - t) / N
//
//   x, y, dy, dx (N, C) real, row-major; t (N,) int32, out of range gives NaN, or (N, C) real;
//   loss (N,) real
//   threads   THREADS a row (-DTHREADS=32 for a warp, then 4 rows a block; else one row a block, and
//             a warp has a chunk of it). Lane k takes columns k, k + 32, ... of its chunk, ITEMS of
//             them (-DITEMS=8; all of a chunk's where a row has several): neighbours in a warp read
//             neighbours in memory
//   registers a row is read once, kept, and written once; sums go over shuffles, between the
//             warps of a block over shared memory, in the order of row_order.cuh
//   traffic   forward 8 bytes an element in float32, backward 12, cross_entropy 8 and 8 a row, _soft
//             12 and 4: the lower bounds
//   launch    grid ceil(N / 4), block 128 for THREADS = 32; else grid N, block THREADS

#ifndef THREADS
#define THREADS 32  // so that the file can be compiled on its own
#define ITEMS 4
#endif

#include "row_order.cuh"

constexpr int BLOCK = THREADS == WARP ? 128 : THREADS;
constexpr int ROWS = THREADS == WARP ? 4 : 1;  // rows a block
// Blocks at least on a multiprocessor: without the number ptxas aims at more and spills.
constexpr int BLOCKS = 512 / BLOCK;
constexpr int AT_ONCE = ITEMS < 8 ? ITEMS : 8;  // targets beside the row in registers: all of them spill
static_assert(ITEMS % AT_ONCE == 0, "all targets are read");
static_assert(THREADS == WARP || ITEMS == TURNS, "a warp of several has a whole chunk");

__device__ __forceinline__ index_t my_row() {
  return THREADS == WARP ? (index_t)blockIdx.x * ROWS + threadIdx.x / WARP : (index_t)blockIdx.x;
}

// Column of this thread's value `k`. A warp's place is a signed number: with an unsigned one, which may
// wrap around, every value would get an address of its own.
__device__ __forceinline__ int column(int k) {
  const int in_chunk = (int)(k * WARP + threadIdx.x % WARP);
  return THREADS == WARP ? in_chunk : (int)(threadIdx.x / WARP) * CHUNK + in_chunk;
}

// This thread's values of a row; `rest` stands where the row has no more.
__device__ __forceinline__ void load(const real* __restrict__ row, int columns, real rest, real (&v)[ITEMS]) {
#pragma unroll
  for (int k = 0; k < ITEMS; k++) v[k] = column(k) < columns ? row[column(k)] : rest;
}

__device__ __forceinline__ void store(real* __restrict__ row, int columns, const real (&v)[ITEMS]) {
#pragma unroll
  for (int k = 0; k < ITEMS; k++)
    if (column(k) < columns) row[column(k)] = v[k];
}

// Every thread of the row gets the result over the row.
template <class Op>
__device__ __forceinline__ real reduce(real v, real* scratch) {
  return join_warps<Op, THREADS / WARP>(v, scratch);
}

// Scores to probabilities. Values past the end are minus infinity and become 0.
__device__ __forceinline__ void softmax(real (&v)[ITEMS], real* scratch) {
  real largest = v[0];
#pragma unroll
  for (int k = 1; k < ITEMS; k++) largest = max_(largest, v[k]);
  largest = reduce<Max>(largest, scratch);
  real total = NOTHING;
#pragma unroll
  for (int k = 0; k < ITEMS; k++) {
    v[k] = exp_below_0_(v[k] - largest);
    total += v[k];
  }
  const real scale = real(1) / reduce<Sum>(total, scratch);
#pragma unroll
  for (int k = 0; k < ITEMS; k++) v[k] *= scale;
}

extern "C" __global__ void __launch_bounds__(BLOCK, BLOCKS)
softmax_forward_rows(const real* __restrict__ x, real* __restrict__ y, index_t n, index_t columns) {
  __shared__ real scratch[WARP];
  const index_t row = my_row();
  if (row >= n) return;  // a whole warp; a block's only row is never past the end
  real v[ITEMS];
  load(x + row * columns, (int)columns, minus_infinity(), v);
  softmax(v, scratch);
  store(y + row * columns, (int)columns, v);
}

extern "C" __global__ void __launch_bounds__(BLOCK, BLOCKS)
softmax_backward_rows(const real* __restrict__ dy, const real* __restrict__ y,
                      real* __restrict__ dx, index_t n, index_t columns) {
  __shared__ real scratch[WARP];
  const index_t row = my_row();
  if (row >= n) return;
  real p[ITEMS], d[ITEMS];
  load(y + row * columns, (int)columns, NOTHING, p);  // 0 (-0) is -0
  load(dy + row * columns, (int)columns, real(0), d);
  real dot = NOTHING;
#pragma unroll
  for (int k = 0; k < ITEMS; k++) dot = fma_(p[k], d[k], dot);
  dot = reduce<Sum>(dot, scratch);
#pragma unroll
  for (int k = 0; k < ITEMS; k++) d[k] = p[k] * (d[k] - dot);
  store(dx + row * columns, (int)columns, d);
}

extern "C" __global__ void __launch_bounds__(BLOCK, BLOCKS)
softmax_cross_entropy_rows(const real* __restrict__ x, const int* __restrict__ t,
                           real* __restrict__ loss, real* __restrict__ dx, index_t n,
                           index_t columns, real one_by_n, real low, real high) {
  __shared__ real scratch[WARP];
  const index_t row = my_row();
  if (row >= n) return;
  const int label = t[row];
  const bool outside = label < 0 || label >= columns;
  real v[ITEMS];
  load(x + row * columns, (int)columns, minus_infinity(), v);
  softmax(v, scratch);
  // One thread has the true class. It writes the gradient there again, and the loss.
  const int there = outside ? 0 : label, turn = (there - column(0)) / WARP;
  real p = not_a_number();
#pragma unroll
  for (int k = 0; k < ITEMS; k++) {
    p = k == turn ? v[k] : p;
    v[k] *= outside ? not_a_number() : one_by_n;
  }
  store(dx + row * columns, (int)columns, v);
  if (there % WARP == threadIdx.x % WARP && there / CHUNK == threadIdx.x % THREADS / WARP) {
    if (!outside) dx[row * columns + label] = (p - real(1)) * one_by_n;
    loss[row] = -log_(clip(outside ? not_a_number() : p, low, high));
  }
}

extern "C" __global__ void __launch_bounds__(BLOCK, BLOCKS)
softmax_cross_entropy_soft_rows(const real* __restrict__ x, const real* __restrict__ t,
                                real* __restrict__ loss, real* __restrict__ dx, index_t n,
                                index_t columns, real one_by_n, real low, real high) {
  __shared__ real scratch[WARP];
  const index_t row = my_row();
  if (row >= n) return;
  real v[ITEMS];
  load(x + row * columns, (int)columns, minus_infinity(), v);
  softmax(v, scratch);
  t += row * columns + column(0);
  dx += row * columns + column(0);
  const int left = (int)columns - column(0);
  real total = NOTHING;
#pragma unroll
  for (int first = 0; first < ITEMS; first += AT_ONCE) {
    real target[AT_ONCE];
#pragma unroll
    for (int k = 0; k < AT_ONCE; k++)
      target[k] = (first + k) * WARP < left ? t[(first + k) * WARP] : real(0);
#pragma unroll
    for (int k = 0; k < AT_ONCE; k++) {
      if ((first + k) * WARP >= left) continue;
      const real p = v[first + k];
      total = fma_(target[k], log_(clip(p, low, high)), total);
      dx[(first + k) * WARP] = (p - target[k]) * one_by_n;
    }
  }
  total = reduce<Sum>(total, scratch);
  if (threadIdx.x % THREADS == 0) loss[row] = -total;
}
