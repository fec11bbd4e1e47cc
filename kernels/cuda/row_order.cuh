// The order in which the numbers of a row are added up, the same on every backend: a warp for a row.
//
//   chunk j   numbers CHUNK j ... CHUNK j + CHUNK - 1 of the row: what a warp keeps in registers
//   lanes     number k of a chunk goes to lane k mod 32; each lane adds up its own, in turn
//   fold      lanes join their partners at distances 16, 8, 4, 2, 1: warp_reduce
//   row       the sum of chunk j goes to lane j mod 32, and the lanes are folded once more
//
// A lane begins with its first term; where there is none, -0 stands for it, which changes no sum, not
// even a zero's sign. The text of kernels/cpu/row_order.py in CUDA C++, bit for bit
// (docs/decisions/one-answer.md). Included by losses.cu and softmax_*.cu.

constexpr int TURNS = sizeof(real) == 4 ? 32 : 8;  // numbers of a chunk in a lane
constexpr int CHUNK = TURNS * WARP;
constexpr real NOTHING = real(-0.f);

// One number of the first COUNT lanes, which one thread has: it is left in s[0].
template <class Op, int COUNT>
__device__ __forceinline__ void fold(real (&s)[COUNT]) {
#pragma unroll
  for (int step = WARP / 2; step > 0; step /= 2) {
#pragma unroll
    for (int l = 0; l < step; l++)
      if (l + step < COUNT) s[l] = Op::join(s[l], s[l + step]);
  }
}

// Joins the sums of at most 32 chunks, each in the registers of one of a block's WARPS warps: every
// thread gets the row's. All threads of the block must call it; `scratch` holds WARPS values.
template <class Op, int WARPS>
__device__ __forceinline__ real join_warps(real v, real* scratch) {
  v = warp_reduce<Op>(v);
  if (WARPS == 1) return v;
  __syncthreads();  // the values of an earlier call have been read
  if (threadIdx.x % WARP == 0) scratch[threadIdx.x / WARP] = v;
  __syncthreads();
  return warp_reduce<Op, WARPS>(scratch[threadIdx.x % WARPS]);
}

// The sum of a row from those of its chunks, for every lane of a warp.
__device__ __forceinline__ real sum_of_chunks(const real* __restrict__ sums, index_t chunks) {
  real s = NOTHING;
  for (index_t j = threadIdx.x % WARP; j < chunks; j += WARP) s += sums[j];
  return warp_reduce<Sum>(s);
}

// The sum of a row whose terms are made by add(sum, column) -> the sum with that term. The row
// belongs to as many lanes as lanes_for(columns), which all get it.
template <class Add>
__device__ __forceinline__ real row_sum(index_t columns, int lanes, int lane, Add add) {
  real total = NOTHING;
  if (lanes == 1) {  // fewer than 8: a loop for each fold
    for (int a = 0; a < 2 && a < columns; a++) {
      real by_2 = NOTHING;
      for (int b = a; b < 4 && b < columns; b += 2) {
        real by_4 = NOTHING;
        for (int c = b; c < columns; c += 4) by_4 += add(NOTHING, c);
        by_2 += by_4;
      }
      total += by_2;
    }
  } else if (lanes == 8) {  // this thread has every eighth of the 32 lanes
    for (int b = lane; b < lane + 16; b += 8) {
      real by_8 = NOTHING;
      for (int a = b; a < b + 32; a += 16) {
        real s = NOTHING;
        for (index_t c = a; c < columns; c += WARP) s = add(s, c);
        by_8 += s;
      }
      total += by_8;
    }
    total = warp_reduce<Sum, 8>(total);
  } else {
    int chunk = 0;
    for (index_t first = 0; first < columns; first += CHUNK, chunk++) {
      const index_t last = first + CHUNK < columns ? first + CHUNK : columns;
      real s = NOTHING;
#pragma unroll 2
      for (index_t c = first + lane; c < last; c += WARP) s = add(s, c);
      s = warp_reduce<Sum>(s);
      if (columns <= CHUNK || lane == chunk % WARP) total += s;
    }
    if (columns > CHUNK) total = warp_reduce<Sum>(total);
  }
  return total;
}
