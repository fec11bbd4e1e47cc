// Sums of whole arrays, in float64 in every build: their results are float64, and a sum of a
// million float32 numbers should not lose what each of them had. (Other files hold no float64
// instruction in a float32 build.)
//
//   sum_partial             partial[j] = sum of what block j takes of a
//   sum_partial_bool        the same of bools: how many are true
//   sum_final, mean_final   total = sum of the partials; mean = total / size
//   regularization_partial  the same of |w| and w^2
//   regularization_final    loss = l1 sum|w| + l2 sum w^2
//
//   a, w (size,) real, or bytes of 0 and 1; partial, absolute, squared (PARTS,) and total ()
//   float64; mean and loss () real
//   threads   each adds up what it takes in order, 16 bytes of the array at a time where the
//             address allows it; then the threads of a block join in pairs. The order depends on
//             size, grid and the array's place within 16 bytes alone
//   traffic   4 bytes an element in float32, 1 for bytes
//   launch    *_partial: grid PARTS = min(1024, ceil(size / 4096)) or any other, block 256;
//             *_final: grid 1, block 256

constexpr int BLOCK = 256;

// Thread 0 gets the sum over the block. All threads must call it.
__device__ __forceinline__ double block_sum(double v, double* scratch) {
  __syncthreads();  // the values of an earlier call have been read
  scratch[threadIdx.x] = v;
#pragma unroll
  for (int step = BLOCK / 2; step > 0; step /= 2) {
    __syncthreads();
    if (threadIdx.x < step) scratch[threadIdx.x] += scratch[threadIdx.x + step];
  }
  return scratch[threadIdx.x];
}

// Thread 0 gets the sum of the partials.
__device__ __forceinline__ double join(const double* __restrict__ partial, index_t parts, double* scratch) {
  double total = 0;
  for (index_t k = threadIdx.x; k < parts; k += BLOCK) total += partial[k];
  return block_sum(total, scratch);
}

extern "C" __global__ void __launch_bounds__(BLOCK)
sum_partial(const real* __restrict__ a, double* __restrict__ partial, index_t size) {
  __shared__ double scratch[BLOCK];
  double total = 0;
  each(size, [&](real a) { total += a; }, a);
  total = block_sum(total, scratch);
  if (threadIdx.x == 0) partial[blockIdx.x] = total;
}

extern "C" __global__ void __launch_bounds__(BLOCK)
sum_partial_bool(const unsigned char* __restrict__ a, double* __restrict__ partial, index_t size) {
  __shared__ double scratch[BLOCK];
  index_t count = 0;
  each(size, [&](unsigned char a) { count += a; }, a);
  const double total = block_sum((double)count, scratch);
  if (threadIdx.x == 0) partial[blockIdx.x] = total;
}

extern "C" __global__ void __launch_bounds__(BLOCK)
sum_final(const double* __restrict__ partial, double* __restrict__ total, index_t parts) {
  __shared__ double scratch[BLOCK];
  const double sum = join(partial, parts, scratch);
  if (threadIdx.x == 0) *total = sum;
}

extern "C" __global__ void __launch_bounds__(BLOCK)
mean_final(const double* __restrict__ partial, real* __restrict__ mean, index_t parts, index_t size) {
  __shared__ double scratch[BLOCK];
  const double sum = join(partial, parts, scratch);
  if (threadIdx.x == 0) *mean = real(sum / (double)size);
}

extern "C" __global__ void __launch_bounds__(BLOCK)
regularization_partial(const real* __restrict__ w, double* __restrict__ absolute,
                       double* __restrict__ squared, index_t size) {
  __shared__ double scratch[BLOCK];
  double a = 0, s = 0;
  each(size, [&](double w) {
    a += fabs(w);
    s += w * w;
  }, w);
  a = block_sum(a, scratch);
  s = block_sum(s, scratch);
  if (threadIdx.x == 0) {
    absolute[blockIdx.x] = a;
    squared[blockIdx.x] = s;
  }
}

extern "C" __global__ void __launch_bounds__(BLOCK)
regularization_final(const double* __restrict__ absolute, const double* __restrict__ squared,
                     real* __restrict__ loss, index_t parts, double l1, double l2) {
  __shared__ double scratch[BLOCK];
  const double a = join(absolute, parts, scratch);
  const double s = join(squared, parts, scratch);
  if (threadIdx.x == 0) *loss = real(l1 * a + l2 * s);
}
