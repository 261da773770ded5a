// The clip_transform operator as DALI sees it: arguments, checks, and the list of frames to write. The backends
// (clip_transform.cc, clip_transform.cu) only process that list.
#pragma once

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
        layout_(spec.GetArgument<std::string>("layout")), dtype_(spec.GetArgument<std::string>("dtype")) {
    format_.crop = spec.GetArgument<int>("crop");
    if (format_.crop < 1) fail("crop (", format_.crop, ") must be at least 1");
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
    const bool gather = sequence_ && index_.HasExplicitValue();
    if (gather) index_.Acquire(spec, ws, samples);

    tasks_.clear();
    length_ = 1;
    const int crop = format_.crop;
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

      const auto *pixels = static_cast<const uint8_t *>(frames.raw_tensor(sample));
      for (int t = 0; t < length; t++) {
        const int64_t frame = gather ? index_[sample].data[t] : t;
        if (frame < 0 || frame >= count)
          fail("frame index ", frame, " of sample ", sample, " is outside its span of ", count, " frames");
        tasks_.push_back(turned_square(pixels + frame * height * width * kChannels, width * kChannels, top, left, crop,
                                       turns));
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

  // Points every task at its position in the output, which is allocated only now, and names the output's axes.
  void place(dali::Workspace &ws) {
    auto &output = ws.Output<Backend>(0);
    std::string layout = layout_;
    for (char &axis : layout)
      if (axis == 'T') axis = 'F';  // DALI's letter for frames
    output.SetLayout(dali::TensorLayout(layout));
    const int64_t frame_bytes = time_stride_ * (dtype_ == "float32" ? 4 : 2);
    for (size_t k = 0; k < tasks_.size(); k++)
      tasks_[k].output = static_cast<char *>(output.raw_mutable_tensor(k / length_)) + k % length_ * frame_bytes;
  }

  template <typename... Parts>
  [[noreturn]] static void fail(const Parts &...parts) {
    throw dali::DaliValueError(dali::make_string("clip_transform: ", parts...));
  }

  const std::string &dtype() const { return dtype_; }

  std::vector<FrameTask> tasks_;  // one per output frame, sample by sample
  Format format_ = {};

 private:
  void check_layout() const {
    const bool known = sequence_ ? layout_ == "THWC" || layout_ == "TCHW" : layout_ == "HWC" || layout_ == "CHW";
    if (!known)
      fail("layout (", layout_, ") must be ", sequence_ ? "THWC or TCHW for clips" : "HWC or CHW for single frames");
  }

  void set_strides() {
    const int64_t crop = format_.crop, plane = crop * crop;
    const bool channels_last = layout_.back() == 'C';
    format_.column_stride = channels_last ? kChannels : 1;
    format_.row_stride = crop * format_.column_stride;
    format_.channel_stride = channels_last ? 1 : plane;
    time_stride_ = kChannels * plane;
  }

  dali::ArgValue<int, 1> index_, crop_pos_;
  dali::ArgValue<int> rotation_;
  std::string layout_, dtype_;
  bool sequence_ = false;
  int length_ = 1;            // frames of a clip
  int64_t time_stride_ = 0;   // output elements
};

}  // namespace eruv
