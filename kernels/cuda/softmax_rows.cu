// Softmax of rows that fit into the registers of one warp or one block.
//
//   forward        y = exp(x - max) / sum(exp(x - max))
//   backward       dx = y (dy - sum(y dy)): the Jacobian-vector product, J never built
//   cross_entropy  loss = -log clip(p[t]), dx = (p - [c = t]) / N with p = softmax(x), in one pass
//
//   x, y, dy, dx (N, C) real, row-major; t (N,) int32, out of range gives NaN; loss (N,) real
//   threads   THREADS a row (-DTHREADS=32 for a warp, then 4 rows a block; else one row a block).
//             Thread k takes columns k, k + THREADS, ..., ITEMS of them (-DITEMS=8), or with
//             -DPACKED=1 as many stretches of 16 bytes, where C and the addresses allow it:
//             neighbours in a warp read neighbours in memory
//   registers a row is read once, kept, and written once; sums go over shuffles, between the
//             warps of a block over shared memory, in a fixed order
//   traffic   forward 8 bytes an element in float32, backward 12, cross_entropy 8 and 8 a row:
//             the lower bounds
//   launch    grid ceil(N / 4), block 128 for THREADS = 32; else grid N, block THREADS

#ifndef THREADS
#define THREADS 32  // so that the file can be compiled on its own
#define ITEMS 4
#define PACKED 0
#endif

constexpr int BLOCK = THREADS == WARP ? 128 : THREADS;
constexpr int ROWS = THREADS == WARP ? 4 : 1;  // rows a block
// Blocks at least on a multiprocessor, below: without the number ptxas aims at more and spills.
constexpr int WIDTH = PACKED ? 16 / sizeof(real) : 1;
constexpr int VALUES = ITEMS * WIDTH;  // of a row, in one thread

struct __align__(PACKED ? 16 : sizeof(real)) Pack { real v[WIDTH]; };

__device__ __forceinline__ index_t my_row() {
  return THREADS == WARP ? (index_t)blockIdx.x * ROWS + threadIdx.x / WARP : (index_t)blockIdx.x;
}

// Column of this thread's value `k`.
__device__ __forceinline__ int column(int k) {
  return (k / WIDTH * THREADS + (int)(threadIdx.x % THREADS)) * WIDTH + k % WIDTH;
}

// This thread's values of a row; `rest` stands where the row has no more.
__device__ __forceinline__ void load(const real* __restrict__ row, int columns, real rest, real (&v)[VALUES]) {
#pragma unroll
  for (int k = 0; k < VALUES; k += WIDTH) {
    const int c = column(k);
    Pack pack;
#pragma unroll
    for (int j = 0; j < WIDTH; j++) pack.v[j] = rest;
    if (c < columns) pack = *(const Pack*)(row + c);
#pragma unroll
    for (int j = 0; j < WIDTH; j++) v[k + j] = pack.v[j];
  }
}

__device__ __forceinline__ void store(real* __restrict__ row, int columns, const real (&v)[VALUES]) {
#pragma unroll
  for (int k = 0; k < VALUES; k += WIDTH) {
    const int c = column(k);
    Pack pack;
#pragma unroll
    for (int j = 0; j < WIDTH; j++) pack.v[j] = v[k + j];
    if (c < columns) *(Pack*)(row + c) = pack;
  }
}

// Every thread of the row gets the result over the row.
template <class Op>
__device__ __forceinline__ real reduce(real v, real* scratch) {
  if (THREADS == WARP) return warp_reduce<Op>(v);
  return block_reduce<Op, BLOCK>(v, scratch);
}

// Scores to probabilities. Values past the end are minus infinity and become 0.
__device__ __forceinline__ void softmax(real (&v)[VALUES], real* scratch) {
  real largest = v[0];
#pragma unroll
  for (int k = 1; k < VALUES; k++) largest = max_(largest, v[k]);
  largest = reduce<Max>(largest, scratch);
  real total = real(0);
#pragma unroll
  for (int k = 0; k < VALUES; k++) {
    v[k] = exp_(v[k] - largest);
    total += v[k];
  }
  const real scale = real(1) / reduce<Sum>(total, scratch);
#pragma unroll
  for (int k = 0; k < VALUES; k++) v[k] *= scale;
}

extern "C" __global__ void __launch_bounds__(BLOCK, BLOCK == 512 ? 1 : 4)
softmax_forward_rows(const real* __restrict__ x, real* __restrict__ y, index_t n, index_t columns) {
  __shared__ real scratch[WARP];
  const index_t row = my_row();
  if (row >= n) return;  // a whole warp; a block's only row is never past the end
  real v[VALUES];
  load(x + row * columns, (int)columns, minus_infinity(), v);
  softmax(v, scratch);
  store(y + row * columns, (int)columns, v);
}

extern "C" __global__ void __launch_bounds__(BLOCK, BLOCK == 512 ? 1 : 4)
softmax_backward_rows(const real* __restrict__ dy, const real* __restrict__ y,
                      real* __restrict__ dx, index_t n, index_t columns) {
  __shared__ real scratch[WARP];
  const index_t row = my_row();
  if (row >= n) return;
  real p[VALUES], d[VALUES];
  load(y + row * columns, (int)columns, real(0), p);
  load(dy + row * columns, (int)columns, real(0), d);
  real dot = real(0);
#pragma unroll
  for (int k = 0; k < VALUES; k++) dot += p[k] * d[k];
  dot = reduce<Sum>(dot, scratch);
#pragma unroll
  for (int k = 0; k < VALUES; k++) d[k] = p[k] * (d[k] - dot);
  store(dx + row * columns, (int)columns, d);
}

extern "C" __global__ void __launch_bounds__(BLOCK, BLOCK == 512 ? 1 : 4)
softmax_cross_entropy_rows(const real* __restrict__ x, const int* __restrict__ t,
                           real* __restrict__ loss, real* __restrict__ dx, index_t n,
                           index_t columns, real one_by_n, real low, real high) {
  __shared__ real scratch[WARP];
  const index_t row = my_row();
  if (row >= n) return;
  const int label = t[row];
  const bool outside = label < 0 || label >= columns;
  real v[VALUES];
  load(x + row * columns, (int)columns, minus_infinity(), v);
  softmax(v, scratch);
  if (outside && threadIdx.x % THREADS == 0) loss[row] = not_a_number();
#pragma unroll
  for (int k = 0; k < VALUES; k++) {
    const bool here = column(k) == label;
    if (here && !outside) loss[row] = -log_(clip(v[k], low, high));
    const real gradient = (v[k] - real(here)) * one_by_n;
    v[k] = outside ? not_a_number() : gradient;
  }
  store(dx + row * columns, (int)columns, v);
}
