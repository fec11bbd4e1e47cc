// Softmax of rows too long for one block's registers, or so few rows that blocks must share one.
//
//   forward        y = exp(x - max) / sum(exp(x - max))
//   backward       dx = y (dy - sum(y dy)): the Jacobian-vector product, J never built
//   cross_entropy  loss = -log clip(p[t]), dx = (p - [c = t]) / N with p = softmax(x)
//
//   x, y, dy, dx (N, C) real, row-major; t (N,) int32, out of range gives NaN; loss (N,) real
//   threads   a row is cut into PARTS chunks, a block each. A first kernel reduces every chunk to
//             a partial result (N, PARTS); a second one joins the partials of its row, in order,
//             and writes its chunk. Between the two launches lies the only barrier that blocks have
//   partials  forward: the chunk's maximum m and s = sum(exp(x - m)) (Milakov and Gimelshein,
//             "Online normalizer calculation for softmax", 2018); backward: the chunk's y dy
//   traffic   forward 12 bytes an element in float32, backward 20: the row is read twice, the
//             second time from the cache where it fits
//   launch    grid (N, PARTS), block 256, both kernels; PARTS chosen by the host so that a chunk
//             has at least 1,024 elements

constexpr int BLOCK = 256;

struct Chunk { index_t first, last; };

__device__ __forceinline__ Chunk my_chunk(index_t columns) {
  const index_t parts = gridDim.y, part = blockIdx.y;
  return {columns * part / parts, columns * (part + 1) / parts};
}

extern "C" __global__ void __launch_bounds__(BLOCK)
softmax_partial(const real* __restrict__ x, real* __restrict__ largest, real* __restrict__ total,
                index_t columns) {
  __shared__ real scratch[WARP];
  const index_t row = blockIdx.x;
  const Chunk chunk = my_chunk(columns);
  real m = minus_infinity();
  for (index_t c = chunk.first + threadIdx.x; c < chunk.last; c += BLOCK) m = max_(m, x[row * columns + c]);
  m = block_reduce<Max, BLOCK>(m, scratch);
  real s = real(0);
  for (index_t c = chunk.first + threadIdx.x; c < chunk.last; c += BLOCK) s += exp_(x[row * columns + c] - m);
  s = block_reduce<Sum, BLOCK>(s, scratch);
  if (threadIdx.x == 0) {
    largest[row * gridDim.y + blockIdx.y] = m;
    total[row * gridDim.y + blockIdx.y] = s;
  }
}

// (maximum, 1 / sum) of a whole row from its partial results. A chunk of -inf alone has m = -inf
// and s = NaN; it must count as empty unless the whole row is like that.
__device__ __forceinline__ void join_row(const real* __restrict__ largest, const real* __restrict__ total,
                                         real& m, real& scale) {
  const index_t first = (index_t)blockIdx.x * gridDim.y;
  m = largest[first];
  for (unsigned p = 1; p < gridDim.y; p++) m = max_(m, largest[first + p]);
  real s = real(0);
  for (unsigned p = 0; p < gridDim.y; p++) {
    const real part = largest[first + p];
    if (part != minus_infinity() || m == minus_infinity()) s += total[first + p] * exp_(part - m);
  }
  scale = real(1) / s;
}

extern "C" __global__ void __launch_bounds__(BLOCK)
softmax_forward_wide(const real* __restrict__ x, const real* __restrict__ largest,
                     const real* __restrict__ total, real* __restrict__ y, index_t columns) {
  const index_t row = blockIdx.x;
  const Chunk chunk = my_chunk(columns);
  real m, scale;
  join_row(largest, total, m, scale);
  for (index_t c = chunk.first + threadIdx.x; c < chunk.last; c += BLOCK)
    y[row * columns + c] = exp_(x[row * columns + c] - m) * scale;
}

extern "C" __global__ void __launch_bounds__(BLOCK)
softmax_cross_entropy_wide(const real* __restrict__ x, const real* __restrict__ largest,
                           const real* __restrict__ total, const int* __restrict__ t,
                           real* __restrict__ loss, real* __restrict__ dx, index_t columns,
                           real one_by_n, real low, real high) {
  const index_t row = blockIdx.x;
  const Chunk chunk = my_chunk(columns);
  const int label = t[row];
  const bool outside = label < 0 || label >= columns;
  real m, scale;
  join_row(largest, total, m, scale);
  if (outside && blockIdx.y == 0 && threadIdx.x == 0) loss[row] = not_a_number();
  for (index_t c = chunk.first + threadIdx.x; c < chunk.last; c += BLOCK) {
    const real p = exp_(x[row * columns + c] - m) * scale;
    if (c == label) loss[row] = -log_(clip(p, low, high));
    dx[row * columns + c] = outside ? not_a_number() : (p - real(c == label)) * one_by_n;
  }
}

extern "C" __global__ void __launch_bounds__(BLOCK)
softmax_dot_partial(const real* __restrict__ dy, const real* __restrict__ y, real* __restrict__ dot,
                    index_t columns) {
  __shared__ real scratch[WARP];
  const index_t row = blockIdx.x;
  const Chunk chunk = my_chunk(columns);
  real s = real(0);
  for (index_t c = chunk.first + threadIdx.x; c < chunk.last; c += BLOCK)
    s += y[row * columns + c] * dy[row * columns + c];
  s = block_reduce<Sum, BLOCK>(s, scratch);
  if (threadIdx.x == 0) dot[row * gridDim.y + blockIdx.y] = s;
}

extern "C" __global__ void __launch_bounds__(BLOCK)
softmax_backward_wide(const real* __restrict__ dy, const real* __restrict__ y,
                      const real* __restrict__ dot, real* __restrict__ dx, index_t columns) {
  const index_t row = blockIdx.x;
  const Chunk chunk = my_chunk(columns);
  real s = real(0);
  for (unsigned p = 0; p < gridDim.y; p++) s += dot[row * gridDim.y + p];
  for (index_t c = chunk.first + threadIdx.x; c < chunk.last; c += BLOCK)
    dx[row * columns + c] = y[row * columns + c] * (dy[row * columns + c] - s);
}
