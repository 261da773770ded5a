// CUDA backend of fn.eruv.clip_transform: one launch for the whole batch, a block per tile of an output square.

#include "clip_transform_kernel.h"
#include "clip_transform_op.h"
#include "dali/core/cuda_error.h"
#include "dali/kernels/dynamic_scratchpad.h"

namespace eruv {

class ClipTransformGPU : public ClipTransformOp<dali::GPUBackend> {
 public:
  using ClipTransformOp::ClipTransformOp;

 protected:
  void RunImpl(dali::Workspace &ws) override {
    if (tasks_.empty()) return;
    dali::kernels::DynamicScratchpad scratch(ws.stream());  // its memory is freed in stream order
    place(ws, colors_.empty() ? nullptr : scratch.ToGPU(ws.stream(), colors_));
    const Task *tasks = scratch.ToGPU(ws.stream(), tasks_);
    if (dtype() == "float32") return launch<float>(tasks, ws.stream());
    if (dtype() == "float16") return launch<Float16>(tasks, ws.stream());
    launch<BFloat16>(tasks, ws.stream());
  }

 private:
  template <typename Out>
  void launch(const Task *tasks, cudaStream_t stream) {
    const unsigned tiles = (format_.side + kTile - 1) / kTile;
    clip_transform_kernel<Out><<<dim3(tasks_.size(), tiles, tiles), kThreads, 0, stream>>>(tasks, format_);
    CUDA_CALL(cudaGetLastError());
  }
};

}  // namespace eruv

// The schema is in the CPU backend's library, which is loaded before this one; DALI's macro asks for this symbol only
// so that a static linker keeps the schema.
int DALI_OPERATOR_SCHEMA_REQUIRED_FOR_eruv__ClipTransform() { return 0; }

DALI_REGISTER_OPERATOR(eruv__ClipTransform, eruv::ClipTransformGPU, dali::GPU);
