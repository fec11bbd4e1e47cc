// fused_end: the end of a step whose rows came in several launches of fused_step with PART.
//
//   gradients = value of the words (exact.cuh) / `all`, + l1 s + 2 l2 w; then the optimizer and the
//   record, as fused_step has them at the end of a step over `all` rows. Built with the same plan.
//   Where the rows have weights, as the words say, their sum takes the place of `all`.
//
//   words      (3 P + 33,) int64 as fused_step leaves them, those of other processes added or not:
//              only read, and carried in registers
//   others     as for fused_step; `fresh`: the step begins a pass. The sum of weights in `totals`
//              counts a row without one as 1
//   threads    a parameter each, by turns
//   traffic    in float32 with Adam 56 bytes a parameter, each once
//   launch     grid 1, block THREADS; the same launch gives the same bits
//
//   Where the words are not of `all` rows, or some rows have weights and others have not, nothing is
//   updated: the record and the totals become NaN.
//   The host cannot know without waiting for the device, and so counts the step all the same; a
//   mask's number and the row of `schedule` move on with it.

#include "plan.cuh"
#include "exact.cuh"
#include "finish.cuh"

extern "C" __global__ void __launch_bounds__(THREADS)
fused_end(real* parameters, real* gradients, real* momentums, real* caches, unsigned* counters, unsigned* dropouts,
          const real* __restrict__ schedule, const real* __restrict__ settings, real* records, real* totals,
          const index_t* __restrict__ words, index_t all, index_t fresh) {
  __shared__ real scratch[WARPS];
  if (beyond_schedule(counters, 1)) return;
  Arguments a = {};
  a.parameters = parameters, a.gradients = gradients, a.momentums = momentums, a.caches = caches;
  a.counters = counters, a.dropouts = dropouts, a.schedule = schedule, a.settings = settings;
  a.records = records, a.totals = totals, a.all = all, a.fresh = fresh != 0;
  a.position = counters[0];
  __syncthreads();  // all have read it before the last thread moves it on
  const index_t with_weights = words[WEIGHED_WORD];
  if (words[ROWS_WORD] != all || (with_weights != 0 && with_weights != all)) {
    const real none = not_a_number();
    if (threadIdx.x == 0) record(a, none, none, none, none);
    return;
  }
  const double weight = with_weights ? loss_of(words + WEIGHT_WORDS) : __ll2double_rn(all);
  const auto total = [=](int p) {
    if (p < PARAMETERS) return real(value_of(words[p], words[PARAMETERS + p], words[2 * PARAMETERS + p]));
    return p == PARAMETERS ? real(loss_of(words + LOSS_WORDS)) : real(words[RIGHT_WORD]);
  };
  finish_step(a, total, weight, nullptr, scratch);
}
