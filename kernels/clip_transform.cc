// CPU backend of fn.eruv.clip_transform, and the operator's schema.
//
// The frames of the batch, regardless of their samples, are distributed evenly over DALI's thread pool. A frame is
// processed row by row: an upright row is read in place, a rotated one is first gathered, then one vectorised loop
// converts it.

#include <algorithm>

#include "clip_transform_op.h"

namespace eruv {

class ClipTransformCPU : public ClipTransformOp<dali::CPUBackend> {
 public:
  using ClipTransformOp::ClipTransformOp;

 protected:
  void RunImpl(dali::Workspace &ws) override {
    place(ws);
    if (dtype() == "float32") return run<float>(ws);
    if (dtype() == "float16") return run<Float16>(ws);
    run<BFloat16>(ws);
  }

 private:
  template <typename Out>
  void run(dali::Workspace &ws) {
    // Scale and shift repeated along a row of interleaved channels, so that the row is one plain loop.
    const int row_length = format_.crop * kChannels;
    scale_row_.resize(row_length);
    shift_row_.resize(row_length);
    for (int x = 0; x < row_length; x++) {
      scale_row_[x] = format_.scale[x % kChannels];
      shift_row_[x] = format_.shift[x % kChannels];
    }

    auto &pool = ws.GetThreadPool();
    const int64_t frames = tasks_.size(), shares = std::min<int64_t>(frames, 4 * pool.NumThreads());
    for (int64_t share = 0; share < shares; share++)
      pool.AddWork([=, this](int) {
        std::vector<uint8_t> collected(row_length);
        for (int64_t k = frames * share / shares; k < frames * (share + 1) / shares; k++)
          write_frame<Out>(tasks_[k], collected.data());
      });
    pool.RunAll();
  }

  template <typename Out>
  void write_frame(const FrameTask &task, uint8_t *collected) const {
    const int crop = format_.crop;
    for (int i = 0; i < crop; i++) {
      const uint8_t *row = task.source + i * task.down;
      if (task.right != kChannels) {
        collect(row, task.right, crop, collected);
        row = collected;
      }
      Out *out = static_cast<Out *>(task.output) + i * format_.row_stride;
      if (format_.channel_stride == 1)
        write_interleaved(row, out);
      else
        write_planes(row, out);
    }
  }

  static void collect(const uint8_t *__restrict pixel, int64_t step, int count, uint8_t *__restrict row) {
    for (int j = 0; j < count; j++, pixel += step, row += kChannels) memcpy(row, pixel, kChannels);
  }

  template <typename Out>
  void write_interleaved(const uint8_t *__restrict row, Out *__restrict out) const {
    const float *__restrict scale = scale_row_.data(), *__restrict shift = shift_row_.data();
    const int row_length = format_.crop * kChannels;
    for (int x = 0; x < row_length; x++) encode(normalise(row[x], scale[x], shift[x]), out[x]);
  }

  template <typename Out>
  void write_planes(const uint8_t *__restrict row, Out *__restrict out) const {
    const int crop = format_.crop;
    for (int c = 0; c < kChannels; c++) {
      const float scale = format_.scale[c], shift = format_.shift[c];
      Out *__restrict plane = out + c * format_.channel_stride;
      for (int j = 0; j < crop; j++) encode(normalise(row[j * kChannels + c], scale, shift), plane[j]);
    }
  }

  std::vector<float> scale_row_, shift_row_;
};

}  // namespace eruv

DALI_SCHEMA(eruv__ClipTransform)
    .DocStr("Gathers, crops, rotates, normalises, casts and lays out frames of clips in one pass over the bytes.\n\n"
            "out = (x / 255 - mean) / std of np.rot90(crop, rotation / 90), for each frame of `index`, in its order.")
    .NumInput(1)
    .NumOutput(1)
    .InputLayout(0, {"FHWC", "HWC"})
    .AddOptionalArg<std::vector<int>>("index", "Frames to take, in the order shown; all of them if absent.", nullptr, true)
    .AddArg("crop_pos", "Top and left of the crop, in pixels.", DALI_INT_VEC, true)
    .AddOptionalArg("rotation", "Degrees counter-clockwise, a multiple of 90.", 0, true)
    .AddArg("crop", "Side of the square crop, in pixels.", DALI_INT32)
    .AddOptionalArg("dtype", "float32, float16, or bfloat16 (as bits in int16).", "float32")
    .AddOptionalArg("mean", "Per channel, on the scale of 0 to 1.", std::vector<float>{0, 0, 0})
    .AddOptionalArg("std", "Per channel, on the scale of 0 to 1.", std::vector<float>{1, 1, 1})
    .AddOptionalArg("layout", "THWC or TCHW for clips; HWC or CHW for single frames.", "THWC");

DALI_REGISTER_OPERATOR(eruv__ClipTransform, eruv::ClipTransformCPU, dali::CPU);
