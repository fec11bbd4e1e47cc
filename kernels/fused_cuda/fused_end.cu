// fused_end: the end of a step whose rows came in several launches of fused_step with PART.
//
//   gradients = sums + what rounding lost of them, + l1 s + 2 l2 w; then the optimizer and the
//   record, as fused_step has them at the end of a step over `all` rows. Built with the same plan.
//
//   sums       (2, P + 2) real: gradients, losses and right predictions; what rounding lost of them
//   others     as for fused_step; `fresh`: the step begins a pass
//   threads    a parameter each, by turns
//   traffic    in float32 with Adam 36 bytes a parameter, each once
//   launch     grid 1, block THREADS; the same launch gives the same bits

#include "plan.cuh"
#include "finish.cuh"

extern "C" __global__ void __launch_bounds__(THREADS)
fused_end(real* parameters, real* gradients, real* momentums, real* caches, unsigned* counters, unsigned* dropouts,
          const real* __restrict__ schedule, const real* __restrict__ settings, real* records, real* totals,
          real* sums, index_t all, index_t fresh) {
  __shared__ real scratch[WARPS];
  if (beyond_schedule(counters, 1)) return;
  Arguments a = {};
  a.parameters = parameters, a.gradients = gradients, a.momentums = momentums, a.caches = caches;
  a.counters = counters, a.dropouts = dropouts, a.schedule = schedule, a.settings = settings;
  a.records = records, a.totals = totals, a.all = all, a.fresh = fresh != 0;
  a.position = counters[0];
  __syncthreads();  // all have read it before the last thread moves it on
  finish_step(a, [=](int p) { return sums[p] + sums[SLOT + p]; }, nullptr, scratch);
}
