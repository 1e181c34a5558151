#include "io/disk/open_disk.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "io/disk/host_file.hpp"
#include "io/disk/image_disk.hpp"
#include "io/disk/probe.hpp"
#include "io/disk/qcow2_create.hpp"
#include "io/disk/qcow2_image.hpp"
#include "io/disk/raw_image.hpp"

namespace vellum {
namespace {

constexpr std::size_t kMaxChain = 200;

struct Opening {
  IoQueue& queue;
  HostFile::Options options;                ///< for the next file
  std::vector<const HostFile*> chain = {};  ///< from the disk's own on
};

Result<std::unique_ptr<Image>> open_image(Opening& opening, const std::string& path,
                                          const std::string& format);

// A backing file's name is relative to the folder of the image that names it, as for QEMU.
Result<std::string> backing_path(const std::string& image, std::string name) {
  if (name.starts_with("file:")) name.erase(0, 5);
  const std::size_t colon = name.find(':');
  if (colon != std::string::npos && colon < name.find('/'))
    return fail(ErrorCode::kUnsupported,
                "the backing file '{}' is no file's name, and Vellum opens only files", name);
  return (std::filesystem::path(image).parent_path() / name).string();
}

Result<std::unique_ptr<Image>> open_backing(Opening& opening, const HostFile& image,
                                            const Qcow2Header& header) {
  VELLUM_TRY_ASSIGN(path, backing_path(image.path(), header.backing_file));
  if (opening.chain.size() >= kMaxChain)
    return fail(ErrorCode::kUnsupported, "more than {} images stand on each other", kMaxChain);
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0)
    for (const HostFile* const file : opening.chain)
      if (file->same_file(status.st_dev, status.st_ino))
        return fail(ErrorCode::kBadInput, "'{}' stands on itself: the chain of backing files is a circle",
                    path);
  opening.options.writable = false;
  return open_image(opening, path, header.backing_format);
}

Result<std::unique_ptr<Image>> open_image(Opening& opening, const std::string& path,
                                          const std::string& format) {
  const bool top = opening.chain.empty(), writable = opening.options.writable;
  VELLUM_TRY_ASSIGN(file, HostFile::open(opening.queue, path, opening.options));
  if (file->initial_size() == 0 && top)
    return fail(ErrorCode::kBadInput,
                "'{}' is empty, so it is no disk; 'truncate -s 10G FILE' makes a raw one, 'qemu-img create "
                "-f qcow2 FILE "
                "10G' one that grows",
                path);
  VELLUM_TRY_ASSIGN(begin, file->read_now(0, Disk::kSector));
  const std::string_view found = probe_format(begin);
  const std::string_view chosen = format.empty() ? found : std::string_view(format);
  if (chosen == "raw") return std::make_unique<RawImage>(std::move(file), top && format.empty());
  if (chosen != "qcow2")
    return fail(ErrorCode::kUnsupported,
                "'{}' is a {} image, which Vellum does not read; 'qemu-img convert -O qcow2' makes one that "
                "it does, and "
                "format=raw shows the guest the file's bytes as they are",
                path, chosen);
  opening.chain.push_back(file.get());
  VELLUM_TRY_ASSIGN(image, Qcow2Image::open(std::move(file), writable));
  if (!image->header().backing_file.empty()) {
    auto backing = open_backing(opening, image->file(), image->header());
    if (!backing)
      return tl::unexpected(std::move(backing).error().context(fmt::format("backing file of '{}'", path)));
    image->set_backing(std::move(*backing));
  }
  return std::move(image);
}

Result<std::vector<u8>> overlay_bytes(const DiskConfig& config, const Image& base) {
  std::error_code error;
  const auto path = std::filesystem::absolute(config.file, error);
  if (error) return fail(ErrorCode::kHost, "'{}': {}", config.file, error.message());
  return empty_qcow2({base.size(), path.string(), std::string(base.format())});
}

// What is opened for reading only stands under a qcow2 image that nobody else sees.
Result<std::unique_ptr<Image>> open_temporary_overlay(Opening& opening, const DiskConfig& config) {
  opening.options.writable = false;
  VELLUM_TRY_ASSIGN(base, open_image(opening, config.file, config.format));
  VELLUM_TRY_ASSIGN(bytes, overlay_bytes(config, *base));
  VELLUM_TRY_ASSIGN(file,
                    HostFile::temporary(opening.queue, fmt::format("overlay of {}", config.file), bytes));
  VELLUM_TRY_ASSIGN(image, Qcow2Image::open(std::move(file), true));
  image->set_backing(std::move(base));
  return std::move(image);
}

Result<std::unique_ptr<Image>> open_overlay(Opening& opening, const DiskConfig& config) {
  if (::access(config.overlay.c_str(), F_OK) != 0 && errno == ENOENT) {
    Opening reading{opening.queue, opening.options};
    reading.options.writable = false;
    VELLUM_TRY_ASSIGN(base, open_image(reading, config.file, config.format));
    VELLUM_TRY_ASSIGN(bytes, overlay_bytes(config, *base));
    VELLUM_TRY(HostFile::create(config.overlay, bytes));
  }
  VELLUM_TRY_ASSIGN(image, open_image(opening, config.overlay, "qcow2"));
  struct stat status {};
  const bool stands_on_it = image->backing() != nullptr && ::stat(config.file.c_str(), &status) == 0 &&
                            image->backing()->file().same_file(status.st_dev, status.st_ino);
  if (!stands_on_it)
    return fail(
        ErrorCode::kBadInput,
        "'{}' exists and is no overlay of '{}': it stands on {}; give it without overlay=", config.overlay,
        config.file,
        image->backing() != nullptr ? fmt::format("'{}'", image->backing()->file().path()) : "nothing");
  return std::move(image);
}

Result<std::unique_ptr<Image>> open_images(Opening& opening, const DiskConfig& config) {
  if (config.overlay.empty()) return open_image(opening, config.file, config.format);
  if (config.overlay == "tmp") return open_temporary_overlay(opening, config);
  return open_overlay(opening, config);
}

}  // namespace

Result<std::shared_ptr<Disk>> open_disk(EventLoop& loop, const DiskConfig& config, bool ordered) {
  VELLUM_TRY_ASSIGN(queue, IoQueue::create(loop, config.aio));
  Opening opening{*queue, {}};
  opening.options.writable = !config.read_only;
  opening.options.direct = config.cache == DiskCache::kNone || config.cache == DiskCache::kDirectsync;
  opening.options.sync = config.cache != DiskCache::kUnsafe;
  VELLUM_TRY_ASSIGN(image, open_images(opening, config));
  ImageDisk::Options options;
  options.write_through = config.cache == DiskCache::kWritethrough || config.cache == DiskCache::kDirectsync;
  options.read_only = config.read_only;
  options.ordered = ordered;
  return std::make_shared<ImageDisk>(loop, std::move(queue), std::move(image), options);
}

}  // namespace vellum
