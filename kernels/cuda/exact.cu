// Sums without rounding, number by number; what words are stands in fused_cuda/exact.cuh.
//
//   exact_add    w0, w1, w2 += the words of x
//   exact_value  value = that of the words
//
//   x, value, w0, w1, w2 (size,): x real, words int64, value float64 in every build
//   threads   one an element at a time; neighbours take neighbours
//   traffic   52 bytes an element in float32: 48 of words, which are read and written; 32 for value
//   launch    grid ceil(size / 1024), block 256; any grid is right, with the same bits

#include "exact.cuh"

extern "C" __global__ void __launch_bounds__(256)
exact_add(index_t* __restrict__ w0, index_t* __restrict__ w1, index_t* __restrict__ w2, const real* __restrict__ x,
          index_t size) {
  each(size, [](index_t& w0, index_t& w1, index_t& w2, real x) { add_exactly(w0, w1, w2, (double)x); }, w0, w1, w2, x);
}

extern "C" __global__ void __launch_bounds__(256)
exact_value(const index_t* __restrict__ w0, const index_t* __restrict__ w1, const index_t* __restrict__ w2,
            double* __restrict__ value, index_t size) {
  each(size, [](index_t w0, index_t w1, index_t w2, double& value) { value = value_of(w0, w1, w2); }, w0, w1, w2, value);
}
