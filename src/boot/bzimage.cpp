#include "boot/bzimage.hpp"

#include <algorithm>
#include <cstddef>

#include "boot/byte_view.hpp"

namespace vellum {
namespace {

constexpr u64 kHeaderOffset = 0x1f1;
constexpr u32 kMagic = 0x53726448;  // "HdrS"
constexpr u16 kBootFlag = 0xaa55;
constexpr u64 kSector = 512;

// What the kernel says nothing about before the version that introduced the field (boot.rst, "Details of
// header fields").
constexpr u64 kOldCommandLineLimit = 255;
constexpr u32 kOldInitrdAddrMax = 0x37ffffff;
constexpr GuestPhys kBzImageAddress{0x100000};

// The offset past a field: a macro, as offsetof needs the field's name.
#define VELLUM_HEADER_END(field) (offsetof(setup_header, field) + sizeof(setup_header::field))

// The bytes of the header that protocol `version` defines.
u64 header_size(u16 version) {
  if (version >= 0x020f) return VELLUM_HEADER_END(kernel_info_offset);
  if (version >= 0x020b) return VELLUM_HEADER_END(handover_offset);
  if (version >= 0x020a) return VELLUM_HEADER_END(init_size);
  if (version >= 0x0209) return VELLUM_HEADER_END(setup_data);
  if (version >= 0x0208) return VELLUM_HEADER_END(payload_length);
  if (version >= 0x0207) return VELLUM_HEADER_END(hardware_subarch_data);
  if (version >= 0x0206) return VELLUM_HEADER_END(cmdline_size);
  if (version >= 0x0205) return VELLUM_HEADER_END(relocatable_kernel);
  if (version >= 0x0203) return VELLUM_HEADER_END(initrd_addr_max);
  return VELLUM_HEADER_END(cmd_line_ptr);
}

#undef VELLUM_HEADER_END

Result<setup_header> read_header(std::span<const u8> bytes) {
  const auto version = read_at<u16>(bytes, kHeaderOffset + offsetof(setup_header, version));
  if (!version) return fail(ErrorCode::kBadInput, "is truncated within its setup header");
  if (*version < 0x0202)
    return fail(ErrorCode::kUnsupported,
                "speaks Linux boot protocol {}.{:02}; the oldest that Vellum boots is 2.02", *version >> 8,
                *version & 0xff);
  const auto raw = slice(bytes, kHeaderOffset, header_size(*version));
  if (!raw) return fail(ErrorCode::kBadInput, "is truncated within its setup header");
  setup_header header{};
  // SAFETY: a packed structure of integers; `raw` is no longer than it.
  std::memcpy(&header, raw->data(), raw->size());
  if (*version < 0x020c) header.xloadflags = 0;  // padding before that
  return header;
}

Result<> locate_payload(BzImage& image) {
  const setup_header& header = image.header;
  if (header.payload_length == 0) return {};
  const auto payload = slice(image.kernel, header.payload_offset, header.payload_length);
  if (!payload)
    return fail(ErrorCode::kBadInput,
                "is truncated: its payload of {} bytes at {:#x} goes past the end of the file",
                u32{header.payload_length}, u32{header.payload_offset});
  image.payload = *payload;
  return {};
}

void apply_defaults(BzImage& image) {
  const setup_header& header = image.header;
  image.command_line_limit = header.version >= 0x0206 ? header.cmdline_size : kOldCommandLineLimit;
  const u32 highest = header.version >= 0x0203 ? u32{header.initrd_addr_max} : kOldInitrdAddrMax;
  // Kernels that take an initrd above 4 GiB take it anywhere below, too; the field says 2 GiB for old
  // loaders' sake.
  image.initrd_limit = (header.xloadflags & XLF_CAN_BE_LOADED_ABOVE_4G) != 0 ? GuestPhys(u64{1} << 32)
                                                                             : GuestPhys(u64{highest} + 1);
  image.load_address = kBzImageAddress;
  if (header.version >= 0x020a && header.pref_address != 0)
    image.load_address = GuestPhys(header.pref_address);
  image.init_size = std::max<u64>(header.init_size, image.kernel.size());
  // Before 2.10 the kernel doesn't say; its decompressor works in place, and a factor of four has always been
  // enough.
  if (header.version < 0x020a) image.init_size = image.kernel.size() * 4;
}

}  // namespace

u64 BzImage::unpacked_size() const {
  if (payload.size() < 4) return 0;
  return read_at<u32>(payload, payload.size() - 4).value_or(0);
}

bool is_linux_image(std::span<const u8> bytes) {
  return read_at<u32>(bytes, kHeaderOffset + offsetof(setup_header, header)) == kMagic &&
         read_at<u16>(bytes, kHeaderOffset + offsetof(setup_header, boot_flag)) == kBootFlag;
}

Result<BzImage> parse_bzimage(std::span<const u8> bytes) {
  BzImage image;
  VELLUM_TRY_ASSIGN(header, read_header(bytes));
  image.header = header;
  if ((header.loadflags & LOADED_HIGH) == 0)
    return fail(ErrorCode::kUnsupported,
                "is a zImage, which loads below 640 KiB: build the kernel as a bzImage");
  const u64 setup_size = (u64{header.setup_sects == 0 ? u8{4} : header.setup_sects} + 1) * kSector;
  // syssize rounds up to 16 bytes, and not every build pads the file to that.
  const u64 kernel_size = u64{header.syssize} * 16;
  if (bytes.size() <= setup_size || bytes.size() - setup_size + 15 < kernel_size)
    return fail(ErrorCode::kBadInput, "is truncated: its header announces {} bytes, the file has {}",
                setup_size + kernel_size, bytes.size());
  image.kernel = bytes.subspan(setup_size);
  VELLUM_TRY(locate_payload(image));
  apply_defaults(image);
  return image;
}

}  // namespace vellum
