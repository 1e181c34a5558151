#include "io/disk/open_disk.hpp"

#include "io/disk/host_file.hpp"
#include "io/disk/image_disk.hpp"
#include "io/disk/probe.hpp"
#include "io/disk/raw_image.hpp"

namespace vellum {
namespace {

Result<std::unique_ptr<Image>> open_image(IoQueue& queue, const DiskConfig& config) {
  HostFile::Options options;
  options.writable = !config.read_only;
  options.direct = config.cache == DiskCache::kNone || config.cache == DiskCache::kDirectsync;
  options.sync = config.cache != DiskCache::kUnsafe;
  VELLUM_TRY_ASSIGN(file, HostFile::open(queue, config.file, options));
  if (file->initial_size() == 0)
    return fail(ErrorCode::kBadInput,
                "'{}' is empty, so it is no disk; 'truncate -s 10G FILE' makes a raw one", config.file);
  VELLUM_TRY_ASSIGN(begin, file->read_now(0, Disk::kSector));
  const std::string_view found = probe_format(begin);
  const std::string_view format = config.format.empty() ? found : std::string_view(config.format);
  if (format != "raw")
    return fail(
        ErrorCode::kUnsupported,
        "'{}' is a {} image, which Vellum does not read; 'qemu-img convert -O raw' makes a raw one, and "
        "format=raw shows the guest the file's bytes as they are",
        config.file, format);
  return std::make_unique<RawImage>(std::move(file), config.format.empty());
}

}  // namespace

Result<std::shared_ptr<Disk>> open_disk(EventLoop& loop, const DiskConfig& config, bool ordered) {
  VELLUM_TRY_ASSIGN(queue, IoQueue::create(loop, config.aio));
  VELLUM_TRY_ASSIGN(image, open_image(*queue, config));
  ImageDisk::Options options;
  options.write_through = config.cache == DiskCache::kWritethrough || config.cache == DiskCache::kDirectsync;
  options.read_only = config.read_only;
  options.ordered = ordered;
  return std::make_shared<ImageDisk>(loop, std::move(queue), std::move(image), options);
}

}  // namespace vellum
