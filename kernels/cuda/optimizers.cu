// A step of each optimizer over flat parameters, in one pass; the gradient of regularization.
//
//   sgd_step             w -= rate dw
//   momentum_step        m = momentum m - rate dw; w += m
//   adagrad_step         cache += dw^2; w -= rate dw / (sqrt(cache) + epsilon)
//   rmsprop_step         cache = rho cache + rest dw^2, rest = 1 - rho; w as in adagrad_step
//   adam_step            m = beta_1 m + rest_1 dw; cache = beta_2 cache + rest_2 dw^2;
//                        w -= rate factor_1 m / (sqrt(cache factor_2) + epsilon),
//                        rest = 1 - beta, factor = 1 / (1 - beta^step): from the host, in float64
//   adamw_step           m and cache as in adam_step; w -= rate (weight_decay w +
//                        factor_1 m / (sqrt(cache factor_2) + epsilon))
//   regularization_step  dw += l1 s + 2 l2 w, s = 1 where w >= 0, else -1; a penalty of 0 adds
//                        nothing, not even the NaN of 0 * infinity
//
//   A product that meets a sum is one fma, written down: the bits of kernels/cpu/optimizers.py.
//
//   w, dw, m, cache (size,) real; all but dw are written (regularization_step writes dw alone)
//   threads   16 bytes of each array at a time where the addresses allow it, as in elementwise.cu
//   traffic   in float32, bytes a parameter: sgd and regularization 12, adam and adamw 28, others 20: the
//             lower bounds
//   launch    grid ceil(size / 1024), block 256; any grid is right
//   source    Duchi, Hazan, Singer (2011); Tieleman, Hinton (2012); Kingma, Ba (2015);
//             Loshchilov, Hutter (2019)

extern "C" __global__ void __launch_bounds__(256)
sgd_step(real* __restrict__ w, const real* __restrict__ dw, index_t size, real rate) {
  each(size, [=](real& w, real dw) { w = fma_(-rate, dw, w); }, w, dw);
}

extern "C" __global__ void __launch_bounds__(256)
momentum_step(real* __restrict__ w, const real* __restrict__ dw, real* __restrict__ m, index_t size,
              real rate, real momentum) {
  each(size, [=](real& w, real dw, real& m) {
    m = fma_(momentum, m, -(rate * dw));
    w += m;
  }, w, dw, m);
}

extern "C" __global__ void __launch_bounds__(256)
adagrad_step(real* __restrict__ w, const real* __restrict__ dw, real* __restrict__ cache, index_t size,
             real rate, real epsilon) {
  each(size, [=](real& w, real dw, real& cache) {
    cache = fma_(dw, dw, cache);
    w -= rate * dw / (sqrt_(cache) + epsilon);
  }, w, dw, cache);
}

extern "C" __global__ void __launch_bounds__(256)
rmsprop_step(real* __restrict__ w, const real* __restrict__ dw, real* __restrict__ cache, index_t size,
             real rate, real epsilon, real rho, real rest) {
  each(size, [=](real& w, real dw, real& cache) {
    cache = fma_(rho, cache, rest * (dw * dw));
    w -= rate * dw / (sqrt_(cache) + epsilon);
  }, w, dw, cache);
}

extern "C" __global__ void __launch_bounds__(256)
adam_step(real* __restrict__ w, const real* __restrict__ dw, real* __restrict__ m, real* __restrict__ cache,
          index_t size, real rate, real epsilon, real beta_1, real rest_1, real beta_2, real rest_2,
          real factor_1, real factor_2) {
  const real corrected = rate * factor_1;
  each(size, [=](real& w, real dw, real& m, real& cache) {
    m = fma_(beta_1, m, rest_1 * dw);
    cache = fma_(beta_2, cache, rest_2 * (dw * dw));
    w -= corrected * m / (sqrt_(cache * factor_2) + epsilon);
  }, w, dw, m, cache);
}

extern "C" __global__ void __launch_bounds__(256)
adamw_step(real* __restrict__ w, const real* __restrict__ dw, real* __restrict__ m, real* __restrict__ cache,
           index_t size, real rate, real epsilon, real beta_1, real rest_1, real beta_2, real rest_2,
           real factor_1, real factor_2, real weight_decay) {
  each(size, [=](real& w, real dw, real& m, real& cache) {
    m = fma_(beta_1, m, rest_1 * dw);
    cache = fma_(beta_2, cache, rest_2 * (dw * dw));
    const real moved = factor_1 * m / (sqrt_(cache * factor_2) + epsilon);
    w = fma_(-rate, fma_(weight_decay, w, moved), w);
  }, w, dw, m, cache);
}

extern "C" __global__ void __launch_bounds__(256)
regularization_step(real* __restrict__ dw, const real* __restrict__ w, index_t size, real l1, real twice_l2) {
  each(size, [=](real& dw, real w) {
    const real flat = w >= real(0) ? l1 : -l1;
    dw += twice_l2 == real(0) ? flat : fma_(twice_l2, w, flat);
  }, dw, w);
}
