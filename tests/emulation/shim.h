// CUDA on a CPU: enough of the language to run the kernels' own source text, one block at a time.
//
// Every thread of a block is a fiber with a stack of its own. A fiber runs until it reaches a
// barrier or a warp intrinsic and then hands over. A warp's fibers meet at warp intrinsics, a
// block's at __syncthreads. What a GPU would leave undefined is an error here:
//   * threads of a block waiting at different __syncthreads, or some at one while others wait
//     inside a warp intrinsic or never come: "divergent barrier"
//   * lanes named in a mask that do not take part in the same warp intrinsic: "divergent warp"
//   * an access to memory that is not there: "out of bounds" (the launch puts every array against
//     a page that may not be touched)
// Shared memory is filled with NaN before every block, so that a value nobody wrote shows.
// Blocks, warps and lanes run in order, or all backwards: a result that depends on which comes
// first, for want of a barrier, differs between the two. Registers, occupancy and memory
// transactions are not modelled. With shim_flush_denormals, float32 denormals become 0 as NVRTC's
// --ftz=true makes them (on x86; elsewhere a grid that asks for it fails).
#pragma once
#include <csetjmp>
#include <csignal>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __noinline__
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __launch_bounds__(...)
#define __shared__ static __attribute__((section("cuda_shared")))
#define __constant__ static
#define __grid_constant__

struct dim3_ { unsigned x, y, z; };
static dim3_ threadIdx, blockIdx, blockDim, gridDim;

template <class T, int BYTES> struct alignas(BYTES) vector2_ { T x, y; };
template <class T, int BYTES> struct alignas(BYTES) vector4_ { T x, y, z, w; };
typedef vector2_<float, 8> float2;
typedef vector4_<float, 16> float4;
typedef vector2_<double, 16> double2;
typedef vector4_<int, 16> int4;
typedef vector2_<int, 8> int2;
typedef vector4_<unsigned, 16> uint4;
static inline float2 make_float2(float x, float y) { return {x, y}; }
static inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
static inline double2 make_double2(double x, double y) { return {x, y}; }
static inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

template <class T> static inline T __ldg(const T* p) { return *p; }
template <class T> static inline T __ldcs(const T* p) { return *p; }
template <class T> static inline T __ldcg(const T* p) { return *p; }
template <class T> static inline void __stcs(T* p, T v) { *p = v; }
template <class T> static inline void __stcg(T* p, T v) { *p = v; }
static inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)(((uint64_t)a * b) >> 32); }
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return (unsigned long long)(((unsigned __int128)a * b) >> 64);
}
static inline float __uint2float_rn(unsigned a) { return (float)a; }
static inline float __frcp_rn(float a) { return 1 / a; }
static inline double __dadd_rn(double a, double b) { return a + b; }
static inline double __dsub_rn(double a, double b) { return a - b; }
static inline double __dmul_rn(double a, double b) { return a * b; }
static inline double __fma_rn(double a, double b, double c) { return fma(a, b, c); }
static inline long long __double2ll_rn(double a) { return llrint(a); }
static inline double __ll2double_rn(long long a) { return (double)a; }
static inline float rsqrtf(float a) { return 1 / sqrtf(a); }
static inline int __float_as_int(float x) { int i; memcpy(&i, &x, 4); return i; }
static inline float __int_as_float(int i) { float x; memcpy(&x, &i, 4); return x; }
static inline long long __double_as_longlong(double x) { long long i; memcpy(&i, &x, 8); return i; }
static inline double __longlong_as_double(long long i) { double x; memcpy(&x, &i, 8); return x; }
static inline void __threadfence() {}
static inline void __threadfence_block() {}
template <class T> static inline T min(T a, T b) { return b < a ? b : a; }
template <class T> static inline T max(T a, T b) { return a < b ? b : a; }
template <class T> static inline T atomicAdd(T* p, T v) { T old = *p; *p = old + v; return old; }
template <class T> static inline T atomicMax(T* p, T v) { T old = *p; if (v > old) *p = v; return old; }
template <class T> static inline T atomicExch(T* p, T v) { T old = *p; *p = v; return old; }
template <class T> static inline T atomicInc(T* p, T limit) { T old = *p; *p = old >= limit ? 0 : old + 1; return old; }

extern "C" char __start_cuda_shared[] __attribute__((weak));
extern "C" char __stop_cuda_shared[] __attribute__((weak));

namespace shim {
constexpr int MOST = 1024, STACK = 128 * 1024;
enum State { RUNNING, AT_BLOCK, AT_WARP, DONE };

static void* stack_of[MOST];   // saved stack pointers of the fibers
static void* stack_of_main;
static State state[MOST];
static int line[MOST];         // where the fiber waits
static unsigned mask[MOST];    // lanes it waits for
static uint64_t slot[MOST];    // what it offers to its warp
static int current, threads;
static char* stacks;
static void (*body)(void*);
static void* body_argument;
static char error[256];
static bool backwards;
static int turn(int k, int count) { return backwards ? count - 1 - k : k; }

#if defined(__x86_64__)
extern "C" void shim_switch(void** save, void* load);
asm(R"(
.text
shim_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
)");
static void wait(State s) { state[current] = s; shim_switch(&stack_of[current], stack_of_main); }
static void entry() { body(body_argument); for (;;) wait(DONE); }
static void start(int i) {
  void** top = (void**)(stacks + (size_t)STACK * (i + 1) - 72);  // as after a call: 8 below 16
  *top = nullptr;
  *--top = (void*)entry;
  for (int k = 0; k < 6; k++) *--top = nullptr;
  stack_of[i] = top;
}
static void resume(int i) { shim_switch(&stack_of_main, stack_of[i]); }
#else
#include <ucontext.h>
static ucontext_t context[MOST], main_context;
static void wait(State s) { state[current] = s; swapcontext(&context[current], &main_context); }
static void entry() { body(body_argument); for (;;) wait(DONE); }
static void start(int i) {
  getcontext(&context[i]);
  context[i].uc_stack.ss_sp = stacks + (size_t)STACK * i;
  context[i].uc_stack.ss_size = STACK;
  context[i].uc_link = nullptr;
  makecontext(&context[i], entry, 0);
}
static void resume(int i) { swapcontext(&main_context, &context[i]); }
#endif

static void set_index(int i) {
  threadIdx.x = i % blockDim.x;
  threadIdx.y = i / blockDim.x % blockDim.y;
  threadIdx.z = i / (blockDim.x * blockDim.y);
}

// Lets the warp of threads first..last-1 run until all wait at the block's barrier or are done.
static bool run_warp(int first, int last) {
  for (;;) {
    bool ran = false, waiting = false;
    for (int k = 0; k < last - first; k++) {
      const int i = first + turn(k, last - first);
      if (state[i] == RUNNING) { current = i; set_index(i); resume(i); ran = true; }
    }
    if (ran) continue;
    for (int i = first; i < last; i++) {
      if (state[i] != AT_WARP) continue;
      waiting = true;
      for (int k = 0; k < last - first; k++)
        if (mask[i] >> k & 1 && (state[first + k] != AT_WARP || line[first + k] != line[i])) {
          snprintf(error, sizeof error, "divergent warp: block %u, thread %d waits at line %d for lane %d",
                   blockIdx.x, i, line[i], k);
          return false;
        }
    }
    if (!waiting) return true;
    for (int i = first; i < last; i++) if (state[i] == AT_WARP) state[i] = RUNNING;
  }
}

static bool run_block() {
  for (int i = 0; i < threads; i++) { start(i); state[i] = RUNNING; }
  size_t size = __stop_cuda_shared - __start_cuda_shared;
  if (size) memset(__start_cuda_shared, 0xff, size);
  for (;;) {
    const int warps = (threads + 31) / 32;
    for (int k = 0; k < warps; k++) {
      const int w = 32 * turn(k, warps);
      if (!run_warp(w, w + 32 < threads ? w + 32 : threads)) return false;
    }
    int at = -1;
    for (int i = 0; i < threads; i++) {
      if (state[i] != AT_BLOCK) continue;
      if (at >= 0 && line[i] != line[at]) {
        snprintf(error, sizeof error, "divergent barrier: block %u, thread %d waits at line %d, thread %d at line %d",
                 blockIdx.x, at, line[at], i, line[i]);
        return false;
      }
      at = i;
    }
    if (at < 0) return true;  // all done
    for (int i = 0; i < threads; i++) {
      if (state[i] == DONE) {
        snprintf(error, sizeof error, "divergent barrier: block %u, thread %d ended, thread %d waits at line %d",
                 blockIdx.x, i, at, line[at]);
        return false;
      }
      state[i] = RUNNING;
    }
  }
}

// A fiber touched memory that is not there: leave it and the grid.
static sigjmp_buf end_of_grid;
static void on_fault(int, siginfo_t* fault, void*) {
  snprintf(error, sizeof error, "out of bounds: block %u, thread %d at address %llu", blockIdx.x, current,
           (unsigned long long)fault->si_addr);
  siglongjmp(end_of_grid, 1);
}

// Flush to zero and denormals are zero: bits 15 and 6 of MXCSR, put back when the grid is done.
static bool flush;
#if defined(__x86_64__)
struct Flushing {
  const unsigned before = _mm_getcsr();
  Flushing() { if (flush) _mm_setcsr(before | 0x8040); }
  ~Flushing() { _mm_setcsr(before); }
};
#else
struct Flushing { Flushing() { if (flush) snprintf(error, sizeof error, "no flush to zero here"); } };
#endif

// Runs a grid; nullptr, or what went wrong.
static const char* run_grid(dim3_ grid, dim3_ block, void (*f)(void*), void* argument) {
  threads = block.x * block.y * block.z;
  error[0] = 0;
  if (threads < 1 || threads > MOST) return "a block has 1 to 1024 threads";
  if (!stacks) stacks = (char*)aligned_alloc(4096, (size_t)STACK * MOST);
  body = f; body_argument = argument; gridDim = grid; blockDim = block;
  struct sigaction ours = {}, before_segv, before_bus;
  ours.sa_sigaction = on_fault;
  ours.sa_flags = SA_SIGINFO;
  sigaction(SIGSEGV, &ours, &before_segv);
  sigaction(SIGBUS, &ours, &before_bus);
  Flushing while_running;
  if (!error[0] && !sigsetjmp(end_of_grid, 1)) {
    const int blocks = grid.x * grid.y * grid.z;
    bool good = true;
    for (int k = 0; good && k < blocks; k++) {
      const unsigned b = turn(k, blocks);
      blockIdx = {b % grid.x, b / grid.x % grid.y, b / (grid.x * grid.y)};
      good = run_block();
    }
  }
  sigaction(SIGSEGV, &before_segv, nullptr);
  sigaction(SIGBUS, &before_bus, nullptr);
  return error[0] ? error : nullptr;
}

extern "C" void shim_run_backwards(int yes) { backwards = yes; }
extern "C" void shim_flush_denormals(int yes) { flush = yes; }

static void meet_block(int l) { line[current] = l; wait(AT_BLOCK); }
static void meet_warp(unsigned m, int l) { mask[current] = m; line[current] = l; wait(AT_WARP); }

template <class T> static T exchange(unsigned m, T v, int source_lane, int l) {
  static_assert(sizeof(T) <= 8, "shuffles move up to 8 bytes");
  const int me = current, base = me & ~31;
  slot[me] = 0;
  memcpy(&slot[me], &v, sizeof v);
  meet_warp(m, l);
  T result = v;
  if (base + source_lane < threads) memcpy(&result, &slot[base + source_lane], sizeof result);
  meet_warp(m, l);  // nobody overwrites a slot before all have read
  return result;
}
static unsigned ballot(unsigned m, bool v, int l) {
  const int base = current & ~31;
  slot[current] = v;
  meet_warp(m, l);
  unsigned result = 0;
  for (int k = 0; k < 32 && base + k < threads; k++) if (m >> k & 1 && slot[base + k]) result |= 1u << k;
  meet_warp(m, l);
  return result;
}
}  // namespace shim

#define __syncthreads() shim::meet_block(__LINE__)
#define __syncwarp(...) shim::meet_warp(shim_mask_(__VA_ARGS__), __LINE__)
static inline unsigned shim_mask_(unsigned m = ~0u) {
  const int left = shim::threads - (shim::current & ~31);  // lanes of a last, short warp
  return left < 32 ? m & ((1u << left) - 1) : m;
}
#define __shfl_xor_sync(m, v, k) shim::exchange(shim_mask_(m), v, (shim::current & 31) ^ (k), __LINE__)
#define __shfl_down_sync(m, v, k) shim::exchange(shim_mask_(m), v, shim_down_(k), __LINE__)
#define __shfl_sync(m, v, k) shim::exchange(shim_mask_(m), v, (k) & 31, __LINE__)
#define __ballot_sync(m, v) shim::ballot(shim_mask_(m), (v), __LINE__)
#define __any_sync(m, v) (__ballot_sync(m, v) != 0)
static inline int shim_down_(int k) {
  const int lane = shim::current & 31;
  return lane + k < 32 ? lane + k : lane;
}
