// fused_step: whole training steps, forward to optimizer, in one pass over the data.
//
//   for each step: rows of x -> stages (x w + b, activation, dropout) -> loss, accuracy and the
//   gradient at the output -> back through the stages -> sums over all rows of the gradients of
//   w and b, + l1 s + 2 l2 w -> optimizer. Activations never leave the multiprocessor.
//
//   x          (samples, I) real, row-major; the target of a row is one of
//              labels (samples,) int32, bytes (samples,) uint8, targets (samples, O) real
//   sample_weights   (samples,) real, what each counts; only with WEIGHTS, see there
//   parameters (P,) real, stage after stage: weights (I, O), then biases (O,)
//   gradients, momentums, caches (P,) real in the same order; unused ones are never touched
//   partials   (blocks + groups, P + 2) real, with WEIGHTS P + 3, scratch; see "sums over blocks"
//   counters   (3 + groups,) uint32: the row of `schedule` and `records` that comes next, which
//              the kernel moves on; how many rows they have; zeros. A launch that has not enough
//              rows left changes nothing
//   dropouts   (stages, 5) uint32: seed and keep 2^32, low word first, and the number of the call,
//              which the kernel moves on
//   schedule   (rows, 3) real: learning rate, 1 / (1 - beta_1^t), 1 / (1 - beta_2^t) of each step
//   settings   (10 + 6 stages,) real: see "settings"
//   records    (rows, 3) real: mean loss, penalty, accuracy of each step
//   totals     (6,) real: sum of the losses, what its rounding lost, and the same of right
//              predictions and, with WEIGHTS alone, of weights, since the last step that began a pass
//   words      (3 P + 33,) int64: only with PART, see there
//   step k takes rows [k batch, (k + 1) batch) of the samples, beginning anew after the last; it
//   begins a pass where it takes row 0, and the first step of a launch where `fresh` is not 0
//
//   PART       the samples [first, first + batch) are the rows `before`, before + 1, ... of a step over
//              `all` rows, which comes in several launches, of this process or of several: a leaf of
//              it. Its sums of gradients, losses and right predictions are added to `words` without
//              rounding (exact.cuh), which holds w0 (P,), w1 (P,), w2 (P,), losses (4, 3), right
//              predictions, rows, rows with weights, sum of weights (4, 3), and 6 numbers
//              that no kernel touches. The leaves may come in any order; the kernel of fused_end.cu then
//              ends the step. No parameter changes
//
//   WEIGHTS    losses and gradients of a sample times its weight; the sum of these takes the place of
//              the samples that gradients and losses are divided by. Where it is 0, both are 0. Right
//              predictions count alike
//
//   threads    NARROW: one hidden layer and few inputs and outputs. Forward a sample belongs to a
//              thread, back a thread owns hidden units and goes through samples; the hidden
//              layer is computed twice and never stored. Otherwise: a tile of samples in shared
//              memory, products from 4 x 4 values in each thread's registers
//   traffic    4 I + 4 bytes a sample (float32, int32 labels): each is read once. With PART 48 bytes
//              a parameter besides: its words are read and written
//   launch     grid any number of blocks for one step, 1 block for several; block THREADS; the
//              same grid gives the same bits. With PART one step, and the grid follows from sizes
//              alone (nnfs_gpu/fused/cuda/leaf.py): leaves are the same on every GPU. SHARED bytes
//              of dynamic shared memory where it is defined
//   source     last block: "threadFenceReduction" of the CUDA samples

#include "plan.cuh"
#if PART
#include "exact.cuh"
#endif
#include "finish.cuh"
#if NARROW
#include "narrow.cuh"
#else
#include "tiles.cuh"
#include "back.cuh"
#endif

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
fused_step(const real* __restrict__ x, const int* __restrict__ labels, const unsigned char* __restrict__ bytes,
           const real* __restrict__ targets, const real* __restrict__ sample_weights, real* parameters,
           real* gradients, real* momentums, real* caches, real* partials, unsigned* counters, unsigned* dropouts,
           const real* __restrict__ schedule, const real* __restrict__ settings, real* records, real* totals,
           index_t* words, index_t samples, index_t batch, index_t first, index_t steps, index_t fresh,
           index_t before, index_t all) {
#ifdef SHARED
  extern __shared__ __align__(16) real pool[];
#else
  __shared__ __align__(16) real pool[POOL];
#endif
  __shared__ real scratch[WARPS];
  __shared__ int flag;
  Arguments a = {x,      labels,   bytes,    targets,  sample_weights, parameters, gradients, momentums,
                 caches, partials, counters, dropouts, schedule,       settings,   records,   totals,
                 words,  first,    0,        0,        before,         counters[0], fresh != 0};
  if (!PART && beyond_schedule(counters, steps)) return;
  const real* weights = parameters;
  real* copy = nullptr;
#if NARROW
  if (COPY && gridDim.x == 1) copy = pool + POOL - PARAMETERS;
#endif
  if (copy) {
#pragma unroll 1
    for (int p = threadIdx.x; p < PARAMETERS; p += THREADS) copy[p] = parameters[p];
    weights = copy;
    __syncthreads();
  }
  for (index_t step = 0; step < (PART ? 1 : steps); step++) {  // what a loop keeps costs registers
    a.rows = samples - a.first < batch ? samples - a.first : batch;
    a.all = PART ? all : a.rows;
#if NARROW
    narrow_step(a, weights, pool, copy, scratch, &flag);
#else
    tiles_step(a, pool, scratch, &flag);
#endif
    __syncthreads();
    a.position++;
    a.first = a.first + batch < samples ? a.first + batch : 0;
    a.fresh = a.first == 0;
  }
}
