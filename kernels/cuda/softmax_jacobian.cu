// softmax_jacobian: J[n, a, b] = y[n, a] ([a = b] - y[n, b]), the matrices themselves
//   y (N, C), jacobian (N, C, C) real, row-major
//   threads   an element of the result each, going on by the size of the grid; neighbours
//             write neighbours
//   traffic   writes 4 C bytes an element of y in float32; y comes from the cache. To look at:
//             training needs the product with a vector, which softmax_backward makes without it
//   launch    any grid, block 256

extern "C" __global__ void __launch_bounds__(256)
softmax_jacobian(const real* __restrict__ y, real* __restrict__ jacobian, index_t n, index_t columns) {
  const index_t size = n * columns * columns, step = (index_t)gridDim.x * 256;
  for (index_t e = (index_t)blockIdx.x * 256 + threadIdx.x; e < size; e += step) {
    const index_t b = e % columns, na = e / columns;  // na = n columns + a
    const index_t a = na % columns, row = na - a;
    jacobian[e] = y[na] * (real(a == b) - y[row + b]);
  }
}
