// Opens arbitrary bytes as a qcow2 image and sends it requests. The first 64 bytes are up to 16 requests (a
// kind, a length, an offset of 16 bits), the rest is the file. Nothing may crash, and an error is one line.
#include <spdlog/spdlog.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "base/fd.hpp"
#include "io/disk/open_disk.hpp"

using namespace vellum;

namespace {

constexpr std::size_t kRequestBytes = 64;
constexpr u64 kMaxLength = 64 * 512;

void submit(Disk& disk, const u8* bytes, std::array<u8, kMaxLength>& buffer) {
  DiskRequest request;
  request.kind = static_cast<DiskRequest::Kind>(bytes[0] % 5);
  request.may_unmap = (bytes[0] & 0x80) != 0;
  // The disk's begin and its end are what the file has most to say about.
  const u64 sectors = disk.size() / Disk::kSector;
  const u64 place = bytes[2] | u64{bytes[3]} << 8;
  request.offset = ((bytes[0] & 0x40) != 0 ? sectors - std::min(sectors, place) : place) * Disk::kSector;
  request.length = (1 + bytes[1] % 64) * Disk::kSector;
  if (request.kind == DiskRequest::Kind::kRead || request.kind == DiskRequest::Kind::kWrite)
    request.buffers.push_back({buffer.data(), request.length});
  else
    request.length *= (bytes[1] & 0x80) != 0 ? 64 : 1;
  request.done = [](int) {};
  disk.submit(std::move(request));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
  static const std::unique_ptr<EventLoop> loop = [] {
    spdlog::set_level(spdlog::level::off);
    return std::move(*EventLoop::create());
  }();
  if (size <= kRequestBytes) return 0;
  const FileDescriptor file(::memfd_create("fuzz", MFD_CLOEXEC));
  if (::write(file.get(), data + kRequestBytes, size - kRequestBytes) < 0) return 0;
  DiskConfig config;
  config.file = "/proc/self/fd/" + std::to_string(file.get());
  config.format = "qcow2";
  config.cache = DiskCache::kUnsafe;
  config.read_only = (data[0] & 0x20) != 0;
  const auto disk = open_disk(*loop, config, (data[1] & 0x40) != 0);
  if (!disk) {
    if (disk.error().message.find('\n') != std::string::npos) __builtin_trap();
    return 0;
  }
  std::array<u8, kMaxLength> buffer{};
  for (std::size_t at = 0; at < kRequestBytes; at += 4) submit(**disk, data + at, buffer);
  (*disk)->finish_all();
  return 0;
}
