// The CUDA kernel of clip_transform, independent of DALI, so that NVRTC can also compile it.
#pragma once

#include "clip_transform.h"

namespace eruv {

constexpr int kThreads = 256;

template <typename Out>
__global__ void __launch_bounds__(kThreads)
clip_transform_kernel(const Task *tasks, const __grid_constant__ Format format) {  // indexed in place
  __shared__ uint8_t tile[kTile * kTilePitch];
  const Task task = tasks[blockIdx.x];  // x, the axis without a practical limit, counts the squares
  const int top = blockIdx.z * kTile, left = blockIdx.y * kTile;
  load_tile(task, format.side, top, left, threadIdx.x, kThreads, tile);
  __syncthreads();
  store_tile<Out>(task, format, top, left, threadIdx.x, kThreads, tile);
}

}  // namespace eruv
