// Histograms of oriented gradients for shot change detection, and the differences between them.
//
// The features are VLFeat's UoCTTI HOG: cells of 8x8 pixels, 9 orientations, 31 numbers per cell (18 directed
// orientations, 9 undirected, 4 texture energies). hog_cells makes the histograms, hog_features normalises them;
// eruv_dali/shots/hog_numpy.py is the same in NumPy and easier to read. Everything is deterministic: each sum is
// computed by one thread in a fixed order, without atomics. Frames are (T, 3, H, W) RGB bytes, in planes: neighbours in
// memory are neighbours in the picture, which both devices need to be fast. H and W are multiples of 8.
#include "host.h"

enum {
    CELL = 8,
    ORIENTATIONS = 9,
    DIRECTIONS = 2 * ORIENTATIONS,
    FEATURES = 31,
    TILE_Y = 4,  // cells of one block, and the pixels they use: half a cell more on every side
    TILE_X = 8,
    ROWS = (TILE_Y + 1) * CELL,
    COLS = (TILE_X + 1) * CELL,
    STRIPS = ROWS * TILE_X,  // a strip: the pixels of one row that one cell uses
    REACH = 2 * CELL,
    GROUP = 32,          // cells of one hog_features block
    PADDED = GROUP + 1,  // puts the threads of a warp into different banks of shared memory
    LANES = 256,         // partial sums of a mean; threads of the blocks that compute one
};

// Weight of a pixel in a cell, `offset` 0..15 from the first pixel that the cell uses: bilinear between cell centres.
DEVICE float share(int offset) { return (offset < CELL ? 2 * offset + 1 : 2 * (REACH - offset) - 1) * (1.0f / REACH); }

// Orientation histograms of a tile of TILE_Y x TILE_X cells; one block per tile.
//   frames (T,3,H,W) -> histogram (T,18,H/8*W/8), energy (T,H/8*W/8) = squared norm of the undirected histogram
KERNEL hog_cells(const uint8 *frames, int height, int width, float *histogram, float *energy) {
    SHARED float magnitude[ROWS * COLS];
    SHARED uint8 direction[ROWS * COLS];
    SHARED float strip[DIRECTIONS * STRIPS];  // [direction][row][cell]
    SHARED float cell[DIRECTIONS * TILE_Y * TILE_X];

    const int cells_y = height / CELL, cells_x = width / CELL, cells = cells_y * cells_x;
    const int tiles_x = (cells_x + TILE_X - 1) / TILE_X, tiles = (cells_y + TILE_Y - 1) / TILE_Y * tiles_x;
    const int frame = BLOCK / tiles, tile = BLOCK % tiles;
    const int cell_y = tile / tiles_x * TILE_Y, cell_x = tile % tiles_x * TILE_X;
    const int top = cell_y * CELL - CELL / 2, edge = cell_x * CELL - CELL / 2;  // pixel of magnitude[0]
    const int plane = height * width;
    const uint8 *image = frames + (size_t)frame * plane * 3;

    PARALLEL_FOR(i, ROWS * COLS) magnitude[i] = 0, direction[i] = 0;
    PARALLEL_FOR(i, DIRECTIONS * STRIPS) strip[i] = 0;
    BARRIER();

    // Gradients of the colour channel where they are largest. The border pixels of the image have none.
    const int row0 = top < 1 ? 1 - top : 0, row1 = top + ROWS < height - 1 ? ROWS : height - 1 - top;
    const int col0 = edge < 1 ? 1 - edge : 0, col1 = edge + COLS < width - 1 ? COLS : width - 1 - edge;
    PARALLEL_FOR2(r, row0, row1, c, col0, col1) {
        const uint8 *red = image + (top + r) * width + edge + c, *green = red + plane, *blue = green + plane;
        int dx = red[1] - red[-1], dy = red[width] - red[-width], largest = dx * dx + dy * dy;
        int gx = green[1] - green[-1], gy = green[width] - green[-width], square = gx * gx + gy * gy;
        dx = square > largest ? gx : dx, dy = square > largest ? gy : dy, largest = square > largest ? square : largest;
        gx = blue[1] - blue[-1], gy = blue[width] - blue[-width], square = gx * gx + gy * gy;
        dx = square > largest ? gx : dx, dy = square > largest ? gy : dy, largest = square > largest ? square : largest;
        // The nearest of 18 directions, 20 degrees apart. A boundary at 10, 30, 50 or 70 degrees is the tangent in
        // 16-bit fixed point; no quotient of two bytes lies between it and the exact one, so rounding never matters.
        // A vertical gradient is equally near to 80 and 100 degrees and is assigned to 80 (as in VLFeat).
        const int ax = dx < 0 ? -dx : dx, ay = (dy < 0 ? -dy : dy) << 16;
        const int step = (ay > ax * 11556) + (ay > ax * 37837) + (ay > ax * 78103) + (ay > ax * 180059);
        const int down = dy < 0, left = dx < down;  // straight down counts as left
        int bin = ORIENTATIONS * left + DIRECTIONS * (down & (left ^ 1)) + (down == left ? step : -step);
        bin -= bin == DIRECTIONS ? DIRECTIONS : 0;
        magnitude[r * COLS + c] = sqrtf((float)largest);
        direction[r * COLS + c] = (uint8)bin;
    }
    BARRIER();

    // Each row's sum in each cell (horizontal weights), then each cell's sum over its rows (vertical weights). Neighbours
    // often have the same direction: with the cells as the inner loop, a host need not wait for the last addition. A strip
    // stays with one thread, so that no barrier is needed.
    for (int c = 0; c < REACH; ++c) {
        PARALLEL_FOR2(r, 0, ROWS, x, 0, TILE_X) {
            const int pixel = r * COLS + x * CELL + c;
            strip[direction[pixel] * STRIPS + r * TILE_X + x] += magnitude[pixel] * share(c);
        }
    }
    BARRIER();
    PARALLEL_FOR2(row, 0, DIRECTIONS * TILE_Y, x, 0, TILE_X) {
        const float *from = strip + row / TILE_Y * STRIPS + row % TILE_Y * CELL * TILE_X + x;
        float sum = 0;
        for (int r = 0; r < REACH; ++r) sum += from[r * TILE_X] * share(r);
        cell[row * TILE_X + x] = sum;
    }
    BARRIER();

    const int tile_y = cells_y - cell_y < TILE_Y ? cells_y - cell_y : TILE_Y;
    const int tile_x = cells_x - cell_x < TILE_X ? cells_x - cell_x : TILE_X;
    const int first = cell_y * cells_x + cell_x;
    float *out = histogram + (size_t)frame * DIRECTIONS * cells + first;
    PARALLEL_FOR2(row, 0, DIRECTIONS * tile_y, x, 0, tile_x) {
        const int bin = row / tile_y, y = row % tile_y;
        out[bin * cells + y * cells_x + x] = cell[(bin * TILE_Y + y) * TILE_X + x];
    }
    PARALLEL_FOR2(y, 0, tile_y, x, 0, tile_x) {
        float sum = 0;
        for (int k = 0; k < ORIENTATIONS; ++k) {
            const float both = cell[(k * TILE_Y + y) * TILE_X + x] +
                               cell[((k + ORIENTATIONS) * TILE_Y + y) * TILE_X + x];
            sum += both * both;
        }
        energy[(size_t)frame * cells + first + y * cells_x + x] = sum;
    }
}

// Not fminf: its NaN handling keeps the host compiler from vectorising.
DEVICE float at_most(float limit, float x) { return x < limit ? x : limit; }

// A histogram entry scaled by each of the four blocks, clipped, and summed.
DEVICE float clipped(float x, const float *scale) {
    return (at_most(0.2f, x * scale[0]) + at_most(0.2f, x * scale[GROUP])) +
           (at_most(0.2f, x * scale[2 * GROUP]) + at_most(0.2f, x * scale[3 * GROUP]));
}

// Normalise each cell by the four 2x2 blocks it belongs to, clip at 0.2; one block per GROUP cells of a frame.
//   histogram (T,18,cells), energy (T,cells) -> features (T,cells,31)
// epsilon, squared, is added to the energy of a 2x2 block: 0 is VLFeat's HOG, more keeps grain from looking like edges.
KERNEL hog_features(const float *histogram, const float *energy, int cells_y, int cells_x, float epsilon,
                    float *features) {
    SHARED float scale[4 * GROUP];
    SHARED float cell[FEATURES * PADDED];
    const int cells = cells_y * cells_x, groups = (cells + GROUP - 1) / GROUP;
    const int frame = BLOCK / groups, first = BLOCK % groups * GROUP;
    const int count = cells - first < GROUP ? cells - first : GROUP;
    energy += (size_t)frame * cells;
    histogram += (size_t)frame * DIRECTIONS * cells + first;
    features += ((size_t)frame * cells + first) * FEATURES;

    PARALLEL_FOR2(corner, 0, 4, i, 0, count) {  // corners: above left, above right, below left, below right
        const int y = (first + i) / cells_x, x = (first + i) % cells_x;
        int up = y - 1 + corner / 2, down = up + 1, near = x - 1 + corner % 2, far = near + 1;
        up = up < 0 ? 0 : up, near = near < 0 ? 0 : near;  // at the border of the image a cell counts twice
        down = down < cells_y ? down : cells_y - 1, far = far < cells_x ? far : cells_x - 1;
        const float sum = (energy[up * cells_x + near] + energy[up * cells_x + far]) +
                          (energy[down * cells_x + near] + energy[down * cells_x + far]);
        scale[corner * GROUP + i] = 1.0f / fmaxf(sqrtf(sum + epsilon * epsilon), 1e-10f);
    }
    BARRIER();

    PARALLEL_FOR2(k, 0, DIRECTIONS, i, 0, count)
        cell[k * PADDED + i] = 0.5f * clipped(histogram[k * cells + i], scale + i);
    PARALLEL_FOR2(k, 0, ORIENTATIONS, i, 0, count) {
        const float both = histogram[k * cells + i] + histogram[(k + ORIENTATIONS) * cells + i];
        cell[(DIRECTIONS + k) * PADDED + i] = 0.5f * clipped(both, scale + i);
    }
    PARALLEL_FOR2(corner, 0, 4, i, 0, count) {
        float sum = 0;
        for (int k = 0; k < ORIENTATIONS; ++k) {
            const float both = histogram[k * cells + i] + histogram[(k + ORIENTATIONS) * cells + i];
            sum += at_most(0.2f, both * scale[corner * GROUP + i]);
        }
        cell[(DIRECTIONS + ORIENTATIONS + corner) * PADDED + i] = 0.23570226f * sum;  // 1 / sqrt(18)
    }
    BARRIER();
    PARALLEL_FOR2(i, 0, count, k, 0, FEATURES) features[i * FEATURES + k] = cell[k * PADDED + i];
}

// Mean |x[t + lag] - x[t]| over the n numbers of a frame; one block per frame t.   x (T,n) -> out (T - lag)
KERNEL lag_difference(const float *x, int n, int lag, float *out) {
    SHARED float partial[LANES];
    const float *a = x + (size_t)BLOCK * n, *b = a + (size_t)lag * n;
    PARALLEL_FOR(lane, LANES) partial[lane] = 0;
    for (int base = 0; base < n; base += LANES)  // a lane belongs to one thread: no barrier is needed here
        PARALLEL_FOR(lane, (n - base < LANES ? n - base : LANES))
            partial[lane] += fabsf(b[base + lane] - a[base + lane]);
    for (int half = LANES / 2; half > 0; half /= 2) {
        BARRIER();
        PARALLEL_FOR(lane, half) partial[lane] += partial[lane + half];
    }
    BARRIER();
    PARALLEL_FOR(lane, 1) out[BLOCK] = partial[0] / n;
}

// Mean of frames t .. t + window - 1; one block per frame t.   x (T,n) -> out (T - window + 1, n)
KERNEL window_mean(const float *x, int n, int window, float *out) {
    const float *from = x + (size_t)BLOCK * n;
    float *to = out + (size_t)BLOCK * n;
    const float scale = 1.0f / window;
    for (int base = 0; base < n; base += LANES) {  // so many at a time: the sums stay in the host's nearest cache
        const int count = n - base < LANES ? n - base : LANES;
        PARALLEL_FOR(i, count) to[base + i] = from[base + i];
        for (int t = 1; t < window; ++t)
            PARALLEL_FOR(i, count) to[base + i] += from[(size_t)t * n + base + i];
        PARALLEL_FOR(i, count) to[base + i] *= scale;
    }
}

// Mean |Y[t + 1] - Y[t]| in grey levels, Y the Rec. 601 luminance; one block per pair.
//   frames (T,3,pixels) -> out (T-1)
KERNEL luminance_difference(const uint8 *frames, int pixels, float *out) {
    SHARED unsigned int partial[LANES];  // integers: exact, up to 16 million pixels per frame
    const uint8 *a = frames + (size_t)BLOCK * pixels * 3, *b = a + (size_t)pixels * 3;
    PARALLEL_FOR(lane, LANES) partial[lane] = 0;
    for (int base = 0; base < pixels; base += LANES)
        PARALLEL_FOR(lane, (pixels - base < LANES ? pixels - base : LANES)) {
            const uint8 *p = a + base + lane, *q = b + base + lane;
            const int before = (77 * p[0] + 150 * p[pixels] + 29 * p[2 * pixels]) >> 8;
            const int after = (77 * q[0] + 150 * q[pixels] + 29 * q[2 * pixels]) >> 8;
            partial[lane] += before < after ? after - before : before - after;
        }
    for (int half = LANES / 2; half > 0; half /= 2) {
        BARRIER();
        PARALLEL_FOR(lane, half) partial[lane] += partial[lane + half];
    }
    BARRIER();
    PARALLEL_FOR(lane, 1) out[BLOCK] = (float)partial[0] / pixels;
}

#ifndef __CUDACC__  // entries for ctypes: the number of blocks, then the kernel's own arguments
extern "C" {
void host_hog_cells(int blocks, const uint8 *frames, int height, int width, float *histogram,
                    float *energy) {
    run_blocks(blocks, [=] { hog_cells(frames, height, width, histogram, energy); });
}
void host_hog_features(int blocks, const float *histogram, const float *energy, int cells_y, int cells_x,
                       float epsilon, float *features) {
    run_blocks(blocks, [=] { hog_features(histogram, energy, cells_y, cells_x, epsilon, features); });
}
void host_lag_difference(int blocks, const float *x, int n, int lag, float *out) {
    run_blocks(blocks, [=] { lag_difference(x, n, lag, out); });
}
void host_window_mean(int blocks, const float *x, int n, int window, float *out) {
    run_blocks(blocks, [=] { window_mean(x, n, window, out); });
}
void host_luminance_difference(int blocks, const uint8 *frames, int pixels, float *out) {
    run_blocks(blocks, [=] { luminance_difference(frames, pixels, out); });
}
}
#endif
