// Rectangles of frames that lie in a mapped file, copied from the page cache. Called from Python through ctypes.
//
// A page of a mapping that lies beyond the end of a file that has become shorter, or that the disk cannot read, raises
// SIGBUS, which would end the process. While pixels are copied it ends the copying instead: the caller then reads the
// file, and learns what is wrong with it. SIGBUS at any other time goes to whoever had handled it before.

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <mutex>

namespace {

thread_local sigjmp_buf escape;
thread_local volatile sig_atomic_t copying = 0;
struct sigaction before;  // the handler that ours took the place of
volatile sig_atomic_t passed_on = 0;
std::mutex installing;

void on_fault(int number, siginfo_t *info, void *) {
  bool fault = info->si_code > 0;  // not sent by a process
  if (fault && copying) {
    copying = 0;
    siglongjmp(escape, 1);
  }
  // Returning from a fault repeats it. A handler that gives it back to us, whom it had replaced, would never end.
  if (passed_on) signal(number, SIG_DFL);
  else sigaction(number, &before, nullptr);
  passed_on = 1;
  if (!fault) raise(number);
}

void install() {
  struct sigaction now;
  sigaction(SIGBUS, nullptr, &now);
  if ((now.sa_flags & SA_SIGINFO) && now.sa_sigaction == on_fault) return;
  std::lock_guard<std::mutex> lock(installing);
  sigaction(SIGBUS, nullptr, &now);
  if ((now.sa_flags & SA_SIGINFO) && now.sa_sigaction == on_fault) return;
  before = now;
  passed_on = 0;
  struct sigaction ours = {};
  ours.sa_sigaction = on_fault;
  ours.sa_flags = SA_SIGINFO;  // blocks SIGBUS meanwhile: a second one sent would find the first half passed on
  sigaction(SIGBUS, &ours, nullptr);
}

void announce(const uint8_t *begin, int64_t size) {  // so that the disk reads all of it at once, not page by page
  auto page = reinterpret_cast<uintptr_t>(begin) & ~static_cast<uintptr_t>(sysconf(_SC_PAGESIZE) - 1);
  madvise(reinterpret_cast<void *>(page), reinterpret_cast<uintptr_t>(begin) + size - page, MADV_WILLNEED);
}

}  // namespace

// The address at which a file's first `size` bytes are mapped; null where the system refuses.
extern "C" void *crop_map(int file, int64_t size) {
  void *mapped = mmap(nullptr, size, PROT_READ, MAP_SHARED, file, 0);
  return mapped == MAP_FAILED ? nullptr : mapped;
}

extern "C" void crop_unmap(void *mapped, int64_t size) { munmap(mapped, size); }

// From each of the frames of `frame` bytes that begin at `offsets` of the mapped file: `rows` times `bytes`, the first
// from `skip` on, each `stride` after the one before, into `out`, one after another. Returns 1, or 0 if some of these
// frames do not lie, or no longer lie, in the file; `out` is then of no use.
extern "C" int crop_copy(const uint8_t *mapped, int64_t size, int file, const int64_t *offsets, int64_t frames,
                         int64_t frame, int64_t skip, int64_t stride, int64_t rows, int64_t bytes, uint8_t *out) {
  if (frames == 0) return 1;
  auto [first, last] = std::minmax_element(offsets, offsets + frames);
  if (*first < 0 || *last + frame > size) return 0;
  install();
  if (sigsetjmp(escape, 1)) return 0;  // 1: after a jump SIGBUS is no longer blocked
  copying = 1;
  std::atomic_signal_fence(std::memory_order_seq_cst);
  bool together = *last + frame - *first <= 2 * frames * frame;
  if (together) announce(mapped + *first, *last + frame - *first);
  for (int64_t i = 0; i < frames && !together; i++) announce(mapped + offsets[i], frame);
  for (int64_t i = 0; i < frames; i++) {
    const uint8_t *row = mapped + offsets[i] + skip;
    for (int64_t j = 0; j < rows; j++, row += stride, out += bytes) memcpy(out, row, bytes);
  }
  std::atomic_signal_fence(std::memory_order_seq_cst);
  copying = 0;
  struct stat status;  // what lies beyond its end, but in its last page, reads as zeros
  return fstat(file, &status) == 0 && *last + frame <= status.st_size;
}
