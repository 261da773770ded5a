// One kernel source for both devices. NVRTC compiles it for the GPU; g++ compiles it for the host through this header.
//
// A kernel is written as the work of one thread block: phases of independent items, with a barrier between phases.
// On the GPU the items of a phase are strided over the block's threads; on the host one thread runs the whole block
// and each phase is a plain loop that the compiler can vectorise. Both process the same numbers in the same order
// within an item, and both are compiled without fused multiply-add, so the results are bit-identical.
#pragma once

#ifdef __CUDACC__

typedef unsigned char uint8;
#define DEVICE __device__ __forceinline__
#define KERNEL extern "C" __global__ void
#define SHARED __shared__
#define BLOCK blockIdx.x
#define BARRIER() __syncthreads()
// Items (i, j) of [i0, i1) x [j0, j1), j fastest. The bounds must be the same in every thread of the block.
#define PARALLEL_FOR2(i, i0, i1, j, j0, j1)                                                                      \
    for (int item_ = threadIdx.x, i, j;                                                                          \
         item_ < ((i1) - (i0)) * ((j1) - (j0)) &&                                                                \
         (i = (i0) + item_ / ((j1) - (j0)), j = (j0) + item_ % ((j1) - (j0)), true); item_ += blockDim.x)
#define PARALLEL_FOR(i, n) for (int i = threadIdx.x; i < (n); i += blockDim.x)

#else

#include <cmath>
#include <cstddef>
#include <cstdint>

typedef uint8_t uint8;
static thread_local int block_index_;  // the block this host thread is working on
#define DEVICE static inline
#define KERNEL static void
#define SHARED alignas(64)
#define BLOCK block_index_
#define BARRIER()
#define PARALLEL_FOR2(i, i0, i1, j, j0, j1)                                                                      \
    for (int i = (i0); i < (i1); ++i) _Pragma("GCC ivdep") for (int j = (j0); j < (j1); ++j)
#define PARALLEL_FOR(i, n) _Pragma("GCC ivdep") for (int i = 0; i < (n); ++i)

// Run blocks 0 .. blocks-1 of a kernel, one after the other: there is a process for each core.
template <class Kernel>
static void run_blocks(int blocks, Kernel kernel) {
    for (block_index_ = 0; block_index_ < blocks; ++block_index_) kernel();
}

#endif
