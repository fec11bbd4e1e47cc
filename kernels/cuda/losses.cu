// Losses and their gradients: one loss a sample, gradients of the mean over the N samples.
//
//   p, y, dp, dx, dy (N, C) real, row-major; loss (N,) real. t are class indices (N,) int32, then
//   one out of range gives NaN in its row and is never used as an address; or, in *_soft and in
//   the losses after cross-entropy, numbers (N, C) real
//   clip      p within [low, high], NaN stays NaN
//   forward   cross_entropy_forward: a thread a row, 4 bytes and a sector of p a row. Others: a
//             row belongs to 1 thread (C < 8), 8 threads (C < 64) or a warp; sums in the order of
//             row_order.cuh, 8 bytes an element in float32 and 4 a row
//             launch  grid ceil(N / 256) and ceil(N threads / 256), block 256; any grid is right
//   backward  16 bytes of each array at a time where the addresses allow it; with class indices 8
//             bytes an element in float32 (cross_entropy_backward 4 and a sector of p a row),
//             else 12: the lower bounds
//             launch  grid ceil(N C / 1024), block 256; any grid is right
//   registers up to 72. Three blocks a multiprocessor are asked for, no more: left to itself, the
//             compiler aims at more and moves a few registers to memory to get there

#include "row_order.cuh"

__device__ __forceinline__ bool outside(int label, index_t columns) { return label < 0 || label >= columns; }

// loss[row] = (sum of the terms that add(sum, element) adds, over the row) / divisor
template <class Add>
__device__ __forceinline__ void sum_rows(index_t n, index_t columns, real divisor, real* loss, Add add) {
  const int lanes = lanes_for(columns);
  each_row(n, lanes, [&](index_t row, int lane, bool here) {
    const index_t first = row * columns;
    const real total = row_sum(columns, lanes, lane, [&](real s, index_t c) { return add(s, first + c); });
    if (here && lane == 0) loss[row] = total / divisor;
  });
}

// ---- categorical cross-entropy ----

// loss = -log clip(p[t])
extern "C" __global__ void __launch_bounds__(256, 3)
cross_entropy_forward(const real* __restrict__ p, const int* __restrict__ t, real* __restrict__ loss,
                      index_t n, index_t columns, real low, real high) {
  each_row(n, 1, [=](index_t row, int, bool here) {
    const int label = t[row];
    const real probability = outside(label, columns) ? not_a_number() : p[row * columns + label];
    if (here) loss[row] = -log_(clip(probability, low, high));
  });
}

// loss = -sum_c t log clip(p)
extern "C" __global__ void __launch_bounds__(256, 3)
cross_entropy_forward_soft(const real* __restrict__ p, const real* __restrict__ t, real* __restrict__ loss,
                           index_t n, index_t columns, real low, real high) {
  sum_rows(n, columns, real(-1), loss, [=](real s, index_t e) { return fma_(t[e], log_(clip(p[e], low, high)), s); });
}

// dp = -1 / max(p, low) / N at the true class, else 0
extern "C" __global__ void __launch_bounds__(256, 3)
cross_entropy_backward(const real* __restrict__ p, const int* __restrict__ t, real* __restrict__ dp,
                       index_t n, index_t columns, real low) {
  each_in_rows(n * columns, columns, [=](const InRows& at, real& dp) {
    const int label = t[at.row];
    dp = outside(label, columns) ? not_a_number() : real(0);
    if (at.column == label) dp = real(-1) / max_(p[at.row * columns + label], low) / real(n);
  }, dp);
}

// dp = -t / max(p, low) / N
extern "C" __global__ void __launch_bounds__(256, 3)
cross_entropy_backward_soft(const real* __restrict__ p, const real* __restrict__ t, real* __restrict__ dp,
                            index_t n, index_t columns, real low) {
  each(n * columns, [=](real p, real t, real& dp) { dp = -t / max_(p, low) / real(n); }, p, t, dp);
}

// dx = (p - [c = t]) / N: the gradient through softmax, p = softmax(x)
extern "C" __global__ void __launch_bounds__(256, 3)
softmax_cross_entropy_backward(const real* __restrict__ p, const int* __restrict__ t, real* __restrict__ dx,
                               index_t n, index_t columns) {
  each_in_rows(n * columns, columns, [=](const InRows& at, real p, real& dx) {
    const int label = t[at.row];
    const real gradient = (p - real(at.column == label)) / real(n);
    dx = outside(label, columns) ? not_a_number() : gradient;
  }, p, dx);
}

// dx = (p - t) / N
extern "C" __global__ void __launch_bounds__(256, 3)
softmax_cross_entropy_backward_soft(const real* __restrict__ p, const real* __restrict__ t,
                                    real* __restrict__ dx, index_t n, index_t columns) {
  each(n * columns, [=](real p, real t, real& dx) { dx = (p - t) / real(n); }, p, t, dx);
}

// ---- binary cross-entropy ----

// loss = mean over C of -(t log p + (1 - t) log(1 - p)), p clipped
extern "C" __global__ void __launch_bounds__(256, 3)
binary_cross_entropy_forward(const real* __restrict__ p, const real* __restrict__ t, real* __restrict__ loss,
                             index_t n, index_t columns, real low, real high) {
  sum_rows(n, columns, -real(columns), loss, [=](real s, index_t e) {
    const real q = clip(p[e], low, high);
    return s + fma_(t[e], log_(q), (real(1) - t[e]) * log_(real(1) - q));
  });
}

// dp = -(t / p - (1 - t) / (1 - p)) / C / N, p clipped
extern "C" __global__ void __launch_bounds__(256, 3)
binary_cross_entropy_backward(const real* __restrict__ p, const real* __restrict__ t, real* __restrict__ dp,
                              index_t n, index_t columns, real low, real high) {
  each(n * columns, [=](real p, real t, real& dp) {
    const real q = clip(p, low, high);
    dp = -(t / q - (real(1) - t) / (real(1) - q)) / real(columns) / real(n);
  }, p, t, dp);
}

// ---- squared and absolute error ----

// loss = mean over C of (t - y)^2
extern "C" __global__ void __launch_bounds__(256, 3)
squared_error_forward(const real* __restrict__ y, const real* __restrict__ t, real* __restrict__ loss,
                      index_t n, index_t columns) {
  sum_rows(n, columns, real(columns), loss, [=](real s, index_t e) { return fma_(t[e] - y[e], t[e] - y[e], s); });
}

// dy = -2 (t - y) / C / N
extern "C" __global__ void __launch_bounds__(256, 3)
squared_error_backward(const real* __restrict__ y, const real* __restrict__ t, real* __restrict__ dy,
                       index_t n, index_t columns) {
  each(n * columns, [=](real y, real t, real& dy) { dy = real(-2) * (t - y) / real(columns) / real(n); }, y, t, dy);
}

// loss = mean over C of |t - y|
extern "C" __global__ void __launch_bounds__(256, 3)
absolute_error_forward(const real* __restrict__ y, const real* __restrict__ t, real* __restrict__ loss,
                       index_t n, index_t columns) {
  sum_rows(n, columns, real(columns), loss, [=](real s, index_t e) { return s + abs_(t[e] - y[e]); });
}

// dy = sign(y - t) / C / N, 0 where they are equal; NaN stays NaN
extern "C" __global__ void __launch_bounds__(256, 3)
absolute_error_backward(const real* __restrict__ y, const real* __restrict__ t, real* __restrict__ dy,
                        index_t n, index_t columns) {
  const real step = real(1) / real(columns) / real(n);
  each(n * columns, [=](real y, real t, real& dy) {
    const real difference = y - t;
    dy = difference > real(0) ? step : difference < real(0) ? -step : difference;
  }, y, t, dy);
}
