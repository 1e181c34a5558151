#include "machine/uefi_vars.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/file_bytes.hpp"
#include "base/log.hpp"
#include "io/disk/file_lock.hpp"
#include "io/disk/host_file.hpp"
#include "machine/bios_rom.hpp"

namespace vellum {
namespace {

Result<> check_size(const std::string& path, u64 size) {
  if (size != 0 && size % CfiFlash::kBlock == 0 && size < BiosRom::kMaxSize) return {};
  return fail(
      ErrorCode::kBadInput,
      "'{}' has {} bytes; a file of UEFI variables is a multiple of 4 KiB, less than 16 MiB, as OVMF's "
      "OVMF_VARS_4M.fd",
      path, size);
}

Result<std::vector<u8>> read_template(const std::string& code) {
  const std::string path = uefi_vars_template(code.empty() ? kDefaultUefi : code);
  if (path.empty())
    return fail(
        ErrorCode::kNotFound,
        "--bios '{}' has no \"CODE\" in its name by which to find the variables that belong to it; give "
        "them with --uefi-vars FILE",
        code);
  auto contents = FileContents::map(path);
  if (!contents) return tl::unexpected(std::move(contents).error().context("UEFI's variables to begin with"));
  VELLUM_TRY(check_size(path, contents->bytes().size()));
  return std::vector<u8>(contents->bytes().begin(), contents->bytes().end());
}

Result<std::vector<u8>> read_file(const FileDescriptor& file, const std::string& path) {
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) return fail_errno(fmt::format("'{}'", path), errno);
  if (!S_ISREG(status.st_mode)) return fail(ErrorCode::kBadInput, "'{}' is not a regular file", path);
  VELLUM_TRY(check_size(path, static_cast<u64>(status.st_size)));
  std::vector<u8> bytes(static_cast<std::size_t>(status.st_size));
  VELLUM_TRY_ASSIGN(got, read_at(file.get(), path, 0, bytes));
  VELLUM_TRY(check_size(path, got));  // it may have become shorter
  bytes.resize(got);
  return bytes;
}

// For us alone.
Result<FileDescriptor> open_file(const std::string& path, const std::string& code) {
  if (::access(path.c_str(), F_OK) != 0) {
    VELLUM_TRY_ASSIGN(initial, read_template(code));
    VELLUM_TRY(HostFile::create(path, initial));
  }
  auto file = FileDescriptor::open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
  if (file && !lock_image(file->get(), path, true))
    return fail(ErrorCode::kHost, "'{}' is in use by another machine; give each a file of its own", path);
  return file;
}

}  // namespace

std::string uefi_vars_template(const std::string& code) {
  const auto name = code.rfind('/') + 1;
  const auto at = code.rfind("CODE");
  if (at == std::string::npos || at < name) return {};
  return std::string(code).replace(at, 4, "VARS");
}

Result<std::unique_ptr<UefiVars>> UefiVars::open(const MachineConfig& config, u64 code_size) {
  const std::string& path = config.uefi_vars;
  std::unique_ptr<UefiVars> vars;
  if (path.empty()) {
    VELLUM_TRY_ASSIGN(bytes, read_template(config.bios));
    vars.reset(new UefiVars(std::move(bytes), {}, {}));
  } else {
    auto file = open_file(path, config.bios);
    if (!file) return tl::unexpected(std::move(file).error().context("--uefi-vars"));
    auto bytes = read_file(*file, path);
    if (!bytes) return tl::unexpected(std::move(bytes).error().context("--uefi-vars"));
    vars.reset(new UefiVars(std::move(*bytes), std::move(*file), path));
  }
  if (vars->bytes().size() + code_size > BiosRom::kMaxSize)
    return fail(ErrorCode::kBadInput, "firmware of {} KiB and variables of {} KiB: a PC has 16 MiB for both",
                code_size >> 10, vars->bytes().size() >> 10);
  return vars;
}

bool UefiVars::store(u64 offset, std::span<const u8> bytes) {
  if (!file_) {
    // Kept in memory only.
  } else if (const auto written = write_at(file_.get(), path_, offset, bytes); !written) {
    VELLUM_WARN_GUEST("--uefi-vars: {}; the guest hears that its variable is not kept",
                      written.error().message);
    return false;
  }
  std::ranges::copy(bytes, bytes_.begin() + static_cast<std::ptrdiff_t>(offset));
  return true;
}

}  // namespace vellum
