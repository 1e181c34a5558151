// A machine's disks, and the media of its drives, which change while it runs.
#include <algorithm>
#include <filesystem>

#include "base/assert.hpp"
#include "devices/floppy/format.hpp"
#include "devices/ide/packet.hpp"
#include "io/disk/open_disk.hpp"
#include "machine/machine.hpp"

namespace vellum {

Result<> Machine::open_disks() {
  for (const DiskConfig& config : config_.disks) {
    auto disk = open_disk(loop_, config, config_.clock == ClockKind::kVirtual);
    if (!disk) return tl::unexpected(std::move(disk).error().context("--disk"));
    disks_.push_back(
        {std::move(*disk), config.serial, config.ide ? BoardDisk::Kind::kIde : BoardDisk::Kind::kVirtio});
  }
  for (const std::string& path : config_.cdroms) {
    auto disk = open_cdrom(path);
    if (!disk) return tl::unexpected(std::move(disk).error().context("--cdrom"));
    disks_.push_back({std::move(*disk), "", BoardDisk::Kind::kCdrom});
  }
  for (const DiskConfig& config : config_.floppies) {
    auto disk = open_disk(loop_, config, config_.clock == ClockKind::kVirtual);
    if (!disk) return tl::unexpected(std::move(disk).error().context("--floppy"));
    if (floppy::format_of((*disk)->size()) == nullptr)
      return fail(ErrorCode::kBadInput,
                  "--floppy '{}': no floppy disk has {} bytes; it is one of 360K, 720K, 1200K, 1440K and "
                  "2880K, and 'truncate -s 1440K FILE' makes a smaller file one, or an empty one",
                  config.file, (*disk)->size());
    disks_.push_back({std::move(*disk), "", BoardDisk::Kind::kFloppy});
  }
  return {};
}

Result<std::shared_ptr<Disk>> Machine::open_cdrom(const std::string& path) {
  if (path.empty()) return {};
  DiskConfig config;
  config.file = path;
  config.format = "raw";
  config.read_only = true;
  if (std::error_code error;
      std::filesystem::is_regular_file(path, error) && std::filesystem::file_size(path, error) == 0)
    return fail(ErrorCode::kBadInput, "'{}' is empty; give the image of a CD-ROM, or none", path);
  VELLUM_TRY_ASSIGN(disk, open_disk(loop_, config, config_.clock == ClockKind::kVirtual));
  if (disk->size() < ide::kCdSector)
    return fail(ErrorCode::kBadInput, "'{}' has no sector of 2048 bytes", path);
  return {std::move(disk)};
}

BoardDisk& Machine::drive(BoardDisk::Kind kind, std::size_t number) {
  const auto found =
      std::ranges::find_if(disks_, [&](const BoardDisk& disk) { return disk.kind == kind && number-- == 0; });
  VELLUM_ASSERT(found != disks_.end(), "no such drive");
  return *found;
}

Result<bool> Machine::change_cdrom(std::size_t number, const std::string& path, bool force) {
  Result<bool> changed = true;
  // The new one is opened, and locked, before the old one is closed. Disks are the loop's.
  loop_.run_on_loop([&] {
    auto disk = open_cdrom(path);
    if (!disk) {
      changed = tl::unexpected(std::move(disk).error());
      return;
    }
    changed = board_->change_cdrom(number, *disk, force);
    if (!*changed) return;
    drive(BoardDisk::Kind::kCdrom, number).disk = std::move(*disk);
    config_.cdroms.at(number) = path;
  });
  return changed;
}

ide::Tray Machine::cdrom_tray(std::size_t number) const {
  return board_->cdrom_tray(number);
}

}  // namespace vellum
