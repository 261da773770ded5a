// How many pictures a second NVDEC decodes, with nothing of ours or DALI's around it: the limit for raw_nvdec.py.
//
// Each thread has one decoder, which it keeps from clip to clip, and a parser of its own. Wanted pictures are mapped (so
// that decoding is waited for, and the picture is ready for use) and unmapped at once; nothing is copied.
//
// libcuda and libnvcuvid are opened at run time, and what is used of their interfaces is declared here, so that this
// builds with g++ alone, on a machine without either. Names and meanings: NVIDIA's Video Codec SDK, NVDECODE API.
#include <dlfcn.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <thread>
#include <vector>

namespace {

// The structures below as they lie in memory on 64-bit Linux; only the fields that are used have names.
struct Format {  // CUVIDEOFORMAT
    int codec, frame_rate[2];
    unsigned char progressive, depth_luma, depth_chroma, least_surfaces;  // depths less 8
    unsigned coded_width, coded_height;
    int left, top, right, bottom;  // shown
    int chroma;  // 1: 4:2:0
    unsigned char rest[64];
};
struct Shown {  // CUVIDPARSERDISPINFO
    int picture, progressive, top_first, repeat;
    long long time;
};
struct Picture {  // CUVIDPICPARAMS
    int width_in_blocks, height_in_blocks, surface;
};
struct Packet {  // CUVIDSOURCEDATAPACKET
    unsigned long flags, size;
    const unsigned char* data;
    long long time;
};
enum { END_OF_STREAM = 1, HAS_TIME = 2, WHOLE_PICTURE = 8 };
struct ParserSettings {  // CUVIDPARSERPARAMS
    int codec;
    unsigned surfaces, clock_rate, error_threshold, display_delay, bits, reserved[4];
    void* user;
    int (*sequence)(void*, Format*);
    int (*decode)(void*, Picture*);
    int (*display)(void*, Shown*);
    void* unused[7];
    void* extended_format;
};
struct DecoderSettings {  // CUVIDDECODECREATEINFO
    unsigned long width, height, surfaces;
    int codec, chroma;
    unsigned long flags, depth, intra_only, most_width, most_height, reserved1;
    short shown[4];
    int output_format, deinterlace;
    unsigned long target_width, target_height, output_surfaces;
    void* lock;
    short target[4];
    unsigned long histogram, reserved2[4];
};
struct MapSettings {  // CUVIDPROCPARAMS
    int progressive, second_field, top_first, unpaired;
    unsigned char rest[264 - 16];
};
struct Caps {  // CUVIDDECODECAPS
    int codec, chroma;
    unsigned depth, reserved1[3];
    unsigned char supported, engines;
    unsigned short output_formats;
    unsigned most_width, most_height, most_blocks;
    unsigned short least_width, least_height;
    unsigned char rest[4 + 40];
};
static_assert(sizeof(Shown) == 24 && sizeof(Packet) == 32 && sizeof(ParserSettings) == 136 &&
              sizeof(DecoderSettings) == 176 && sizeof(MapSettings) == 264 && sizeof(Caps) == 88 &&
              offsetof(Format, coded_width) == 16 && offsetof(Format, chroma) == 40 &&
              offsetof(ParserSettings, user) == 40 && offsetof(DecoderSettings, output_format) == 88,
              "not the layout of NVIDIA's structures");

using Handle = void*;

struct Driver {
    int (*init)(unsigned);
    int (*device)(int*, int);
    int (*retain)(Handle*, int);
    int (*set_current)(Handle);
    int (*caps)(Caps*);
    int (*create)(Handle*, DecoderSettings*);
    int (*destroy)(Handle);
    int (*decode)(Handle, Picture*);
    int (*map)(Handle, int, unsigned long long*, unsigned*, MapSettings*);
    int (*unmap)(Handle, unsigned long long);
    int (*create_parser)(Handle*, ParserSettings*);
    int (*parse)(Handle, Packet*);
    int (*destroy_parser)(Handle);
};

// Fills `driver`; false, with the reason in `reason`, if a library or a function is missing.
bool open_driver(Driver& driver, char* reason, int size) {
    struct Name { const char* name; void** place; };
    const auto load = [&](const char* library, std::initializer_list<Name> names) {
        void* opened = dlopen(library, RTLD_NOW | RTLD_GLOBAL);
        if (!opened) {
            snprintf(reason, size, "%s cannot be loaded (%s)", library, dlerror());
            return false;
        }
        for (const Name& wanted : names)
            if (!(*wanted.place = dlsym(opened, wanted.name))) {
                snprintf(reason, size, "%s has no %s", library, wanted.name);
                return false;
            }
        return true;
    };
    const auto at = [](auto& function) { return reinterpret_cast<void**>(&function); };
    return load("libcuda.so.1", {{"cuInit", at(driver.init)}, {"cuDeviceGet", at(driver.device)},
                                 {"cuDevicePrimaryCtxRetain", at(driver.retain)},
                                 {"cuCtxSetCurrent", at(driver.set_current)}}) &&
           load("libnvcuvid.so.1", {{"cuvidGetDecoderCaps", at(driver.caps)}, {"cuvidCreateDecoder", at(driver.create)},
                                    {"cuvidDestroyDecoder", at(driver.destroy)},
                                    {"cuvidDecodePicture", at(driver.decode)}, {"cuvidMapVideoFrame64", at(driver.map)},
                                    {"cuvidUnmapVideoFrame64", at(driver.unmap)},
                                    {"cuvidCreateVideoParser", at(driver.create_parser)},
                                    {"cuvidParseVideoData", at(driver.parse)},
                                    {"cuvidDestroyVideoParser", at(driver.destroy_parser)}});
}

struct Clips {  // all of one codec and size
    int codec, count;
    const unsigned char* data;
    const long long* packets;  // where each begins in data, and where the last one ends
    const long long* first;    // number of each clip's first packet, and the number of packets
    const unsigned char* wanted;  // for each packet: is the picture shown at that place in its clip wanted?
};

struct Failure {
    std::mutex lock;
    char* text;
    int size;
    std::atomic<bool> any{false};

    void say(const char* what, int code) {
        std::lock_guard<std::mutex> held(lock);
        if (!any) snprintf(text, size, "%s: error %d", what, code);
        any = true;
    }
};

class Worker {
public:
    Worker(const Driver& driver, const Clips& clips, Failure& failure)
        : driver_(driver), clips_(clips), failure_(failure) {}

    ~Worker() {
        if (decoder_) driver_.destroy(decoder_);
    }

    // Decodes a clip; the number of pictures shown.
    long long clip(int number) {
        first_ = clips_.first[number];
        last_ = clips_.first[number + 1];
        shown_ = 0;
        ParserSettings settings{};
        settings.codec = clips_.codec;
        settings.surfaces = 1;  // the sequence's own number replaces it
        settings.error_threshold = 100;
        settings.display_delay = 4;
        settings.user = this;
        settings.sequence = [](void* self, Format* format) { return static_cast<Worker*>(self)->sequence(*format); };
        settings.decode = [](void* self, Picture* picture) { return static_cast<Worker*>(self)->decode(picture); };
        settings.display = [](void* self, Shown* shown) { return static_cast<Worker*>(self)->display(*shown); };
        Handle parser{};
        if (!check("cuvidCreateVideoParser", driver_.create_parser(&parser, &settings))) return 0;
        for (long long at = first_; at < last_ && !failure_.any; ++at) {
            const long long begin = clips_.packets[at];
            Packet packet{WHOLE_PICTURE | HAS_TIME, static_cast<unsigned long>(clips_.packets[at + 1] - begin),
                          clips_.data + begin, at - first_};
            check("cuvidParseVideoData", driver_.parse(parser, &packet));
        }
        Packet end{END_OF_STREAM, 0, nullptr, 0};
        check("cuvidParseVideoData", driver_.parse(parser, &end));
        driver_.destroy_parser(parser);
        return shown_;
    }

    long long mapped = 0, created = 0;

private:
    bool check(const char* what, int code) {
        if (code) failure_.say(what, code);
        return !code;
    }

    int sequence(const Format& format) {
        const int surfaces = format.least_surfaces + 5;  // the display delay, and one to map
        if (decoder_ && format.coded_width == width_ && format.coded_height == height_ && format.depth_luma == depth_ &&
            surfaces <= surfaces_)
            return surfaces_;
        if (decoder_) driver_.destroy(decoder_);
        decoder_ = nullptr;
        Caps caps{};
        caps.codec = format.codec, caps.chroma = format.chroma, caps.depth = format.depth_luma;
        if (!check("cuvidGetDecoderCaps", driver_.caps(&caps))) return 0;
        if (!caps.supported || format.coded_width < caps.least_width || format.coded_height < caps.least_height) {
            failure_.say(caps.supported ? "the pictures are too small for NVDEC"
                                        : "NVDEC does not decode this codec, chroma format or depth", 0);
            return 0;
        }
        width_ = format.coded_width, height_ = format.coded_height, depth_ = format.depth_luma, surfaces_ = surfaces;
        DecoderSettings settings{};
        settings.width = settings.target_width = settings.most_width = width_;
        settings.height = settings.target_height = settings.most_height = height_;
        settings.surfaces = surfaces_;
        settings.codec = format.codec, settings.chroma = format.chroma;
        settings.flags = 4;  // the dedicated engines
        settings.depth = depth_;
        settings.output_format = depth_ ? 1 : 0;  // P016, NV12
        settings.output_surfaces = 2;
        created++;
        return check("cuvidCreateDecoder", driver_.create(&decoder_, &settings)) ? surfaces_ : 0;
    }

    int decode(Picture* picture) {
        return decoder_ && check("cuvidDecodePicture", driver_.decode(decoder_, picture));
    }

    int display(const Shown& shown) {
        const long long at = first_ + shown_++;
        if (at >= last_ || !clips_.wanted[at]) return 1;
        MapSettings settings{};
        settings.progressive = shown.progressive;
        settings.top_first = shown.top_first;
        unsigned long long surface = 0;
        unsigned pitch = 0;
        if (!check("cuvidMapVideoFrame64", driver_.map(decoder_, shown.picture, &surface, &pitch, &settings))) return 0;
        mapped++;
        return check("cuvidUnmapVideoFrame64", driver_.unmap(decoder_, surface));
    }

    const Driver& driver_;
    const Clips& clips_;
    Failure& failure_;
    Handle decoder_{};
    unsigned width_ = 0, height_ = 0;
    int depth_ = 0, surfaces_ = 0;
    long long first_ = 0, last_ = 0, shown_ = 0;
};

}  // namespace

// Whether both libraries can be opened: 0, or 1 with the reason in `text`.
extern "C" int nvdec_missing(char* text, int size) {
    Driver driver{};
    return !open_driver(driver, text, size);
}

// Decodes the clips over and over, on `decoders` threads, for `seconds` after each thread has decoded one of them.
// out: seconds, clips, pictures shown, pictures mapped, clips with another number of pictures than packets, decoders
// created. Returns 0, or 1 with the reason in `text`.
extern "C" int nvdec_rate(int device, int decoders, double seconds, int codec, int count, const unsigned char* data,
                          const long long* packets, const long long* first, const unsigned char* wanted, double* out,
                          char* text, int size) {
    using Clock = std::chrono::steady_clock;
    Driver driver{};
    if (!open_driver(driver, text, size)) return 1;
    const Clips clips{codec, count, data, packets, first, wanted};
    Failure failure;
    failure.text = text, failure.size = size;
    int handle = 0;
    Handle context{};
    int code = driver.init(0);
    if (!code) code = driver.device(&handle, device);
    if (!code) code = driver.retain(&context, handle);
    if (code) {
        failure.say("no CUDA device", code);
        return 1;
    }
    std::atomic<int> next{0}, ready{0};
    std::atomic<bool> go{false}, stop{false};
    std::atomic<long long> done{0}, pictures{0}, mapped{0}, odd{0}, created{0};
    std::vector<std::thread> threads;
    for (int number = 0; number < decoders; ++number)
        threads.emplace_back([&, number] {
            if (int wrong = driver.set_current(context)) failure.say("cuCtxSetCurrent", wrong);
            Worker worker(driver, clips, failure);
            if (!failure.any) worker.clip(number % count);
            worker.mapped = 0;
            ready++;
            while (!go) std::this_thread::yield();
            while (!stop && !failure.any) {
                const int at = static_cast<int>(static_cast<unsigned>(next++) % static_cast<unsigned>(count));
                const long long shown = worker.clip(at);
                if (stop) break;  // not whole within the time
                done++, pictures += shown, odd += shown != first[at + 1] - first[at];
            }
            mapped += worker.mapped, created += worker.created;
        });
    while (ready < decoders) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    const auto began = Clock::now();
    const auto elapsed = [&] { return std::chrono::duration<double>(Clock::now() - began).count(); };
    go = true;
    while (elapsed() < seconds && !failure.any) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    out[0] = elapsed(), out[1] = done, out[2] = pictures;
    stop = true;
    for (std::thread& thread : threads) thread.join();
    out[3] = mapped, out[4] = odd, out[5] = created;
    return failure.any;
}
