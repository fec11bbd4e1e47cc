// Flat arrays, one element at a time: ReLU, leaky ReLU, sigmoid, tanh, product, comparisons.
//
//   relu_forward      y = max(x, 0); the test is x <= 0, so that NaN stays NaN
//   relu_backward     dx = dy where x > 0, else 0: the derivative at the kink is 0
//   leaky_relu_forward, leaky_relu_backward   the same with slope x and slope dy in place of 0
//   sigmoid_forward   y = 1 / (1 + exp(-x)), from exp(-|x|), which cannot overflow
//   sigmoid_backward  dx = dy (1 - y) y
//   tanh_forward      y = tanh(x)
//   tanh_backward     dx = dy (1 - y) (1 + y)
//   multiply          c = a b
//   threshold         y = 1 where x > limit, else 0
//   equal             c = a == b
//   near              c = |a - b| < tolerance
//
//   x, y, dy, dx, a, b, c (size,) real; threshold's y int32, the c of equal and near bools
//   threads   16 bytes of each array at a time, single elements before and after; neighbours
//             take neighbours. Where the arrays begin at different places within 16 bytes,
//             single elements throughout
//   traffic   8 bytes an element in float32, 12 where two arrays are read: the lower bounds
//   launch    grid ceil(size / 1024), block 256; a smaller grid goes on by its own size, so that
//             any grid is right

extern "C" __global__ void __launch_bounds__(256)
relu_forward(const real* __restrict__ x, real* __restrict__ y, index_t size) {
  each(size, [](real x, real& y) { y = x <= real(0) ? real(0) : x; }, x, y);
}

extern "C" __global__ void __launch_bounds__(256)
relu_backward(const real* __restrict__ dy, const real* __restrict__ x, real* __restrict__ dx, index_t size) {
  each(size, [](real dy, real x, real& dx) { dx = x <= real(0) ? real(0) : dy; }, dy, x, dx);
}

extern "C" __global__ void __launch_bounds__(256)
leaky_relu_forward(const real* __restrict__ x, real* __restrict__ y, index_t size, real slope) {
  each(size, [=](real x, real& y) { y = x <= real(0) ? slope * x : x; }, x, y);
}

extern "C" __global__ void __launch_bounds__(256)
leaky_relu_backward(const real* __restrict__ dy, const real* __restrict__ x, real* __restrict__ dx, index_t size,
                    real slope) {
  each(size, [=](real dy, real x, real& dx) { dx = x <= real(0) ? slope * dy : dy; }, dy, x, dx);
}

__device__ __forceinline__ real sigmoid(real x) {
  const real e = exp_below_0_(-abs_(x));
  return (x >= real(0) ? real(1) : e) / (real(1) + e);
}

extern "C" __global__ void __launch_bounds__(256)
sigmoid_forward(const real* __restrict__ x, real* __restrict__ y, index_t size) {
  each(size, [](real x, real& y) { y = sigmoid(x); }, x, y);
}

extern "C" __global__ void __launch_bounds__(256)
sigmoid_backward(const real* __restrict__ dy, const real* __restrict__ y, real* __restrict__ dx, index_t size) {
  each(size, [](real dy, real y, real& dx) { dx = dy * (real(1) - y) * y; }, dy, y, dx);
}

extern "C" __global__ void __launch_bounds__(256)
tanh_forward(const real* __restrict__ x, real* __restrict__ y, index_t size) {
  each(size, [](real x, real& y) { y = tanh_(x); }, x, y);
}

extern "C" __global__ void __launch_bounds__(256)
tanh_backward(const real* __restrict__ dy, const real* __restrict__ y, real* __restrict__ dx, index_t size) {
  each(size, [](real dy, real y, real& dx) { dx = dy * ((real(1) - y) * (real(1) + y)); }, dy, y, dx);
}

extern "C" __global__ void __launch_bounds__(256)
multiply(const real* __restrict__ a, const real* __restrict__ b, real* __restrict__ c, index_t size) {
  each(size, [](real a, real b, real& c) { c = a * b; }, a, b, c);
}

extern "C" __global__ void __launch_bounds__(256)
threshold(const real* __restrict__ x, int* __restrict__ y, index_t size, real limit) {
  each(size, [=](real x, int& y) { y = x > limit; }, x, y);
}

extern "C" __global__ void __launch_bounds__(256)
equal(const real* __restrict__ a, const real* __restrict__ b, unsigned char* __restrict__ c, index_t size) {
  each(size, [](real a, real b, unsigned char& c) { c = a == b; }, a, b, c);
}

extern "C" __global__ void __launch_bounds__(256)
near(const real* __restrict__ a, const real* __restrict__ b, unsigned char* __restrict__ c, index_t size,
      real tolerance) {
  each(size, [=](real a, real b, unsigned char& c) { c = abs_(a - b) < tolerance; }, a, b, c);
}
