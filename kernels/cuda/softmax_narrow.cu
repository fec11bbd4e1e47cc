// Softmax of short rows: a thread a row, the block's rows staged through shared memory.
//
//   forward        y = exp(x - max) / sum(exp(x - max))
//   backward       dx = y (dy - sum(y dy)): the Jacobian-vector product, J never built
//   cross_entropy  loss = -log clip(p[t]), dx = (p - [c = t]) / N with p = softmax(x), in one pass;
//                  _soft: loss = -sum(t log clip(p)), dx = (p - t) / N
//
//   x, y, dy, dx (N, C) real, row-major; t (N,) int32, out of range gives NaN, or (N, C) real;
//   loss (N,) real
//   C         compile-time (-DC=3), 1 to 32, in float64 to 8: a row is unrolled into registers
//   threads   a row each; rows of a block are one flat stretch of memory, so the copies to and
//             from shared memory are coalesced whatever C is, with 16 bytes a thread where the
//             addresses allow it
//   shared    ROWS rows with an odd stride, so that the threads of a warp hit different banks
//   traffic   forward 8 bytes an element in float32, backward 12, cross_entropy 8 and 8 a row, _soft
//             12 and 4: the lower bounds; sums in the order of row_order.cuh
//   launch    grid ceil(N / ROWS), block ROWS

#ifndef C
#define C 3  // so that the file can be compiled on its own
#endif

#include "row_order.cuh"

constexpr int ROWS = C <= 8 ? 256 : 128;  // 2 blocks at least: without the number ptxas aims at more and spills
constexpr int STRIDE = C | 1;
constexpr int VECTOR = 16 / sizeof(real);  // reals in 16 bytes

struct alignas(16) Pack { real v[VECTOR]; };

// Where element k of the block's flat stretch lives in shared memory.
__device__ __forceinline__ int place(int k) { return C % 2 ? k : k / C * STRIDE + k % C; }

__device__ __forceinline__ bool aligned(const real* p) { return ((word64)p & 15) == 0; }

__device__ void load_rows(const real* __restrict__ from, int count, real* tile) {
  int k = threadIdx.x * VECTOR;
  if (aligned(from)) {
    for (; k + VECTOR <= count; k += ROWS * VECTOR) {
      const Pack pack = *(const Pack*)(from + k);
#pragma unroll
      for (int j = 0; j < VECTOR; j++) tile[place(k + j)] = pack.v[j];
    }
    // Fewer than VECTOR elements are left, for one thread.
    for (; k < count; k++) tile[place(k)] = from[k];
  } else {
    for (k = threadIdx.x; k < count; k += ROWS) tile[place(k)] = from[k];
  }
}

__device__ void store_rows(real* __restrict__ to, int count, const real* tile) {
  int k = threadIdx.x * VECTOR;
  if (aligned(to)) {
    for (; k + VECTOR <= count; k += ROWS * VECTOR) {
      Pack pack;
#pragma unroll
      for (int j = 0; j < VECTOR; j++) pack.v[j] = tile[place(k + j)];
      *(Pack*)(to + k) = pack;
    }
    for (; k < count; k++) to[k] = tile[place(k)];
  } else {
    for (k = threadIdx.x; k < count; k += ROWS) to[k] = tile[place(k)];
  }
}

// Turns scores into probabilities, in registers.
__device__ __forceinline__ void softmax_row(real (&v)[C]) {
  real largest = v[0];
#pragma unroll
  for (int c = 1; c < C; c++) largest = max_(largest, v[c]);
  real total[C];
#pragma unroll
  for (int c = 0; c < C; c++) total[c] = v[c] = exp_below_0_(v[c] - largest);
  fold<Sum>(total);
  const real scale = real(1) / total[0];  // one division a row
#pragma unroll
  for (int c = 0; c < C; c++) v[c] *= scale;
}

extern "C" __global__ void __launch_bounds__(ROWS, 2)
softmax_forward_narrow(const real* __restrict__ x, real* __restrict__ y, index_t n) {
  __shared__ __align__(16) real tile[ROWS * STRIDE];
  const index_t first = (index_t)blockIdx.x * ROWS;
  const int rows = (int)(n - first < ROWS ? n - first : ROWS);
  load_rows(x + first * C, rows * C, tile);
  __syncthreads();
  if (threadIdx.x < rows) {
    real v[C];
#pragma unroll
    for (int c = 0; c < C; c++) v[c] = tile[threadIdx.x * STRIDE + c];
    softmax_row(v);
#pragma unroll
    for (int c = 0; c < C; c++) tile[threadIdx.x * STRIDE + c] = v[c];
  }
  __syncthreads();
  store_rows(y + first * C, rows * C, tile);
}

extern "C" __global__ void __launch_bounds__(ROWS, 2)
softmax_backward_narrow(const real* __restrict__ dy, const real* __restrict__ y,
                        real* __restrict__ dx, index_t n) {
  __shared__ __align__(16) real tile_y[ROWS * STRIDE];
  __shared__ __align__(16) real tile_dy[ROWS * STRIDE];
  const index_t first = (index_t)blockIdx.x * ROWS;
  const int rows = (int)(n - first < ROWS ? n - first : ROWS);
  load_rows(y + first * C, rows * C, tile_y);
  load_rows(dy + first * C, rows * C, tile_dy);
  __syncthreads();
  if (threadIdx.x < rows) {
    const int row = threadIdx.x * STRIDE;
    real products[C];
#pragma unroll
    for (int c = 0; c < C; c++) products[c] = tile_y[row + c] * tile_dy[row + c];
    fold<Sum>(products);
    const real dot = products[0];
#pragma unroll
    for (int c = 0; c < C; c++) tile_dy[row + c] = tile_y[row + c] * (tile_dy[row + c] - dot);
  }
  __syncthreads();
  store_rows(dx + first * C, rows * C, tile_dy);
}

extern "C" __global__ void __launch_bounds__(ROWS, 2)
softmax_cross_entropy_narrow(const real* __restrict__ x, const int* __restrict__ t,
                             real* __restrict__ loss, real* __restrict__ dx, index_t n, real one_by_n,
                             real low, real high) {
  __shared__ __align__(16) real tile[ROWS * STRIDE];
  const index_t first = (index_t)blockIdx.x * ROWS;
  const int rows = (int)(n - first < ROWS ? n - first : ROWS);
  load_rows(x + first * C, rows * C, tile);
  __syncthreads();
  if (threadIdx.x < rows) {
    const int row = threadIdx.x * STRIDE, label = t[first + threadIdx.x];
    const bool outside = label < 0 || label >= C;
    real v[C], p = not_a_number();
#pragma unroll
    for (int c = 0; c < C; c++) v[c] = tile[row + c];
    softmax_row(v);
#pragma unroll
    for (int c = 0; c < C; c++) {
      p = c == label ? v[c] : p;
      const real gradient = (v[c] - real(c == label)) * one_by_n;
      tile[row + c] = outside ? not_a_number() : gradient;
    }
    loss[first + threadIdx.x] = -log_(clip(p, low, high));
  }
  __syncthreads();
  store_rows(dx + first * C, rows * C, tile);
}

extern "C" __global__ void __launch_bounds__(ROWS, 2)
softmax_cross_entropy_soft_narrow(const real* __restrict__ x, const real* __restrict__ t,
                                  real* __restrict__ loss, real* __restrict__ dx, index_t n,
                                  real one_by_n, real low, real high) {
  __shared__ __align__(16) real tile[ROWS * STRIDE];
  __shared__ __align__(16) real tile_t[ROWS * STRIDE];
  const index_t first = (index_t)blockIdx.x * ROWS;
  const int rows = (int)(n - first < ROWS ? n - first : ROWS);
  load_rows(x + first * C, rows * C, tile);
  load_rows(t + first * C, rows * C, tile_t);
  __syncthreads();
  if (threadIdx.x < rows) {
    const int row = threadIdx.x * STRIDE;
    real v[C];
#pragma unroll
    for (int c = 0; c < C; c++) v[c] = tile[row + c];
    softmax_row(v);
    real terms[C];
#pragma unroll
    for (int c = 0; c < C; c++) {
      const real target = tile_t[row + c];
      terms[c] = target * log_(clip(v[c], low, high));
      tile[row + c] = (v[c] - target) * one_by_n;
    }
    fold<Sum>(terms);
    loss[first + threadIdx.x] = -terms[0];
  }
  __syncthreads();
  store_rows(dx + first * C, rows * C, tile);
}
