// The arithmetic of the clip_transform operator, once, for both of its backends.
//
// A clip's frames are gathered, cropped, mirrored, rotated, coloured, normalised, cast and laid out in one pass over the
// bytes. All of the geometry (which frame, which corner, mirrored or not, which quarter turn) reduces to where the first
// pixel of an output square is read and how far away its neighbours down and to the right are: a `Task`. The square is
// a whole frame, or, if a clip of the batch has its quarters permuted, a quarter of one. The rest is the same for the
// whole batch, except for the matrix of colours.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#ifdef __CUDACC__
#define ERUV_HOST_DEVICE __host__ __device__ inline
#else
#define ERUV_HOST_DEVICE inline
#endif

namespace eruv {

constexpr int kChannels = 3;
constexpr int kColor = 12;  // numbers in a matrix of colours: 3x4, row by row

// Bit patterns of the 16-bit outputs; distinct types so that `encode` overloads on them.
struct Float16 {
  uint16_t bits;
};
struct BFloat16 {
  uint16_t bits;
};

// One output square: output pixel (i, j) is read at source[i * down + j * right].
struct Task {
  const uint8_t *source;
  void *output;
  int64_t down, right;  // bytes
  const float *color;   // the matrix of `recolor`, or null: colours as they are
};

// What all squares of the batch share. Strides are in output elements.
struct Format {
  int side;  // of a square, pixels
  int64_t row_stride, column_stride, channel_stride;
  float scale[kChannels], shift[kChannels];
};

// The square of `side` pixels at (top, left) of an (H, W, 3) frame, first mirrored left to right if `flip`, then
// rotated as by np.rot90(square, turns).
ERUV_HOST_DEVICE Task turned_square(const uint8_t *frame, int64_t row_bytes, int top, int left, int side, bool flip,
                                    int turns) {
  const int64_t row = row_bytes, column = flip ? -kChannels : kChannels;
  const uint8_t *first = frame + top * row_bytes + (flip ? left + side - 1 : left) * kChannels;
  const int64_t last_row = (side - 1) * row, last_column = (side - 1) * column;
  switch (turns) {
    case 1: return {first + last_column, nullptr, -column, row, nullptr};
    case 2: return {first + last_row + last_column, nullptr, -row, -column, nullptr};
    case 3: return {first + last_row, nullptr, column, -row, nullptr};
    default: return {first, nullptr, row, column, nullptr};
  }
}

// Where quarter `quarter` (0 top left, 1 top right, 2 bottom left, 3 bottom right) of a square is after np.rot90(square,
// turns).
ERUV_HOST_DEVICE int turned_quarter(int quarter, int turns) {
  for (; turns > 0; turns--) quarter = (1 - quarter % 2) * 2 + quarter / 2;
  return quarter;
}

// One channel of matrix · (R, G, B, 1), clipped to 0..255, from the matrix's row for it; the row's last number is on that
// scale too. Without rounding where the matrix only copies a channel. Never NaN: that is clipped to 0.
ERUV_HOST_DEVICE float recolor(float red, float green, float blue, const float *row) {
  const float x = fmaf(row[0], red, fmaf(row[1], green, fmaf(row[2], blue, row[3])));
  const float positive = x > 0 ? x : 0;
  return positive < 255 ? positive : 255;
}

// (x / 255 - mean) / std, with scale = 1 / (255 std) and shift = -mean / std. One rounding, the same on both devices.
ERUV_HOST_DEVICE float normalise(float x, float scale, float shift) { return fmaf(x, scale, shift); }

ERUV_HOST_DEVICE uint32_t float_bits(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

ERUV_HOST_DEVICE void encode(float x, float &out) { out = x; }

// Round to nearest, ties to even. `normalise` never returns NaN, so there is no check for it.
ERUV_HOST_DEVICE void encode(float x, BFloat16 &out) {
  const uint32_t bits = float_bits(x);
  out.bits = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
}

// Round to nearest, ties to even, without a branch so that compilers vectorise it. Below 2^-14 float16 is a fixed-point
// number of 2^-24: adding 0.5, whose last bit has exactly that value, makes the adder do the rounding.
ERUV_HOST_DEVICE void encode(float x, Float16 &out) {
  const uint32_t bits = float_bits(x), sign = (bits >> 16) & 0x8000, size = bits & 0x7fffffff;
  const uint32_t normal = (size - (112u << 23) + 0xfff + ((size >> 13) & 1)) >> 13;
  const uint32_t small = float_bits(fabsf(x) + 0.5f) - float_bits(0.5f);
  const uint32_t finite = size < (113u << 23) ? small : normal;
  out.bits = sign | (size >= 0x477ff000 ? 0x7c00 : finite);
}

// ---- The CUDA kernel's two halves. A block moves a tile of kTile x kTile output pixels through shared memory, so that
// both the bytes read (rows of the source) and the elements written (rows of the output) are contiguous, for any
// rotation. They are plain functions of the thread's number: a CPU test runs them thread by thread.

constexpr int kTile = 32;
constexpr int kTilePitch = kTile * kChannels + 4;  // an odd number of words: columns fall into different banks

ERUV_HOST_DEVICE void load_tile(const Task &task, int side, int top, int left, int thread, int threads,
                                uint8_t *tile) {
  const bool upright = task.right == kChannels || task.right == -kChannels;
  for (int k = thread; k < kTile * kTile * kChannels; k += threads) {
    const int slow = k / (kTile * kChannels), fast = k / kChannels % kTile, c = k % kChannels;
    const int i = upright ? slow : fast, j = upright ? fast : slow;
    if (top + i < side && left + j < side)
      tile[i * kTilePitch + j * kChannels + c] = task.source[(top + i) * task.down + (left + j) * task.right + c];
  }
}

template <typename Out>
ERUV_HOST_DEVICE void store_tile(const Task &task, const Format &format, int top, int left, int thread, int threads,
                                 const uint8_t *tile) {
  const bool channels_last = format.channel_stride == 1;
  Out *output = static_cast<Out *>(task.output);
  for (int k = thread; k < kTile * kTile * kChannels; k += threads) {
    const int c = channels_last ? k % kChannels : k / (kTile * kTile);
    const int pixel = channels_last ? k / kChannels : k % (kTile * kTile);
    const int i = pixel / kTile, j = pixel % kTile;
    if (top + i < format.side && left + j < format.side) {
      const uint8_t *pixel_in = tile + i * kTilePitch + j * kChannels;
      const float x =
          task.color ? recolor(pixel_in[0], pixel_in[1], pixel_in[2], task.color + 4 * c) : pixel_in[c];
      encode(normalise(x, format.scale[c], format.shift[c]),
             output[(top + i) * format.row_stride + (left + j) * format.column_stride + c * format.channel_stride]);
    }
  }
}

}  // namespace eruv
