#include "machine/uefi_vars.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/log.hpp"
#include "io/disk/file_lock.hpp"
#include "machine/bios_rom.hpp"

namespace vellum {
namespace {

bool write_all(int fd, u64 offset, std::span<const u8> bytes) {
  while (!bytes.empty()) {
    const ssize_t done = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return false;
    offset += static_cast<u64>(done);
    bytes = bytes.subspan(static_cast<std::size_t>(done));
  }
  return true;
}

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

Result<FileDescriptor> make_file(const std::string& path, std::span<const u8> bytes) {
  VELLUM_TRY_ASSIGN(file, FileDescriptor::open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
  if (!write_all(file.get(), 0, bytes)) {
    const int error = errno;
    ::unlink(path.c_str());
    return fail_errno(fmt::format("cannot write '{}'", path), error);
  }
  return std::move(file);
}

Result<std::vector<u8>> read_file(const FileDescriptor& file, const std::string& path) {
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) return fail_errno(fmt::format("'{}'", path), errno);
  if (!S_ISREG(status.st_mode)) return fail(ErrorCode::kBadInput, "'{}' is not a regular file", path);
  VELLUM_TRY(check_size(path, static_cast<u64>(status.st_size)));
  std::vector<u8> bytes(static_cast<std::size_t>(status.st_size));
  for (std::size_t at = 0; at < bytes.size();) {
    const ssize_t done = ::pread(file.get(), bytes.data() + at, bytes.size() - at, static_cast<off_t>(at));
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return fail_errno(fmt::format("cannot read '{}'", path), done < 0 ? errno : EIO);
    at += static_cast<std::size_t>(done);
  }
  return bytes;
}

// For us alone.
Result<FileDescriptor> open_file(const std::string& path, const std::string& code) {
  Result<FileDescriptor> file;
  if (::access(path.c_str(), F_OK) != 0) {
    VELLUM_TRY_ASSIGN(initial, read_template(code));
    file = make_file(path, initial);
  } else {
    file = FileDescriptor::open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
  }
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
  if (file_ && !write_all(file_.get(), offset, bytes)) {
    VELLUM_WARN_GUEST("--uefi-vars '{}': {}; the guest hears that its variable is not kept", path_,
                      std::strerror(errno));
    return false;
  }
  std::ranges::copy(bytes, bytes_.begin() + static_cast<std::ptrdiff_t>(offset));
  return true;
}

}  // namespace vellum
