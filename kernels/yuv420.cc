// A rectangle of a YCbCr 4:2:0 picture as RGB, and the way back: BT.601, 8 bits, limited range. Called from Python
// through ctypes.
//
// A colour sample stands for 2x2 pixels. Down the picture it lies half-way between its two rows; across, on its left
// pixel (MPEG-2's siting, which x264 writes and swscale reads). Colour is interpolated linearly to each pixel, in whole
// eighths, so that the result is the same on every machine; swscale's accurate conversion differs by 1 here and there.

#include <algorithm>
#include <cstdint>
#include <vector>

namespace {

// 65536 times the coefficients of BT.601 with luma 16..235 and colour 16..240.
constexpr int kLuma = 76309, kRedFromV = 104597, kGreenFromU = 25675, kGreenFromV = 53279, kBlueFromU = 132201;
constexpr int kFromRed = 16829, kFromGreen = 33039, kFromBlue = 6416;  // to luma
constexpr int kEighths = 8, kShift = 19, kHalf = 1 << (kShift - 1);  // 65536 * 8 = 2^19
constexpr int kGrey = 128;

uint8_t to_byte(int x) { return x < 0 ? 0 : x > 255 ? 255 : x; }

// One row of colour, less grey, in eighths, at `2 * pairs` pixels. `near` and `far` are the rows of samples around it,
// the first three times as close; `inside` is how many samples follow the first one. `mix` holds pairs + 1 numbers.
void colour_row(const uint8_t *__restrict near, const uint8_t *__restrict far, int pairs, int inside,
                int *__restrict mix, int *__restrict colour) {
  inside = std::min(pairs, inside);
  for (int k = 0; k <= inside; k++) mix[k] = 3 * near[k] + far[k] - 4 * kGrey;
  for (int k = inside + 1; k <= pairs; k++) mix[k] = mix[inside];
  for (int k = 0; k < pairs; k++) {
    colour[2 * k] = 2 * mix[k];
    colour[2 * k + 1] = mix[k] + mix[k + 1];
  }
}

}  // namespace

// y (height, y_stride); u, v (height / 2, c_stride), width / 2 samples in each row; out (rows, columns, 3).
extern "C" void yuv420_rectangle(const uint8_t *y, const uint8_t *u, const uint8_t *v, int64_t y_stride,
                                 int64_t c_stride, int height, int width, int top, int left, int rows, int columns,
                                 uint8_t *__restrict out) {
  const int first = left / 2, skip = left % 2, pairs = (left + columns + 1) / 2 - first;
  const int last_row = height / 2 - 1, inside = width / 2 - 1 - first;
  std::vector<int> scratch(5 * (pairs + 1));
  int *mix = scratch.data(), *us = mix + pairs + 1, *vs = us + 2 * pairs;
  for (int i = 0; i < rows; i++) {
    const int row = top + i;
    const int64_t near = (row / 2) * c_stride + first;
    const int64_t far = std::clamp(row % 2 ? row / 2 + 1 : row / 2 - 1, 0, last_row) * c_stride + first;
    colour_row(u + near, u + far, pairs, inside, mix, us);
    colour_row(v + near, v + far, pairs, inside, mix, vs);
    const uint8_t *__restrict luma = y + row * y_stride + left;
    const int *__restrict cu = us + skip, *__restrict cv = vs + skip;
    uint8_t *__restrict pixel = out + int64_t{i} * columns * 3;
    for (int j = 0; j < columns; j++) {
      const int light = (luma[j] - 16) * (kLuma * kEighths) + kHalf;
      pixel[3 * j] = to_byte((light + kRedFromV * cv[j]) >> kShift);
      pixel[3 * j + 1] = to_byte((light - kGreenFromU * cu[j] - kGreenFromV * cv[j]) >> kShift);
      pixel[3 * j + 2] = to_byte((light + kBlueFromU * cu[j]) >> kShift);
    }
  }
}

// rgb (rows, columns, 3) into a picture of at least that size, (height, width), both even: its last row and column are
// repeated to fill the rest. A colour sample is the mean over its two rows of a 1-2-1 filter around its left pixel.
extern "C" void yuv420_from_rgb(const uint8_t *rgb, int rows, int columns, uint8_t *y, uint8_t *u, uint8_t *v,
                                int64_t y_stride, int64_t c_stride, int height, int width) {
  // Two rows at a time, padded by one pixel on the left and to the full width on the right.
  std::vector<uint8_t> padded(2 * (width + 1) * 3);
  std::vector<int> sums(width * 3);
  for (int i = 0; i < height; i += 2) {
    for (int half = 0; half < 2; half++) {
      const uint8_t *__restrict row = rgb + int64_t{std::min(i + half, rows - 1)} * columns * 3;
      uint8_t *__restrict line = padded.data() + half * (width + 1) * 3;
      for (int c = 0; c < 3; c++) line[c] = row[c];
      for (int x = 0; x < 3 * columns; x++) line[3 + x] = row[x];
      for (int x = 3 * columns; x < 3 * width; x++) line[3 + x] = row[3 * (columns - 1) + x % 3];
      uint8_t *__restrict luma = y + (i + half) * y_stride;
      for (int j = 0; j < width; j++) {
        const uint8_t *p = line + 3 + 3 * j;
        luma[j] = (kFromRed * p[0] + kFromGreen * p[1] + kFromBlue * p[2] + (16 << 16) + (1 << 15)) >> 16;
      }
    }
    const uint8_t *__restrict a = padded.data(), *__restrict b = a + (width + 1) * 3;
    int *__restrict sum = sums.data();
    for (int x = 0; x < 3 * width; x++) sum[x] = a[3 + x] + b[3 + x];
    uint8_t *__restrict us = u + (i / 2) * c_stride, *__restrict vs = v + (i / 2) * c_stride;
    for (int k = 0; k < width / 2; k++) {
      int mean[3];  // in eighths
      for (int c = 0; c < 3; c++) {
        const int before = k ? sum[3 * (2 * k - 1) + c] : a[c] + b[c];
        mean[c] = before + 2 * sum[6 * k + c] + sum[6 * k + 3 + c];
      }
      const int grey = (kGrey << kShift) + kHalf;
      us[k] = (grey - 9714 * mean[0] - 19070 * mean[1] + 28784 * mean[2]) >> kShift;
      vs[k] = (grey + 28784 * mean[0] - 24103 * mean[1] - 4681 * mean[2]) >> kShift;
    }
  }
}
