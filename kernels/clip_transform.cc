// CPU backend of fn.eruv.clip_transform, and the operator's schema.
//
// The squares of the batch, regardless of their samples, are distributed evenly over DALI's thread pool. A square is
// processed row by row: an upright row is read in place, a mirrored or rotated one is first gathered; colours are
// changed where that is asked for; then one vectorised loop converts the row.

#include <algorithm>

#include "clip_transform_op.h"

namespace eruv {

class ClipTransformCPU : public ClipTransformOp<dali::CPUBackend> {
 public:
  using ClipTransformOp::ClipTransformOp;

 protected:
  void RunImpl(dali::Workspace &ws) override {
    place(ws, colors_.data());
    if (dtype() == "float32") return run<float>(ws);
    if (dtype() == "float16") return run<Float16>(ws);
    run<BFloat16>(ws);
  }

 private:
  template <typename Out>
  void run(dali::Workspace &ws) {
    // Scale and shift repeated along a row of interleaved channels, so that the row is one plain loop.
    const int row_length = format_.side * kChannels;
    scale_row_.resize(row_length);
    shift_row_.resize(row_length);
    for (int x = 0; x < row_length; x++) {
      scale_row_[x] = format_.scale[x % kChannels];
      shift_row_[x] = format_.shift[x % kChannels];
    }

    auto &pool = ws.GetThreadPool();
    const int64_t squares = tasks_.size(), shares = std::min<int64_t>(squares, 4 * pool.NumThreads());
    for (int64_t share = 0; share < shares; share++)
      pool.AddWork([=, this](int) {
        std::vector<uint8_t> collected(row_length);
        std::vector<float> colored(row_length);
        for (int64_t k = squares * share / shares; k < squares * (share + 1) / shares; k++)
          write_square<Out>(tasks_[k], collected.data(), colored.data());
      });
    pool.RunAll();
  }

  template <typename Out>
  void write_square(const Task &task, uint8_t *collected, float *colored) const {
    const int side = format_.side;
    for (int i = 0; i < side; i++) {
      const uint8_t *row = task.source + i * task.down;
      if (task.right != kChannels) {
        collect(row, task.right, side, collected);
        row = collected;
      }
      Out *out = static_cast<Out *>(task.output) + i * format_.row_stride;
      if (task.color) {
        color(row, task.color, side, colored);
        write_row(colored, out);
      } else {
        write_row(row, out);
      }
    }
  }

  template <typename In, typename Out>
  void write_row(const In *row, Out *out) const {
    if (format_.channel_stride == 1)
      write_interleaved(row, out);
    else
      write_planes(row, out);
  }

  static void collect(const uint8_t *__restrict pixel, int64_t step, int count, uint8_t *__restrict row) {
    for (int j = 0; j < count; j++, pixel += step, row += kChannels) memcpy(row, pixel, kChannels);
  }

  static void color(const uint8_t *__restrict pixel, const float *__restrict matrix, int count, float *__restrict row) {
    for (int j = 0; j < count; j++, pixel += kChannels, row += kChannels)
      for (int c = 0; c < kChannels; c++) row[c] = recolor(pixel, matrix, c);
  }

  template <typename In, typename Out>
  void write_interleaved(const In *__restrict row, Out *__restrict out) const {
    const float *__restrict scale = scale_row_.data(), *__restrict shift = shift_row_.data();
    const int row_length = format_.side * kChannels;
    for (int x = 0; x < row_length; x++) encode(normalise(row[x], scale[x], shift[x]), out[x]);
  }

  template <typename In, typename Out>
  void write_planes(const In *__restrict row, Out *__restrict out) const {
    const int side = format_.side;
    for (int c = 0; c < kChannels; c++) {
      const float scale = format_.scale[c], shift = format_.shift[c];
      Out *__restrict plane = out + c * format_.channel_stride;
      for (int j = 0; j < side; j++) encode(normalise(row[j * kChannels + c], scale, shift), plane[j]);
    }
  }

  std::vector<float> scale_row_, shift_row_;
};

}  // namespace eruv

DALI_SCHEMA(eruv__ClipTransform)
    .DocStr("Gathers, crops, mirrors, permutes the quarters of, rotates, colours, normalises, casts and lays out frames "
            "of clips in one pass over the bytes.\n\n"
            "out = (color(np.rot90(tiles(flip(crop)), rotation / 90) / 255) - mean) / std, for each frame of `index`, "
            "in its order.")
    .NumInput(1)
    .NumOutput(1)
    .InputLayout(0, {"FHWC", "HWC"})
    .AddOptionalArg<std::vector<int>>("index", "Frames to take, in the order shown; all of them if absent.", nullptr, true)
    .AddArg("crop_pos", "Top and left of the crop, in pixels.", DALI_INT_VEC, true)
    .AddOptionalArg("rotation", "Degrees counter-clockwise, a multiple of 90.", 0, true)
    .AddOptionalArg("flip", "Whether the crop is mirrored left to right.", 0, true)
    .AddOptionalArg<std::vector<int>>("tiles", "Which quarter of the crop, 0 to 3, is shown top left, top right, bottom "
                                      "left and bottom right; as they are if absent.", nullptr, true)
    .AddOptionalArg<std::vector<float>>("color", "3x4 matrix, row by row: out = matrix · (R, G, B, 1) on the scale of 0 "
                                        "to 1, clipped to it; as it is if absent.", nullptr, true)
    .AddArg("crop", "Side of the square crop, in pixels.", DALI_INT32)
    .AddOptionalArg("dtype", "float32, float16, or bfloat16 (as bits in int16).", "float32")
    .AddOptionalArg("mean", "Per channel, on the scale of 0 to 1.", std::vector<float>{0, 0, 0})
    .AddOptionalArg("std", "Per channel, on the scale of 0 to 1.", std::vector<float>{1, 1, 1})
    .AddOptionalArg("layout", "THWC or TCHW for clips; HWC or CHW for single frames.", "THWC");

DALI_REGISTER_OPERATOR(eruv__ClipTransform, eruv::ClipTransformCPU, dali::CPU);
