// CPU backend of fn.eruv.clip_transform, and the operator's schema.
//
// The squares of the batch, regardless of their samples, are distributed evenly over DALI's thread pool. A square is
// processed row by row. An upright row whose colours stay as they are is read in place: one vectorised loop converts it.
// The pixels of any other row are first collected, one in each word of 32 bits, whatever way they lie in the frame: from
// there on the same vectorised loops serve every rotation, and a channel is a shift away.
//
// A finished row goes to memory past the caches: a batch is larger than they are, and a line that is written in the
// usual way is read from memory first, so that as much is read as is written.

#ifdef __SSE2__
#include <emmintrin.h>
#endif

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
        std::vector<uint32_t> pixels(format_.side);
        std::vector<Out> finished(format_.side * kChannels);
        for (int64_t k = squares * share / shares; k < squares * (share + 1) / shares; k++)
          write_square(tasks_[k], pixels.data(), finished.data());
#ifdef __SSE2__
        _mm_sfence();  // whoever is told that the work is done sees what was stored past the caches
#endif
      });
    pool.RunAll();
  }

  // `pixels` and `finished` have room for a row, and stay in the cache.
  template <typename Out>
  void write_square(const Task &task, uint32_t *pixels, Out *finished) const {
    const bool interleaved = format_.channel_stride == 1, in_place = task.right == kChannels && !task.color;
    const int side = format_.side;
    for (int i = 0; i < side; i++) {
      const uint8_t *row = task.source + i * task.down;
      Out *out = static_cast<Out *>(task.output) + i * format_.row_stride;
      if (in_place && interleaved) {
        write_bytes(row, finished);
      } else {
        collect(row, task.right, side, task.down > 0, pixels);
        if (interleaved)
          task.color ? write_interleaved<true>(pixels, task.color, finished)
                     : write_interleaved<false>(pixels, nullptr, finished);
        else
          task.color ? write_planes<true>(pixels, task.color, finished) : write_planes<false>(pixels, nullptr, finished);
      }
      if (interleaved)
        store(finished, side * kChannels, out);
      else
        for (int c = 0; c < kChannels; c++) store(finished + c * side, side, out + c * format_.channel_stride);
    }
  }

  // Past the caches if all of it is aligned, which it is but for odd sizes of crops.
  template <typename Out>
  static void store(const Out *__restrict finished, int count, Out *__restrict out) {
    const size_t bytes = count * sizeof *out;
#ifdef __SSE2__
    if ((reinterpret_cast<uintptr_t>(out) | bytes) % sizeof(__m128i) == 0) {
      const auto *from = reinterpret_cast<const __m128i *>(finished);
      auto *to = reinterpret_cast<__m128i *>(out);
      for (size_t k = 0; k < bytes / sizeof *to; k++) _mm_stream_si128(to + k, _mm_loadu_si128(from + k));
      return;
    }
#endif
    memcpy(out, finished, bytes);
  }

  // `count` pixels, `step` bytes apart, each into a word whose low three bytes are red, green and blue (DALI runs on
  // little-endian machines alone); the fourth is whatever follows the pixel. Nothing need follow the pixel at the
  // highest address, which may be the last one of the frames: it is copied by itself. A mirrored row is read forwards
  // where the next row lies further on (`ascending`): memory that is not in the cache is fetched ahead in one direction.
  static void collect(const uint8_t *__restrict pixel, int64_t step, int count, bool ascending,
                      uint32_t *__restrict pixels) {
    const int highest = step < 0 ? 0 : count - 1, first = step < 0 ? 1 : 0, end = first + count - 1;
    pixels[highest] = 0;
    memcpy(pixels + highest, pixel + highest * step, kChannels);
    if ((step > 0) == ascending)
      for (int j = first; j < end; j++) memcpy(pixels + j, pixel + j * step, sizeof *pixels);
    else
      for (int j = end - 1; j >= first; j--) memcpy(pixels + j, pixel + j * step, sizeof *pixels);
  }

  static float channel(uint32_t pixel, int c) { return static_cast<int>(pixel >> 8 * c & 255); }

  template <bool colored>
  static float shown(uint32_t pixel, const float *matrix, int c) {
    if constexpr (!colored) return channel(pixel, c);
    return recolor(channel(pixel, 0), channel(pixel, 1), channel(pixel, 2), matrix + 4 * c);
  }

  template <typename Out>
  void write_bytes(const uint8_t *__restrict row, Out *__restrict out) const {
    const float *__restrict scale = scale_row_.data(), *__restrict shift = shift_row_.data();
    const int row_length = format_.side * kChannels;
    for (int x = 0; x < row_length; x++) encode(normalise(row[x], scale[x], shift[x]), out[x]);
  }

  template <bool colored, typename Out>
  void write_interleaved(const uint32_t *__restrict pixels, const float *__restrict matrix, Out *__restrict out) const {
    const Format format = format_;  // a copy, which `out` cannot overlap
    for (int j = 0; j < format.side; j++)
      for (int c = 0; c < kChannels; c++)
        encode(normalise(shown<colored>(pixels[j], matrix, c), format.scale[c], format.shift[c]),
               out[j * kChannels + c]);
  }

  template <bool colored, typename Out>
  void write_planes(const uint32_t *__restrict pixels, const float *__restrict matrix, Out *__restrict out) const {
    const int side = format_.side;
    for (int c = 0; c < kChannels; c++) {
      const float scale = format_.scale[c], shift = format_.shift[c];
      Out *__restrict plane = out + c * side;
      for (int j = 0; j < side; j++) encode(normalise(shown<colored>(pixels[j], matrix, c), scale, shift), plane[j]);
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
