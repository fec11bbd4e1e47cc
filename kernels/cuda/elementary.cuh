// exp, log and tanh of our own: the text of kernels/cpu/elementary.py in CUDA C++, bit for bit.
//
//   fma_(a, b, c)      a b + c, rounded once
//   exp_(x)            error below 1.02 ulp, also where the result is denormal
//   exp_below_0_(x)    the same for x <= 0 or NaN, a comparison and three other instructions less
//   log_(x)            of normal x > 0 alone; error below 0.84 ulp
//   log_near_one_(f)   log(1 + f) where 1 + f lies in [sqrt(1/2), sqrt 2); error below 0.84 ulp
//   tanh_(x)           error below 2 ulp (float32: 1.73); -0 stays -0
//   sinpi_, cospi_(x)  sin(pi x), cos(pi x) for |x| <= 1/4; errors below 0.75 and 1.03 ulp
//
// NaN stays NaN, denormals are kept. Included by common.cuh. Every product that meets a sum is an fma
// that is written down, so that the bits are the same whether a compiler may contract or not. CUDA's
// own functions are as exact, but go through instructions that a CPU does not have.
//   cost    instructions on sm_90 in float32, straight on: exp_ 22, log_ 26, tanh_ 40

__device__ __forceinline__ float fma_(float a, float b, float c) { return fmaf(a, b, c); }
__device__ __forceinline__ double fma_(double a, double b, double c) { return fma(a, b, c); }
__device__ __forceinline__ float sqrt_(float x) { return sqrtf(x); }
__device__ __forceinline__ double sqrt_(double x) { return sqrt(x); }
__device__ __forceinline__ float abs_(float x) { return fabsf(x); }
__device__ __forceinline__ double abs_(double x) { return fabs(x); }

// A polynomial by Horner's scheme, the highest power first.
template <class T> __device__ __forceinline__ T polynomial(T, T p) { return p; }
template <class T, class... Rest>
__device__ __forceinline__ T polynomial(T x, T p, T next, Rest... rest) {
  return polynomial(x, fma_(p, x, next), rest...);
}

// ---- bits of a number, and numbers from bits ----

__device__ __forceinline__ word32 bits_of(float x) { return (word32)__float_as_int(x); }
__device__ __forceinline__ float of_bits(word32 bits) { return __int_as_float((int)bits); }
__device__ __forceinline__ word64 bits_of(double x) { return (word64)__double_as_longlong(x); }
__device__ __forceinline__ double of_bits(word64 bits) { return __longlong_as_double((long long)bits); }

// 2^k for k whose lowest bits are those of `bits`, as long as it is a normal number.
__device__ __forceinline__ float power(float, word32 bits) { return of_bits((bits << 23) + 0x3F800000u); }
__device__ __forceinline__ double power(double, word32 bits) {
  return of_bits((word64)((bits << 20) + 0x3FF00000u) << 32);
}

// ---- exp ----

// x = k ln 2 + r: exp(r) - 1, and k in the low bits of a word whose other bits do not matter: they are
// shifted out. (Of 1.5 2^fraction + k, which ends in k, half of what stands above is even.)
__device__ __forceinline__ float reduced_exp(float x, word32& k) {
  const float shifted = fma_(x, 1.4426950408889634f, 12582912.f), whole = shifted - 12582912.f;
  float r = fma_(whole, -0.693359375f, x);
  r = fma_(whole, 2.12194440e-4f, r);
  const float p = polynomial(r, 1.3814581847333646e-3f, 8.36872390638175e-3f, 4.1668388756584074e-2f,
                             1.6666520574021054e-1f, 4.999999344388448e-1f);
  k = bits_of(shifted);
  return fma_(p, r * r, r);
}
__device__ __forceinline__ double reduced_exp(double x, word32& k) {
  const double shifted = fma_(x, 1.4426950408889634, 6755399441055744.), whole = shifted - 6755399441055744.;
  double r = fma_(whole, -6.93147180369123816490e-01, x);
  r = fma_(whole, -1.90821492927058770002e-10, r);
  const double p = polynomial(r, 2.0953630970953113e-09, 2.5108908337511604e-08, 2.7557170774251895e-07,
                              2.7557244414467465e-06, 2.480158741672656e-05, 1.9841269886118731e-04,
                              1.3888888888853761e-03, 8.333333333321535e-03, 4.1666666666666690e-02,
                              1.6666666666666677e-01, 0.5);
  k = (word32)bits_of(shifted);
  return fma_(p, r * r, r);
}

// 2^k in two factors, so that denormal results round once.
template <class T> __device__ __forceinline__ T scaled_exp(T x) {
  word32 k;
  const T y = reduced_exp(x, k) + T(1);
  const word32 low = (word32)((int)k >> 1);
  return y * power(y, low) * power(y, k - low);
}
__device__ __forceinline__ float least_exp(float x) { return x < -104.f ? -104.f : x; }
__device__ __forceinline__ double least_exp(double x) { return x < -746. ? -746. : x; }
__device__ __forceinline__ float exp_(float x) { return scaled_exp(least_exp(x > 89.f ? 89.f : x)); }
__device__ __forceinline__ double exp_(double x) { return scaled_exp(least_exp(x > 710. ? 710. : x)); }

// Where k is not above 0, one of the factors may always be 2^-64: 2^(k + 64) is never too large.
template <class T> __device__ __forceinline__ T exp_below_0_(T x) {
  word32 k;
  const T y = reduced_exp(least_exp(x), k) + T(1);
  return y * power(y, k + 64) * T(0x1p-64);
}

// ---- log ----

// e ln 2 + log(1 + f)
__device__ __forceinline__ float log_of(float e, float f) {
  const float z = f * f;
  const float p = polynomial(f, 7.0376836292e-2f, -1.1514610310e-1f, 1.1676998740e-1f, -1.2420140846e-1f,
                             1.4249322787e-1f, -1.6668057665e-1f, 2.0000714765e-1f, -2.4999993993e-1f,
                             3.3333331174e-1f) * f * z;
  return fma_(e, 0.693359375f, f + fma_(-0.5f, z, fma_(e, -2.12194440e-4f, p)));
}
__device__ __forceinline__ double log_of(double e, double f) {
  const double s = f / (f + 2.), z = s * s, half = 0.5 * (f * f);
  const double r = polynomial(z, 1.479819860511658591e-01, 1.531383769920937332e-01, 1.818357216161805012e-01,
                              2.222219843214978396e-01, 2.857142874366239149e-01, 3.999999999940941908e-01,
                              6.666666666666735130e-01);
  const double small = fma_(e, 1.90821492927058770002e-10, s * fma_(r, z, half));
  return fma_(e, 6.93147180369123816490e-01, -((half - small) - f));
}
__device__ __forceinline__ float log_near_one_(float f) { return log_of(0.f, f); }
__device__ __forceinline__ double log_near_one_(double f) { return log_of(0., f); }

// x = 2^e m with m in [sqrt(1/2), sqrt 2). A number of the size of 2^fraction ends in the bits of
// e + bias when they are put there.
__device__ __forceinline__ float log_(float x) {
  const word32 bits = bits_of(x), above = bits - (0x3F3504F3u - 0x3F800000u);
  const float m = of_bits(bits - (above & 0xFF800000u) + 0x3F800000u);
  const float y = log_of(of_bits(above >> 23 | 0x4B000000u) - (8388608.f + 127.f), m - 1.f);
  return x != x ? x : y;
}
__device__ __forceinline__ double log_(double x) {
  const word64 bits = bits_of(x), above = bits - (0x3FE6A09E667F3BCDull - 0x3FF0000000000000ull);
  const double m = of_bits(bits - (above & 0xFFF0000000000000ull) + 0x3FF0000000000000ull);
  const double y = log_of(of_bits(above >> 52 | 0x4330000000000000ull) - (4503599627370496. + 1023.), m - 1.);
  return x != x ? x : y;
}

// ---- tanh ----

// h / (h + 1) with h = (exp(2 |x|) - 1) / 2 = 2^(k - 1) (exp(r) - 1) + (2^(k - 1) - 1/2): near 0 k is 0,
// and h has all its digits. Up to h = 1, what h + 1 and the division round off is put right to first
// order: 1 / (h + 1) is 1 - tanh. From |x| = 22 on h + 1 is h, and the result 1.
template <class T> __device__ __forceinline__ T tanh_of_size(T size) {
  const T twice = size + size;
  word32 k;
  const T less = reduced_exp(twice > T(44) ? T(44) : twice, k), two_k = power(less, k - 1);
  const T h = fma_(two_k, less, two_k - T(0.5)), whole = h + T(1), over = (whole - T(1)) - h;
  const T y = h / whole, left = fma_(y, over, fma_(-y, whole, h));
  return h > T(1) ? y : fma_(left, T(1) - y, y);
}
__device__ __forceinline__ float tanh_(float x) { return copysignf(tanh_of_size(fabsf(x)), x); }
__device__ __forceinline__ double tanh_(double x) { return copysign(tanh_of_size(fabs(x)), x); }

// ---- sine and cosine ----

__device__ __forceinline__ float sinpi_(float x) {
  const float z = x * x;
  const float p = polynomial(z, 0.08122957450924484f, -0.5992287960538701f, 2.5501635935099567f, -5.167712779178267f);
  return fma_(x, 3.1415927410125732f, x * fma_(z, p, -8.742277657347586e-8f));
}
__device__ __forceinline__ double sinpi_(double x) {
  const double z = x * x;
  const double p = polynomial(z, -2.1742067342478005e-05, 0.0004662879326147481, -0.0073704303122948235,
                              0.08214588659727676, -0.5992645293206478, 2.550164039877345, -5.16771278004997);
  return fma_(x, 3.141592653589793, x * fma_(z, p, 1.2246467991473532e-16));
}
__device__ __forceinline__ float cospi_(float x) {
  const float z = x * x;
  return fma_(z, polynomial(z, 0.23212541399123623f, -1.3351378139007979f, 4.058710565713736f, -4.934802197496877f), 1.f);
}
__device__ __forceinline__ double cospi_(double x) {
  const double z = x * x;
  const double p = polynomial(z, -0.00010370082971594627, 0.001929493874894941, -0.025806887964701878,
                              0.23533063028399223, -1.3352627688538095, 4.058712126416765, -4.934802200544679);
  return fma_(z, p, 1.);
}
