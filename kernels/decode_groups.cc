// Decode a run of H.264 packets of a video pack and write the wanted pictures as RGB, in one call from Python, which
// holds no interpreter lock meanwhile. libavcodec is the one that PyAV brings; its functions are handed over as
// pointers, because no headers come with it. Of its structures only the beginnings are used, which have been the same
// from version 59 to 62.

#include "yuv420.cc"

namespace {

// The beginnings of AVPacket and AVFrame (libavcodec/packet.h, libavutil/frame.h).
struct Packet {
  void *buffer;
  int64_t pts, dts;
  uint8_t *data;
  int size;
};
struct Frame {
  uint8_t *data[8];
  int line_size[8];
  uint8_t **extended_data;
  int width, height;
  int samples, format;
};

constexpr int kYuv420p = 0, kH264 = 27;  // AV_PIX_FMT_YUV420P, AV_CODEC_ID_H264

}  // namespace

extern "C" {

struct Libavcodec {
  const void *(*find_decoder)(int);
  void *(*alloc_context)(const void *);
  int (*open)(void *, const void *, void *);
  void (*free_context)(void **);
  void (*flush)(void *);
  int (*send_packet)(void *, const Packet *);
  int (*receive_frame)(void *, Frame *);
  Packet *(*packet_alloc)();
  void (*packet_free)(Packet **);
  Frame *(*frame_alloc)();
  void (*frame_free)(Frame **);
};

struct Decoder {
  Libavcodec libav;
  void *context;
  Packet *packet;
  Frame *frame;
};

void close_decoder(Decoder *decoder) {
  if (!decoder) return;
  const Libavcodec &libav = decoder->libav;
  if (decoder->frame) libav.frame_free(&decoder->frame);
  if (decoder->packet) libav.packet_free(&decoder->packet);
  if (decoder->context) libav.free_context(&decoder->context);
  delete decoder;
}

// A decoder, or null. It decodes on the calling thread.
Decoder *open_decoder(const Libavcodec *libav) {
  const void *codec = libav->find_decoder(kH264);
  auto *decoder = new Decoder{*libav, codec ? libav->alloc_context(codec) : nullptr, libav->packet_alloc(),
                              libav->frame_alloc()};
  if (!decoder->context || !decoder->packet || !decoder->frame || libav->open(decoder->context, codec, nullptr) < 0) {
    close_decoder(decoder);
    return nullptr;
  }
  return decoder;
}

// Decodes `packets` packets, packet n being the bytes from offsets[n] to offsets[n + 1] of `data`. Picture n goes to the
// places uses[first_use[n]] to uses[first_use[n + 1] - 1]: each is the number of a place of (rows, columns, 3) bytes in
// `out`, and its picture begins at (tops, lefts) of that place. Returns how many packets gave their picture.
int decode_groups(Decoder *decoder, const uint8_t *data, const int64_t *offsets, int packets, const int64_t *first_use,
                  const int64_t *uses, const int64_t *tops, const int64_t *lefts, int rows, int columns, int height,
                  int width, uint8_t *const *out) {
  const Libavcodec &libav = decoder->libav;
  libav.flush(decoder->context);
  Packet &packet = *decoder->packet;
  Frame &frame = *decoder->frame;
  for (int n = 0; n < packets; n++) {
    packet.data = const_cast<uint8_t *>(data) + offsets[n];
    packet.size = offsets[n + 1] - offsets[n];
    // The packet owns no buffer, so libavcodec copies it, with the zeros that decoders read beyond the end.
    const int sent = libav.send_packet(decoder->context, &packet);
    packet.data = nullptr;
    packet.size = 0;
    if (sent < 0 || libav.receive_frame(decoder->context, &frame) < 0) return n;
    if (frame.format != kYuv420p || frame.width != width || frame.height != height) return n;
    for (int64_t use = first_use[n]; use < first_use[n + 1]; use++) {
      yuv420_rectangle(frame.data[0], frame.data[1], frame.data[2], frame.line_size[0], frame.line_size[1], height,
                       width, tops[use], lefts[use], rows, columns, out[uses[use]]);
    }
  }
  return packets;
}

}  // extern "C"
