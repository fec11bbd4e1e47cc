// What the CUDA kernels share. Prepended as text to every .cu file before it is compiled.
//
//   REAL      float or double, given by the host (-DREAL=float): arrays and arithmetic
//   index_t   64 bits: a batch may pass 2^31 elements
//
// Reductions run in a fixed order: the same launch gives the same bits. A literal is written
// real(1), never 1.0: a float32 kernel holds no float64 instruction.

#ifndef REAL
#define REAL float
#endif

typedef REAL real;
typedef long long index_t;
typedef unsigned long long word64;
typedef unsigned int word32;

constexpr int WARP = 32;
constexpr unsigned ALL_LANES = 0xffffffffu;

#include "elementary.cuh"

__device__ __forceinline__ real not_a_number() { return real(__int_as_float(0x7fffffff)); }
__device__ __forceinline__ real minus_infinity() { return real(__int_as_float(int(0xff800000u))); }

// The larger of two; NaN in either gives NaN (fmaxf would hide it).
__device__ __forceinline__ real max_(real a, real b) { return (b > a || b != b) ? b : a; }

// p within [low, high]; NaN stays NaN, because it compares false.
__device__ __forceinline__ real clip(real p, real low, real high) {
  return p < low ? low : (p > high ? high : p);
}

struct Sum {
  __device__ static __forceinline__ real identity() { return real(0); }
  __device__ static __forceinline__ real join(real a, real b) { return a + b; }
};

struct Max {
  __device__ static __forceinline__ real identity() { return minus_infinity(); }
  __device__ static __forceinline__ real join(real a, real b) { return max_(a, b); }
};

// Every lane gets the result over its group of LANES lanes (a power of two up to 32).
template <class Op, int LANES = WARP>
__device__ __forceinline__ real warp_reduce(real v) {
#pragma unroll
  for (int step = LANES / 2; step > 0; step /= 2) v = Op::join(v, __shfl_xor_sync(ALL_LANES, v, step));
  return v;
}

// Every thread gets the result over a block of SIZE threads (a multiple of 32, at most 1024).
// All threads of the block must call it; `scratch` holds SIZE / 32 values and may be used
// again after the next barrier.
template <class Op, int SIZE>
__device__ __forceinline__ real block_reduce(real v, real* scratch) {
  constexpr int WARPS = SIZE / WARP;
  const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
  v = warp_reduce<Op>(v);
  if (WARPS == 1) return v;
  __syncthreads();  // the values of an earlier call have been read
  if (lane == 0) scratch[warp] = v;
  __syncthreads();
  real total = scratch[0];
#pragma unroll
  for (int w = 1; w < WARPS; w++) total = Op::join(total, scratch[w]);
  return total;
}

// ---- flat arrays: every thread takes 16 bytes at a time where the addresses allow it ----

constexpr int VEC = 16 / sizeof(real);  // elements in 16 bytes

template <class T> struct alignas(VEC * sizeof(T)) Vec { T v[VEC]; };

template <class T>
__device__ __forceinline__ Vec<T> load_vec(const T* p) { return *(const Vec<T>*)p; }

template <class T>
__device__ __forceinline__ void store_vec(T* p, const Vec<T>& value) { *(Vec<T>*)p = value; }

// An array's VEC elements in registers; put() writes them back, where the array can be written.
template <class T> struct Taken {
  T* from;
  Vec<T> vec;
  __device__ __forceinline__ explicit Taken(T* p) : from(p), vec(load_vec(p)) {}
  __device__ __forceinline__ void put() const { store_vec(from, vec); }
};
template <class T> struct Taken<const T> {
  Vec<T> vec;
  __device__ __forceinline__ explicit Taken(const T* p) : vec(load_vec(p)) {}
  __device__ __forceinline__ void put() const {}
};

template <class T>
__device__ __forceinline__ int offset_in_vec(const T* p) { return (int)((word64)p / sizeof(T) % VEC); }

// Elements (fewer than VEC) before the first address where all arrays can be taken VEC at a
// time; `size` where they have none in common.
template <class T, class... Rest>
__device__ __forceinline__ index_t elements_before_vecs(index_t size, const T* p, const Rest*... rest) {
  const int offset = offset_in_vec(p);
  const bool same = (true && ... && (offset_in_vec(rest) == offset));
  const index_t head = (VEC - offset) % VEC;
  return same ? head : size;
}

template <class Place, class F, class... Arrays>
__device__ __forceinline__ void on_vecs(Place at, F& f, Arrays... taken) {
#pragma unroll
  for (int j = 0; j < VEC; j++, at.next()) f(at, taken.vec.v[j]...);
  (taken.put(), ...);
}

// Calls f(at, element of each array...) once for every element 0..size-1 of flat arrays. `f`
// takes elements of const arrays by value, of the others by reference; what it never reads is
// not loaded. `at` is Place(element), kept up to date by next(). Threads go on by the size of
// the grid: right for any grid, the same order for the same grid.
template <class Place, class F, class... T>
__device__ __forceinline__ void each_at(index_t size, Place place, F f, T*... p) {
  const index_t threads = (index_t)gridDim.x * blockDim.x;
  const index_t thread = (index_t)blockIdx.x * blockDim.x + threadIdx.x;
  const index_t head = elements_before_vecs(size, p...);
  const index_t vecs = (size - head) / VEC;
#pragma unroll 1  // the grid gives a thread one turn, or few
  for (index_t k = thread; k < vecs; k += threads) {
    const index_t first = head + k * VEC;
    on_vecs(place.of(first), f, Taken<T>(p + first)...);
  }
#pragma unroll 1  // a few elements, or an unusual layout: not worth the code
  for (index_t k = thread; k < size - vecs * VEC; k += threads) {
    const index_t element = k < head ? k : k + vecs * VEC;
    f(place.of(element), p[element]...);
  }
}

struct Anywhere {
  __device__ __forceinline__ Anywhere of(index_t) const { return *this; }
  __device__ __forceinline__ void next() {}
};

template <class F> struct WithoutPlace {
  F f;
  template <class... V>
  __device__ __forceinline__ void operator()(const Anywhere&, V&... values) { f(values...); }
};

// Row and column of an element: one division for each 16 bytes.
struct InRows {
  index_t row;
  int column, columns;
  __device__ __forceinline__ InRows of(index_t element) const {
    const index_t row = (index_t)((word64)element / (word64)columns);
    return {row, (int)(element - row * columns), columns};
  }
  __device__ __forceinline__ void next() {
    if (++column == columns) column = 0, ++row;
  }
};

// f(element of each array...)
template <class F, class... T>
__device__ __forceinline__ void each(index_t size, F f, T*... p) {
  each_at(size, Anywhere{}, WithoutPlace<F>{f}, p...);
}

// f(at, element of each array...) with at.row and at.column, arrays of `columns` < 2^31 columns
template <class F, class... T>
__device__ __forceinline__ void each_in_rows(index_t size, index_t columns, F f, T*... p) {
  each_at(size, InRows{0, 0, (int)columns}, f, p...);
}

// ---- rows: a group of neighbouring threads shares one ----

// Threads a row: a power of two, few where the row is short.
__device__ __forceinline__ int lanes_for(index_t columns) { return columns < 8 ? 1 : columns < 64 ? 8 : WARP; }

// Calls f(row, lane, here) with all lanes of a warp together, so that f may shuffle; where
// `here` is false the row is another thread's as well and must not be written. Blocks are
// multiples of 32 threads; right for any grid.
template <class F>
__device__ __forceinline__ void each_row(index_t n, int lanes, F f) {
  const int rows = WARP / lanes;  // of a warp
  const int lane = threadIdx.x % WARP % lanes, in_warp = threadIdx.x % WARP / lanes;
  const index_t warps = (index_t)gridDim.x * (blockDim.x / WARP);
  const index_t warp = (index_t)blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP;
#pragma unroll 1
  for (index_t first = warp * rows; first < n; first += warps * rows) {
    const index_t row = first + in_warp;
    f(row < n ? row : n - 1, lane, row < n);
  }
}

// ---- sums over rows, for each column ----

constexpr int COLUMN_BLOCK = 256;  // threads
constexpr int COLUMN_TILE = 32;    // columns that a block takes at once, at most
constexpr int CHUNK_ROWS = 256;    // rows that are added up to one
constexpr int ROW_LANES = 8;       // threads that share a column of a chunk
constexpr int SHORT_ROW = 128;     // columns up to which neighbouring rows are different lanes'

// sums[j, c] = sum of term(row, c) over the rows of chunk j, for each column. A lane has 32 rows,
// l, l + 8, ... or, of long rows, 32 l, 32 l + 1, ...: the CPU's order (kernels/cpu/reductions.py
// says why), in which both are as fast here. Blocks along y share chunks, those along x tiles of
// neighbouring columns; where columns are few, a block has several chunks at once. Neighbours read
// neighbours. All threads of the block must call it; `scratch` holds COLUMN_BLOCK values.
template <class Term>
__device__ __forceinline__ void column_sums(index_t n, index_t columns, real* sums, real* scratch, Term term) {
  const index_t tiles = (columns + COLUMN_TILE - 1) / COLUMN_TILE, chunks = (n + CHUNK_ROWS - 1) / CHUNK_ROWS;
  const int width = (int)((columns + tiles - 1) / tiles), at_once = COLUMN_BLOCK / ROW_LANES / width;
  const int in_tile = threadIdx.x % width, lane = threadIdx.x / width % ROW_LANES;
  const int which = threadIdx.x / width / ROW_LANES;  // of the chunks that the block has at once
  const bool is_short = columns <= SHORT_ROW;
  const index_t step = is_short ? ROW_LANES : 1, offset = is_short ? lane : lane * (CHUNK_ROWS / ROW_LANES);
  for (index_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    const index_t column = tile * width + in_tile;
#pragma unroll 1
    for (index_t group = (index_t)blockIdx.y * at_once; group < chunks; group += (index_t)gridDim.y * at_once) {
      const index_t chunk = group + which, first = chunk * CHUNK_ROWS + offset;
      const bool here = which < at_once && chunk < chunks && column < columns;
      const index_t left = here && first < n ? (n - first + step - 1) / step : 0;
      const int rows = left < CHUNK_ROWS / ROW_LANES ? (int)left : CHUNK_ROWS / ROW_LANES;
      real total = real(0);
#pragma unroll 8
      for (int k = 0; k < rows; k++) total += term(first + k * step, column);
      scratch[threadIdx.x] = total;
      __syncthreads();
      if (here && lane == 0) {
        real s[ROW_LANES];
#pragma unroll
        for (int l = 0; l < ROW_LANES; l++) s[l] = scratch[threadIdx.x + l * width];
#pragma unroll
        for (int distance = ROW_LANES / 2; distance > 0; distance /= 2) {
#pragma unroll
          for (int l = 0; l < distance; l++) s[l] += s[l + distance];
        }
        sums[chunk * columns + column] = s[0];
      }
      __syncthreads();  // the values have been read
    }
  }
}

// ---- random numbers ----

// Philox4x32-10: four words as a function of (position, call, stream) and the seed alone, so that
// every thread makes its own: the words of NumPy's and Numba's backends, bit for bit.
// Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
struct Words { word32 w[4]; };

__device__ __forceinline__ Words philox_block(word64 position, word64 seed, word32 stream, word32 call) {
  word32 c0 = (word32)position, c1 = (word32)(position >> 32), c2 = call, c3 = stream;
  word32 k0 = (word32)seed, k1 = (word32)(seed >> 32);
#pragma unroll
  for (int round = 0; round < 10; round++) {
    const word64 low = (word64)c0 * 0xD2511F53u, high = (word64)c2 * 0xCD9E8D57u;
    c0 = (word32)(high >> 32) ^ c1 ^ k0;
    c1 = (word32)high;
    c2 = (word32)(low >> 32) ^ c3 ^ k1;
    c3 = (word32)low;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}
