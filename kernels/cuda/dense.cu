// Around the matrix products of a dense layer: bias, ReLU, the bias gradient.

// add_bias: y += b, in place
//   y (N, O) real, row-major; b (1, O) real
//   threads   16 bytes of y at a time where the address allows it, single elements otherwise
//   traffic   8 bytes an element in float32
//   launch    grid ceil(N O / 1024), block 256; any grid is right
extern "C" __global__ void __launch_bounds__(256)
add_bias(real* __restrict__ y, const real* __restrict__ b, index_t n, index_t columns) {
  each_in_rows(n * columns, columns, [=](const InRows& at, real& y) { y += b[at.column]; }, y);
}

// bias_relu_forward: y = max(z + b, 0), z = x w; NaN stays NaN
//   z, y (N, O), b (1, O) real; threads, traffic and launch as above
extern "C" __global__ void __launch_bounds__(256)
bias_relu_forward(const real* __restrict__ z, const real* __restrict__ b, real* __restrict__ y, index_t n,
                  index_t columns) {
  each_in_rows(n * columns, columns, [=](const InRows& at, real z, real& y) {
    const real sum = z + b[at.column];
    y = sum <= real(0) ? real(0) : sum;
  }, z, y);
}

// relu_backward_column_sum: dz = dy where y > 0, else 0 (dy where y is NaN); sums[j] = column sums
// of chunk j of dz, 256 rows
//   dy, y, dz (N, O), sums (ceil(N / 256), O) real, row-major; y is bias_relu_forward's
//   threads   as column_sum of reductions.cu, which then makes one row of the chunks' sums
//   traffic   12 bytes an element in float32: the bias gradient costs nothing more
//   launch    grid (ceil(O / 32), ceil(N / 256)), block 256; any grid is right, with the same bits
extern "C" __global__ void __launch_bounds__(COLUMN_BLOCK)
relu_backward_column_sum(const real* __restrict__ dy, const real* __restrict__ y, real* __restrict__ dz,
                         real* __restrict__ sums, index_t n, index_t columns) {
  __shared__ real scratch[COLUMN_BLOCK];
  column_sums(n, columns, sums, scratch, [=](index_t row, index_t column) {
    const index_t e = row * columns + column;
    return dz[e] = y[e] <= real(0) ? real(0) : dy[e];
  });
}
