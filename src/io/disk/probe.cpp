#include "io/disk/probe.hpp"

#include <algorithm>

namespace vellum {
namespace {

struct Magic {
  std::string_view format;
  std::size_t offset;
  std::string_view bytes;
};

using namespace std::string_view_literals;

constexpr Magic kMagics[] = {
    {"qcow", 0, "QFI\xfb\0\0\0\1"sv},
    {"qcow2", 0, "QFI\xfb"sv},  // of any version: the driver says which it does not know
    {"qed", 0, "QED\0"sv},
    {"vmdk", 0, "KDMV"sv},
    {"vmdk", 0, "COWD"sv},
    {"vmdk", 0, "# Disk Descriptor"sv},
    {"vhdx", 0, "vhdxfile"sv},
    {"vpc", 0, "conectix"sv},  // a dynamic VHD; a fixed one is raw with a footer
    {"vdi", 64, "\x7f\x10\xda\xbe"sv},
    {"luks", 0, "LUKS\xba\xbe"sv},
    {"parallels", 0, "WithoutFreeSpace"sv},
    {"parallels", 0, "WithouFreSpacExt"sv},
};

}  // namespace

std::string_view probe_format(std::span<const u8> first_sector) {
  for (const Magic& magic : kMagics)
    if (first_sector.size() >= magic.offset + magic.bytes.size() &&
        std::ranges::equal(first_sector.subspan(magic.offset, magic.bytes.size()), magic.bytes,
                           [](u8 byte, char wanted) { return byte == static_cast<u8>(wanted); }))
      return magic.format;
  return "raw";
}

}  // namespace vellum
