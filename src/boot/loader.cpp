#include "boot/loader.hpp"

#include <algorithm>
#include <array>
#include <filesystem>

#include "base/assert.hpp"
#include "base/fd.hpp"
#include "boot/kernel_loader.hpp"

namespace vellum {
namespace {

struct ProtocolRow {
  Protocol protocol;
  std::string_view name;
};
constexpr std::array<ProtocolRow, 5> kProtocols{{{Protocol::kAuto, "auto"},
                                                 {Protocol::kPvh, "pvh"},
                                                 {Protocol::kLinux64, "linux64"},
                                                 {Protocol::kLinux32, "linux32"},
                                                 {Protocol::kMultiboot, "multiboot"}}};

// An error in a file that the user named: "kernel 'path' is truncated …".
tl::unexpected<Error> about(std::string_view what, const std::string& path, Error error) {
  error.message = fmt::format("{} '{}' {}", what, path, error.message);
  return tl::unexpected(std::move(error));
}

Result<FileContents> map_file(std::string_view what, const std::string& path) {
  auto contents = FileContents::map(path);
  if (!contents) return tl::unexpected(std::move(contents).error().context(what));
  return contents;
}

}  // namespace

std::string_view protocol_name(Protocol protocol) {
  const auto row = std::ranges::find(kProtocols, protocol, &ProtocolRow::protocol);
  return row->name;
}

Result<Protocol> parse_protocol(std::string_view name) {
  const auto row = std::ranges::find(kProtocols, name, &ProtocolRow::name);
  if (row != kProtocols.end()) return row->protocol;
  return fail(ErrorCode::kInvalidArgument,
              "unknown boot protocol '{}': choose auto, pvh, linux64, linux32 or multiboot", name);
}

Result<BootPlan> load(const BootRequest& request, GuestRam& ram, const LoadProgress& progress) {
  VELLUM_TRY_ASSIGN(kernel_file, map_file("kernel", request.kernel));
  std::vector<FileContents> initrd_files;
  std::vector<BootModule> modules;
  for (const std::string& path : request.initrds) {
    VELLUM_TRY_ASSIGN(file, map_file("initrd", path));
    modules.push_back({path, file.bytes()});
    initrd_files.push_back(std::move(file));
  }
  if (request.command_line.find('\0') != std::string::npos)
    return fail(ErrorCode::kInvalidArgument, "the kernel command line contains a NUL character");

  auto image = recognise_kernel(kernel_file.bytes());
  if (!image) return about("kernel", request.kernel, std::move(image).error());
  VELLUM_TRY_ASSIGN(rsdp, write_firmware_tables(ram, request.firmware));
  const std::string name = std::filesystem::path(request.kernel).filename().string();
  KernelLoader loader(
      ram, progress ? progress : [](std::string_view, u64, u64) {}, rsdp);
  auto plan = loader.load(*image, request.protocol, name, request.command_line, modules);
  if (!plan) {
    if (loader.error_is_complete()) return plan;
    return about("kernel", request.kernel, std::move(plan).error());
  }
  return plan;
}

}  // namespace vellum
