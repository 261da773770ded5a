// The clip_transform operator as DALI sees it: arguments, checks, and the list of squares to write. The backends
// (clip_transform.cc, clip_transform.cu) only process that list.
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "clip_transform.h"
#include "dali/pipeline/operator/arg_helper.h"
#include "dali/pipeline/operator/error_reporting.h"
#include "dali/pipeline/operator/operator.h"

namespace eruv {

template <typename Backend>
class ClipTransformOp : public dali::Operator<Backend> {
 public:
  explicit ClipTransformOp(const dali::OpSpec &spec)
      : dali::Operator<Backend>(spec), index_("index", spec), crop_pos_("crop_pos", spec), rotation_("rotation", spec),
        flip_("flip", spec), tiles_("tiles", spec), color_("color", spec), layout_(spec.GetArgument<std::string>("layout")), dtype_(spec.GetArgument<std::string>("dtype")) {
    crop_ = spec.GetArgument<int>("crop");
    if (crop_ < 1) fail("crop (", crop_, ") must be at least 1");
    if (dtype_ != "float32" && dtype_ != "float16" && dtype_ != "bfloat16")
      fail("dtype (", dtype_, ") must be float32, float16 or bfloat16");
    const auto mean = spec.GetRepeatedArgument<float>("mean"), std = spec.GetRepeatedArgument<float>("std");
    if (mean.size() != kChannels || std.size() != kChannels) fail("mean and std must have 3 numbers each");
    for (int c = 0; c < kChannels; c++) {
      if (!(std[c] > 0)) fail("std (", std[c], ") must be positive");
      format_.scale[c] = static_cast<float>(1 / (255. * std[c]));
      format_.shift[c] = static_cast<float>(-static_cast<double>(mean[c]) / std[c]);
    }
  }

 protected:
  bool SetupImpl(std::vector<dali::OutputDesc> &outputs, const dali::Workspace &ws) override {
    const auto &frames = ws.Input<Backend>(0);
    const int samples = frames.num_samples();
    sequence_ = frames.sample_dim() == 4;
    check_layout();
    if (frames.type() != DALI_UINT8) fail("frames are of type ", frames.type(), "; they must be uint8");

    const auto &spec = this->GetSpec();
    crop_pos_.Acquire(spec, ws, samples, dali::TensorShape<1>{2});
    rotation_.Acquire(spec, ws, samples);
    flip_.Acquire(spec, ws, samples);
    const bool gather = sequence_ && index_.HasExplicitValue();
    if (gather) index_.Acquire(spec, ws, samples);
    const bool tile = find_tiles(ws, samples);
    find_colors(ws, samples);

    tasks_.clear();
    length_ = 1;
    const int crop = crop_;
    format_.side = tile ? crop / 2 : crop;
    for (int sample = 0; sample < samples; sample++) {
      const auto shape = frames.tensor_shape(sample);
      const int64_t count = sequence_ ? shape[0] : 1, height = shape[sequence_], width = shape[sequence_ + 1];
      if (shape[sequence_ + 2] != kChannels) fail("frames have ", shape[sequence_ + 2], " channels; they must have 3");

      const int length = gather ? index_[sample].shape[0] : count;
      if (sample == 0) length_ = length;
      if (length != length_)
        fail("clips of a batch must be equally long: sample ", sample, " has ", length, " frames, sample 0 has ", length_);

      const int top = crop_pos_[sample].data[0], left = crop_pos_[sample].data[1];
      if (top < 0 || left < 0 || top + int64_t{crop} > height || left + int64_t{crop} > width)
        fail("crop of ", crop, "x", crop, " at top ", top, ", left ", left, " leaves the ", height, "x", width,
             " frame of sample ", sample);
      const int rotation = *rotation_[sample].data;
      if (rotation % 90 != 0) fail("rotation (", rotation, ") of sample ", sample, " must be a multiple of 90 degrees");
      const int turns = (rotation / 90 % 4 + 4) % 4;
      const bool flip = *flip_[sample].data != 0;

      const auto *pixels = static_cast<const uint8_t *>(frames.raw_tensor(sample));
      for (int t = 0; t < length; t++) {
        const int64_t frame = gather ? index_[sample].data[t] : t;
        if (frame < 0 || frame >= count)
          fail("frame index ", frame, " of sample ", sample, " is outside its span of ", count, " frames");
        const uint8_t *picture = pixels + frame * height * width * kChannels;
        const int64_t row_bytes = width * kChannels;
        if (!tile) {
          tasks_.push_back(turned_square(picture, row_bytes, top, left, crop, flip, turns));
          continue;
        }
        // A square for each quarter of the output. It shows quarter `shown` of the mirrored crop, which is the mirrored
        // quarter on the other side of the crop.
        for (int quarter = 0; quarter < 4; quarter++) {
          const int shown = tiles_[sample].data[turned_quarter(quarter, (4 - turns) % 4)];
          const int side = format_.side, column = flip ? 1 - shown % 2 : shown % 2;
          tasks_.push_back(turned_square(picture, row_bytes, top + shown / 2 * side, left + column * side, side, flip,
                                         turns));
        }
      }
    }

    set_strides();
    dali::TensorShape<> shape;
    shape.resize(layout_.size());
    for (size_t axis = 0; axis < layout_.size(); axis++)
      shape[axis] = layout_[axis] == 'T' ? length_ : layout_[axis] == 'C' ? kChannels : crop;
    outputs.resize(1);
    outputs[0].shape = dali::uniform_list_shape(samples, shape);
    // DALI has no bfloat16: its bits are passed as int16.
    outputs[0].type = dtype_ == "float32" ? DALI_FLOAT : dtype_ == "float16" ? DALI_FLOAT16 : DALI_INT16;
    return true;
  }

  // Points every task at its position in the output, which is allocated only now, and at its matrix in `colors`, which
  // holds what `colors_` holds, on the backend's device; names the output's axes.
  void place(dali::Workspace &ws, const float *colors) {
    auto &output = ws.Output<Backend>(0);
    std::string layout = layout_;
    for (char &axis : layout)
      if (axis == 'T') axis = 'F';  // DALI's letter for frames
    output.SetLayout(dali::TensorLayout(layout));
    const int64_t element_bytes = dtype_ == "float32" ? 4 : 2, side = format_.side;
    const int squares = side == crop_ ? 1 : 4;  // of a frame
    for (size_t k = 0; k < tasks_.size(); k++) {
      const int64_t quarter = k % squares, frame = k / squares % length_, sample = k / squares / length_;
      const int64_t row = quarter / 2 * side, column = quarter % 2 * side;
      const int64_t element = frame * time_stride_ + row * format_.row_stride + column * format_.column_stride;
      tasks_[k].output = static_cast<char *>(output.raw_mutable_tensor(sample)) + element * element_bytes;
      if (!colors_.empty() && color_of_[sample] >= 0) tasks_[k].color = colors + color_of_[sample] * kColor;
    }
  }

  template <typename... Parts>
  [[noreturn]] static void fail(const Parts &...parts) {
    throw dali::DaliValueError(dali::make_string("clip_transform: ", parts...));
  }

  const std::string &dtype() const { return dtype_; }

  std::vector<Task> tasks_;    // one per output frame, or one per quarter of it, sample by sample
  std::vector<float> colors_;  // the matrices, kColor numbers each, of the samples whose colours change
  Format format_ = {};

 private:
  // Reads and checks `tiles`. Whether a sample of the batch has its quarters permuted: then all are cut into quarters.
  bool find_tiles(const dali::Workspace &ws, int samples) {
    if (!tiles_.HasExplicitValue()) return false;
    tiles_.Acquire(this->GetSpec(), ws, samples, dali::TensorShape<1>{4});
    bool moved = false;
    for (int sample = 0; sample < samples; sample++)
      for (int quarter = 0; quarter < 4; quarter++) {
        const int shown = tiles_[sample].data[quarter];
        if (shown < 0 || shown > 3) fail("tile ", shown, " of sample ", sample, " must be one of 0 to 3");
        moved |= shown != quarter;
      }
    if (moved && crop_ % 2) fail("crop (", crop_, ") must be even to be cut into quarters");
    return moved;
  }

  // Reads and checks `color`; keeps the matrices that change colours, their last column on the scale of 0 to 255.
  void find_colors(const dali::Workspace &ws, int samples) {
    static constexpr float kSame[kColor] = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0};
    colors_.clear();
    if (!color_.HasExplicitValue()) return;
    color_.Acquire(this->GetSpec(), ws, samples, dali::TensorShape<1>{kColor});
    color_of_.assign(samples, -1);
    for (int sample = 0; sample < samples; sample++) {
      const float *matrix = color_[sample].data;
      bool same = true;
      for (int k = 0; k < kColor; k++) {
        if (!std::isfinite(matrix[k])) fail("color (", matrix[k], ") of sample ", sample, " must be a finite number");
        same &= matrix[k] == kSame[k];
      }
      if (same) continue;
      color_of_[sample] = colors_.size() / kColor;
      for (int k = 0; k < kColor; k++) colors_.push_back(k % 4 == 3 ? matrix[k] * 255 : matrix[k]);
    }
  }

  void check_layout() const {
    const bool known = sequence_ ? layout_ == "THWC" || layout_ == "TCHW" : layout_ == "HWC" || layout_ == "CHW";
    if (!known)
      fail("layout (", layout_, ") must be ", sequence_ ? "THWC or TCHW for clips" : "HWC or CHW for single frames");
  }

  void set_strides() {
    const int64_t crop = crop_, plane = crop * crop;
    const bool channels_last = layout_.back() == 'C';
    format_.column_stride = channels_last ? kChannels : 1;
    format_.row_stride = crop * format_.column_stride;
    format_.channel_stride = channels_last ? 1 : plane;
    time_stride_ = kChannels * plane;
  }

  dali::ArgValue<int, 1> index_, crop_pos_;
  dali::ArgValue<int> rotation_, flip_;
  dali::ArgValue<int, 1> tiles_;
  dali::ArgValue<float, 1> color_;
  std::string layout_, dtype_;
  bool sequence_ = false;
  int crop_ = 1;              // side of an output frame, pixels
  int length_ = 1;            // frames of a clip
  std::vector<int> color_of_; // each sample's matrix in `colors_`; -1: colours as they are
  int64_t time_stride_ = 0;   // output elements
};

}  // namespace eruv
