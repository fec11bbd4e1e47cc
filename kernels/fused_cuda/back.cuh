// Tiles on the way back: gradients of weights, of activations, and a whole step.

// ---- back ----

// A round: each job of it adds the tile's samples to its 4 inputs x 4 units.
template <int S> __device__ __forceinline__ void add_weights(const Tile& t, int round, real (*sum)[4]) {
  using D = Shape<S>;
  const real* in = t.rows + first_row(S) * PITCH;
  const real* dz = t.rows + first_row(S + 1) * PITCH;
  const typename D::Weights job(round * D::AT_ONCE_W + threadIdx.x / D::SPLIT_W);
  const int i = job.column, o = job.row;
  if (!job.here) return;
#pragma unroll 1
  for (int quad = threadIdx.x % D::SPLIT_W; quad < QUADS; quad += D::SPLIT_W) {
    Four a[4], b[4];
#pragma unroll
    for (int k = 0; k < 4; k++) {
      a[k] = four(in + job_row<D::I, 4>(i, k) * PITCH + 4 * quad);
      b[k] = four(dz + job_row<D::O, 4>(o, k) * PITCH + 4 * quad);
    }
#pragma unroll
    for (int k = 0; k < 4; k++)
#pragma unroll
      for (int m = 0; m < 4; m++)
#pragma unroll
        for (int s = 0; s < 4; s++) sum[k][m] = fma_(a[k].v[s], b[m].v[s], sum[k][m]);
  }
}

// The same for a bias each.
template <int S> __device__ __forceinline__ void add_biases(const Tile& t, int round, real& sum) {
  using D = Shape<S>;
  const real* dz = t.rows + first_row(S + 1) * PITCH;
  const int o = round * D::AT_ONCE_D + threadIdx.x / D::SPLIT_D;
  if (o >= D::O) return;
#pragma unroll 1
  for (int quad = threadIdx.x % D::SPLIT_D; quad < QUADS; quad += D::SPLIT_D) {
    const Four b = four(dz + o * PITCH + 4 * quad);
    sum += (b.v[0] + b.v[1]) + (b.v[2] + b.v[3]);
  }
}

// Adds up what the lanes of a job have; the first of them takes it to the block's slot.
template <int S> __device__ __forceinline__ void store_weights(int round, real (*sum)[4], real* slot, bool first) {
  using D = Shape<S>;
  join<D::SPLIT_W>(sum);
  const typename D::Weights job(round * D::AT_ONCE_W + threadIdx.x / D::SPLIT_W);
  if (threadIdx.x % D::SPLIT_W || !job.here) return;
#pragma unroll
  for (int k = 0; k < 16; k++) {
    const int i = job.column + k / 4 * D::I4, o = job.row + k % 4 * D::O4;
    if (i >= D::I || o >= D::O) continue;
    real* to = slot + D::FIRST + i * D::O + o;
    *to = first ? sum[k / 4][k % 4] : *to + sum[k / 4][k % 4];
  }
}

template <int S> __device__ __forceinline__ void store_biases(int round, real sum, real* slot, bool first) {
  using D = Shape<S>;
  const real total = warp_reduce<Sum, D::SPLIT_D>(sum);
  const int o = round * D::AT_ONCE_D + threadIdx.x / D::SPLIT_D;
  if (threadIdx.x % D::SPLIT_D || o >= D::O) return;
  real* to = slot + D::FIRST + D::I * D::O + o;
  *to = first ? total : *to + total;
}

template <int S> __device__ __forceinline__ void add_sums(const Tile& t, Sums<S>& sums) {
#pragma unroll
  for (int round = 0; round < Shape<S>::ROUNDS_W; round++) add_weights<S>(t, round, sums.w[round]);
#pragma unroll
  for (int round = 0; round < Shape<S>::ROUNDS_D; round++) add_biases<S>(t, round, sums.b[round]);
}

template <int S> __device__ __forceinline__ void store_sums(Sums<S>& sums, real* slot) {
#pragma unroll
  for (int round = 0; round < Shape<S>::ROUNDS_W; round++) store_weights<S>(round, sums.w[round], slot, true);
#pragma unroll
  for (int round = 0; round < Shape<S>::ROUNDS_D; round++) store_biases<S>(round, sums.b[round], slot, true);
}

// A tile's sums straight to the slot, round by round: for more of them than registers.
template <int S> __device__ __forceinline__ void add_and_store(const Tile& t, real* slot) {
  const bool first = t.number == blockIdx.x;
#pragma unroll 1
  for (int round = 0; round < Shape<S>::ROUNDS_W; round++) {
    real sum[4][4];
#pragma unroll
    for (int k = 0; k < 16; k++) sum[k / 4][k % 4] = real(0);
    add_weights<S>(t, round, sum);
    store_weights<S>(round, sum, slot, first);
  }
#pragma unroll 1
  for (int round = 0; round < Shape<S>::ROUNDS_D; round++) {
    real sum = real(0);
    add_biases<S>(t, round, sum);
    store_biases<S>(round, sum, slot, first);
  }
}

// sum += w d^T for outputs o to o + N - 1, in this order: U inputs of a job by 4 samples.
template <int S, int N, int U>
__device__ __forceinline__ void add_outputs(const Tile& t, int first, int o, const real* dz, real (&sum)[U][4]) {
  Four w[U], d[N];
#pragma unroll
  for (int k = 0; k < U; k++) w[k] = weights_at<S, 4>(t, job_row<Shape<S>::I, U>(first, k), o);
#pragma unroll
  for (int m = 0; m < N; m++) d[m] = four(dz + (o + m) * PITCH);
#pragma unroll
  for (int m = 0; m < N; m++)
#pragma unroll
    for (int k = 0; k < U; k++)
#pragma unroll
      for (int s = 0; s < 4; s++) sum[k][s] = fma_(w[k].v[m], d[m].v[s], sum[k][s]);
}

// Gradients at stage S's inputs, through the activation and the dropout before it, to its inputs' place.
template <int S> __device__ __forceinline__ void dense_backward(const Arguments& a, const Tile& t) {
  using D = Shape<S>;
  constexpr int BEFORE = S - 1, KIND = activation(BEFORE), U = D::UNITS_B, REST = D::O % 4;
  constexpr bool MASKED = dropout(BEFORE);
  real* in = t.rows + first_row(S) * PITCH;
  const real* dz = t.rows + first_row(S + 1) * PITCH;
  real sum[D::ROUNDS_B][U][4];
#pragma unroll
  for (int round = 0; round < D::ROUNDS_B; round++) {
    const typename D::Back job(round * THREADS + threadIdx.x);
#pragma unroll
    for (int k = 0; k < 4 * U; k++) sum[round][k / 4][k % 4] = real(0);
    if (!job.here) continue;
#pragma unroll 1
    for (int o = 0; o + 4 <= D::O; o += 4) add_outputs<S, 4>(t, job.row, o, dz + 4 * job.column, sum[round]);
    if constexpr (REST > 0) add_outputs<S, REST>(t, job.row, D::O - REST, dz + 4 * job.column, sum[round]);
  }
  __syncthreads();  // all have read the activations, whose place the gradients take
  const real scale = a.settings[STAGE_SETTINGS + BEFORE * STAGE_SETTING_COUNT + SCALE];
  const real constant = constant_of<BEFORE>(a.settings);
#pragma unroll
  for (int round = 0; round < D::ROUNDS_B; round++) {
    const typename D::Back job(round * THREADS + threadIdx.x);
    if (!job.here) continue;
    const int quad = 4 * job.column;
#pragma unroll
    for (int k = 0; k < U; k++) {
      const int i = job.row + k * rows_apart<D::I, U>();
      if (i >= D::I) continue;
      Four* at = (Four*)(in + i * PITCH + quad);
      Four y = *at;
#pragma unroll
      for (int s = 0; s < 4; s++) {
        // What was dropped is 0 and passes nothing on; what was kept is `scale` times its value.
        const real value = y.v[s];
        const real before = MASKED && (KIND == SIGMOID || KIND == TANH) ? value / scale : value;
        y.v[s] = through<KIND>(sum[round][k][s], before, constant);
        if (MASKED && stops_at_zero<KIND>()) y.v[s] *= value == real(0) ? real(0) : scale;
      }
      *at = y;
    }
  }
  __syncthreads();
  if constexpr (MASKED && !stops_at_zero<KIND>()) {  // a kept 0 looks like a dropped value: the mask again
    drop<BEFORE>(a, t);
    __syncthreads();
  }
}

template <int S = STAGES - 1>
__device__ __forceinline__ void backward_tile(const Arguments& a, const Tile& t, AllSums<0>& sums,
                                              real* slot) {
  if constexpr (KEPT) {
    add_sums<S>(t, ((AllSums<S>&)sums).mine);
  } else {
    add_and_store<S>(t, slot);
  }
  if constexpr (S > 0) {
    dense_backward<S>(a, t);
    backward_tile<S - 1>(a, t, sums, slot);
  }
}

template <int S = 0> __device__ __forceinline__ void store_all(AllSums<0>& sums, real* slot) {
  if constexpr (S < STAGES) {
    store_sums<S>(((AllSums<S>&)sums).mine, slot);
    store_all<S + 1>(sums, slot);
  }
}

__device__ __forceinline__ void tiles_step(const Arguments& a, real* pool, real* scratch, int* flag) {
  Tile t;
  t.rows = pool, t.staged = pool + ROWS_SIZE, t.weights = a.parameters;
  if (STAGED) stage_all(a.parameters, pool + ROWS_SIZE);
  real* slot = a.partials + (index_t)blockIdx.x * SLOT;
  real loss = real(0), right = real(0), weights = real(0);
  AllSums<0> sums;
  if (KEPT) sums.clear();
  const index_t tiles = (a.rows + TILE - 1) / TILE;
  if (!KEPT && blockIdx.x >= tiles)
    for (int p = threadIdx.x; p < PARAMETERS; p += THREADS) slot[p] = real(0);
  for (t.number = blockIdx.x; t.number < tiles; t.number += gridDim.x) {
    t.first = t.number * TILE;
    t.here = a.rows - t.first < TILE ? (int)(a.rows - t.first) : TILE;
#pragma unroll 1
    for (int k = threadIdx.x; k < TILE * width(0); k += THREADS) {
      const int row = k / width(0), i = k % width(0);
      t.rows[i * PITCH + row] = row < t.here ? a.x[(a.first + t.first) * width(0) + k] : real(0);
    }
    __syncthreads();
    forward_tile(a, t);
    judge_tile(a, t, loss, right, weights);
    backward_tile(a, t, sums, slot);
    __syncthreads();
  }
  if constexpr (KEPT) store_all(sums, slot);
  loss = block_reduce<Sum, THREADS>(loss, scratch);
  right = block_reduce<Sum, THREADS>(right, scratch);
  if (WEIGHTS) weights = block_reduce<Sum, THREADS>(weights, scratch);
  if (threadIdx.x == 0) slot[PARAMETERS] = loss, slot[PARAMETERS + 1] = right;
  if (WEIGHTS && threadIdx.x == 0) slot[PARAMETERS + 2] = weights;
  __syncthreads();
  finish<true>(a, [=](int p) { return slot[p]; }, nullptr, scratch, flag);
}
