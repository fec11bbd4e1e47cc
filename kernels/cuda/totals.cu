// Sums of whole arrays, in float64 in every build: their results are float64, and a sum of a
// million float32 numbers should not lose what each of them had. (Other files hold no float64
// instruction in a float32 build.)
//
//   sum_partial             partial[j] = sum of chunk j of a: 1,024 elements
//   sum_final, mean_final   total = sum of the chunks' sums; mean = total / size
//   regularization_partial  sums of |w| and w^2 over each chunk
//   regularization_final    loss = l1 sum|w| + l2 sum w^2
//   sum_partial_bool        partial[j] = how many of what block j takes are true: exact in any order
//
//   a, w (size,) real, or bytes of 0 and 1; partial, absolute, squared (PARTS,) and total ()
//   float64; mean and loss () real
//   threads   a warp a chunk: lane l adds up elements l, l + 32, ... in order, neighbours read
//             neighbours, then lanes join at distances 16 to 1. The order is that of
//             kernels/cpu/reductions.py, whatever the grid
//   traffic   4 bytes an element in float32, 1 for bytes
//   launch    *_partial: PARTS = ceil(size / 1024), grid ceil(PARTS / 8) or any other, block 256;
//             *_final: up to 2^20 PARTS, grid 1, block 256. More, or so many that one block would
//             take long, are added up by sum_partial in float64, which gives a 1,024th of them

constexpr int BLOCK = 256, WARPS = BLOCK / WARP;
constexpr int CHUNK = 1024;  // elements

// f(chunk) for every chunk of an array, all lanes of a warp together; of nothing the sum is 0.
template <class F>
__device__ __forceinline__ void each_chunk(index_t size, F f) {
  const index_t chunks = size > 0 ? (size + CHUNK - 1) / CHUNK : 1;
#pragma unroll 1
  for (index_t chunk = (index_t)blockIdx.x * WARPS + threadIdx.x / WARP; chunk < chunks;
       chunk += (index_t)gridDim.x * WARPS)
    f(chunk);
}

// f(element) for every element of the chunk that is this lane's, in order.
template <class F, class T>
__device__ __forceinline__ void each_of_chunk(const T* a, index_t size, index_t chunk, F f) {
  const index_t left = size - chunk * CHUNK;
  const int count = left < CHUNK ? (int)left : CHUNK;
  a += chunk * CHUNK;
#pragma unroll 8
  for (int k = threadIdx.x % WARP; k < count; k += WARP) f((double)a[k]);
}

// The sum over the lanes of a warp, for each of them.
__device__ __forceinline__ double lanes_sum(double s) {
#pragma unroll
  for (int distance = WARP / 2; distance > 0; distance /= 2) s += __shfl_xor_sync(ALL_LANES, s, distance);
  return s;
}

// The sum of a chunk, for every lane of a warp.
template <class T>
__device__ __forceinline__ double chunk_sum(const T* a, index_t size, index_t chunk) {
  double s = 0;
  each_of_chunk(a, size, chunk, [&](double v) { s += v; });
  return lanes_sum(s);
}

// Every thread of warp 0 gets the sum of the chunks' sums, by the same rule: up to 1,024 chunks of
// them. All threads of the block must call it; `scratch` holds CHUNK values.
__device__ __forceinline__ double join(const double* __restrict__ partial, index_t parts, double* scratch) {
  const index_t chunks = parts > 0 ? (parts + CHUNK - 1) / CHUNK : 1;
  __syncthreads();  // the values of an earlier call have been read
  for (index_t chunk = threadIdx.x / WARP; chunk < chunks; chunk += WARPS) {
    const double s = chunk_sum(partial, parts, chunk);
    if (threadIdx.x % WARP == 0) scratch[chunk] = s;
  }
  __syncthreads();
  return chunk_sum(scratch, chunks, 0);
}

extern "C" __global__ void __launch_bounds__(BLOCK)
sum_partial(const real* __restrict__ a, double* __restrict__ partial, index_t size) {
  each_chunk(size, [=](index_t chunk) {
    const double s = chunk_sum(a, size, chunk);
    if (threadIdx.x % WARP == 0) partial[chunk] = s;
  });
}

extern "C" __global__ void __launch_bounds__(BLOCK)
sum_partial_bool(const unsigned char* __restrict__ a, double* __restrict__ partial, index_t size) {
  __shared__ double scratch[WARPS];
  index_t count = 0;
  each(size, [&](unsigned char a) { count += a; }, a);
  const double s = lanes_sum((double)count);
  if (threadIdx.x % WARP == 0) scratch[threadIdx.x / WARP] = s;
  __syncthreads();
  if (threadIdx.x < WARP) {
    const double total = chunk_sum(scratch, WARPS, 0);
    if (threadIdx.x == 0) partial[blockIdx.x] = total;
  }
}

extern "C" __global__ void __launch_bounds__(BLOCK)
sum_final(const double* __restrict__ partial, double* __restrict__ total, index_t parts) {
  __shared__ double scratch[CHUNK];
  const double sum = join(partial, parts, scratch);
  if (threadIdx.x == 0) *total = sum;
}

extern "C" __global__ void __launch_bounds__(BLOCK)
mean_final(const double* __restrict__ partial, real* __restrict__ mean, index_t parts, index_t size) {
  __shared__ double scratch[CHUNK];
  const double sum = join(partial, parts, scratch);
  if (threadIdx.x == 0) *mean = real(sum / (double)size);
}

extern "C" __global__ void __launch_bounds__(BLOCK)
regularization_partial(const real* __restrict__ w, double* __restrict__ absolute,
                       double* __restrict__ squared, index_t size) {
  each_chunk(size, [=](index_t chunk) {
    double a = 0, s = 0;
    each_of_chunk(w, size, chunk, [&](double w) {
      a += fabs(w);
      s = fma_(w, w, s);
    });
    a = lanes_sum(a);
    s = lanes_sum(s);
    if (threadIdx.x % WARP == 0) {
      absolute[chunk] = a;
      squared[chunk] = s;
    }
  });
}

extern "C" __global__ void __launch_bounds__(BLOCK)
regularization_final(const double* __restrict__ absolute, const double* __restrict__ squared,
                     real* __restrict__ loss, index_t parts, double l1, double l2) {
  __shared__ double scratch[CHUNK];
  const double a = join(absolute, parts, scratch);
  const double s = join(squared, parts, scratch);
  if (threadIdx.x == 0) *loss = real(fma_(l1, a, l2 * s));
}
