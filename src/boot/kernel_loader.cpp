#include "boot/kernel_loader.hpp"

#include <algorithm>
#include <filesystem>

#include "base/bits.hpp"
#include "base/log.hpp"
#include "boot/byte_view.hpp"
#include "boot/decompress.hpp"

namespace vellum {
namespace {

constexpr u64 kMiB = u64{1} << 20;
constexpr u64 kCopyStep = 8 * kMiB;
// Linux's COMMAND_LINE_SIZE on x86 with its zero; a longer line would be cut without a word.
constexpr u64 kVmlinuxCommandLineLimit = 2047;
// 32-bit kernels reach an initrd in the memory that they map permanently.
constexpr GuestPhys kInitrdEnd32{0x38000000};

u64 in_mib(u64 bytes) {
  return align_up(bytes, kMiB) >> 20;
}

// What Linux makes a root file system of: a cpio archive, perhaps compressed, behind zeros that it passes
// over; or an image for its RAM disk.
bool looks_like_initrd(std::span<const u8> bytes) {
  const auto magic_at = [bytes](u64 at, std::string_view magic) {
    const auto part = slice(bytes, at, magic.size());
    return part && std::ranges::equal(*part, bytes_of(magic));
  };
  if (magic_at(0x438, "\x53\xef") || magic_at(0, "hsqs") || magic_at(0, "-rom1fs-")) return true;
  if (magic_at(0, std::string_view("\x45\x3d\xcd\x28"))) return true;  // cramfs
  const auto first = std::ranges::find_if(bytes, [](u8 byte) { return byte != 0; });
  const auto rest = bytes.subspan(static_cast<std::size_t>(first - bytes.begin()));
  if (rest.empty() || detect_compression(rest) != Compression::kUnknown) return true;
  return starts_with(rest, {'0', '7', '0', '7', '0', '1'}) ||
         starts_with(rest, {'0', '7', '0', '7', '0', '2'});
}

tl::unexpected<Error> has_no(std::string_view what, Protocol wanted) {
  return fail(ErrorCode::kInvalidArgument, "has no {}, which --protocol {} needs: try --protocol auto", what,
              protocol_name(wanted));
}

}  // namespace

KernelLoader::KernelLoader(GuestRam& ram, LoadProgress progress, GuestPhys rsdp)
    : map_(build_memory_map(ram)), placement_(ram, map_), progress_(std::move(progress)) {
  plan_.rsdp = rsdp;
}

Result<BootPlan> KernelLoader::load(const KernelImage& image, Protocol wanted, const std::string& kernel_name,
                                    const std::string& command_line, std::span<const BootModule> modules) {
  kernel_name_ = kernel_name;
  command_line_ = command_line;
  modules_ = modules;
  plan_.description = image.format_name();
  if (const auto* bzimage = std::get_if<BzImage>(&image.format)) {
    VELLUM_TRY(load_bzimage(*bzimage, wanted));
  } else if (const auto* elf = std::get_if<ElfImage>(&image.format)) {
    VELLUM_TRY(load_elf_kernel(*elf, image.multiboot, wanted));
  } else {
    VELLUM_TRY(load_flat(image, wanted));
  }
  plan_.description += fmt::format(" through {}", protocol_name(plan_.protocol));
  return plan_;
}

Result<> KernelLoader::load_bzimage(const BzImage& image, Protocol wanted) {
  if (wanted == Protocol::kMultiboot) return has_no("multiboot header", wanted);
  VELLUM_TRY(check_memory(image.load_address.value + image.init_size));
  const Limits limits{image.command_line_limit, image.initrd_limit};

  if (wanted == Protocol::kAuto || wanted == Protocol::kPvh) {
    VELLUM_TRY_ASSIGN(unpacked, unpack(image));
    if (unpacked) {
      auto elf = parse_elf(unpacked->bytes());
      if (!elf) return tl::unexpected(std::move(elf).error().context("its payload"));
      if (elf->pvh_entry) return enter_pvh(*elf, limits);
    }
    if (wanted == Protocol::kPvh) return has_no("PVH entry (CONFIG_PVH)", wanted);
  }
  const bool is_64 = wanted != Protocol::kLinux32 && image.has_64bit_entry();
  if (wanted == Protocol::kLinux64 && !is_64) return has_no("64-bit entry point", wanted);

  constexpr u64 kEntry64 = 0x200;
  plan_.kernel = {image.load_address, image.init_size};
  VELLUM_TRY(placement_.claim(plan_.kernel, "kernel"));
  copy(image.load_address, image.kernel, "kernel");
  return enter_linux(image.header, image.load_address, image.load_address.value + (is_64 ? kEntry64 : 0),
                     is_64, limits);
}

// Nothing when there is no payload to be found, or one in a format that only the kernel's own decompressor
// knows.
Result<std::optional<Unpacked>> KernelLoader::unpack(const BzImage& image) {
  const Compression compression = detect_compression(image.payload);
  if (compression == Compression::kUnknown) return std::nullopt;
  plan_.description += fmt::format(" ({})", compression_name(compression));
  const u64 size = image.unpacked_size();
  // GUEST-CONTROLLED: the size is the file's claim. More than what the machine has can't be run anyway.
  if (size == 0 || size > placement_.ram().low_size())
    return fail(ErrorCode::kBadInput, "is damaged: its payload claims to unpack to {} bytes", size);
  progress_("unpacking the kernel", 0, size);
  VELLUM_TRY_ASSIGN(unpacked, decompress(image.payload, size));
  if (unpacked.bytes().size() != size)
    return fail(ErrorCode::kBadInput, "is damaged: its payload unpacks to {} bytes instead of {}",
                unpacked.bytes().size(), size);
  progress_("unpacking the kernel", size, size);
  return std::move(unpacked);
}

Result<> KernelLoader::load_elf_kernel(const ElfImage& image, const std::optional<MultibootHeader>& multiboot,
                                       Protocol wanted) {
  const auto entry = image.physical_entry();
  const auto need_entry = [&]() -> Result<> {
    if (entry && *entry <= ~u32{0}) return {};
    return fail(ErrorCode::kBadInput,
                "is not bootable: its entry point {:#x} is outside what is loaded below 4 GiB", image.entry);
  };
  if (wanted == Protocol::kMultiboot || (wanted == Protocol::kAuto && multiboot)) {
    if (!multiboot) return has_no("multiboot header", wanted);
    VELLUM_TRY(need_entry());
    VELLUM_TRY(place_elf(image));
    return enter_multiboot(*multiboot, *entry);
  }
  const GuestPhys initrd_end = image.is_64 ? GuestPhys(u64{1} << 32) : kInitrdEnd32;
  const Limits limits{kVmlinuxCommandLineLimit, initrd_end};
  if (wanted == Protocol::kPvh || (wanted == Protocol::kAuto && image.pvh_entry)) {
    if (!image.pvh_entry) return has_no("PVH entry (a Xen PHYS32_ENTRY note)", wanted);
    return enter_pvh(image, limits);
  }
  // A vmlinux: its ELF entry point is that of its class's boot protocol.
  if (wanted != Protocol::kAuto && (wanted == Protocol::kLinux64) != image.is_64)
    return has_no(image.is_64 ? "32-bit entry point" : "64-bit entry point", wanted);
  VELLUM_TRY(need_entry());
  VELLUM_TRY(place_elf(image));
  return enter_linux(vmlinux_header(), plan_.kernel.start, *entry, image.is_64, limits);
}

Result<> KernelLoader::load_flat(const KernelImage& image, Protocol wanted) {
  if (wanted != Protocol::kAuto && wanted != Protocol::kMultiboot)
    return fail(ErrorCode::kInvalidArgument,
                "is a multiboot kernel and has no --protocol {}: try --protocol auto", protocol_name(wanted));
  VELLUM_TRY_ASSIGN(flat, flat_image(*image.multiboot, image.file));
  plan_.kernel = {flat.address, flat.memory_size};
  VELLUM_TRY(check_memory(plan_.kernel.end().value));
  VELLUM_TRY(placement_.claim(plan_.kernel, "kernel"));
  copy(flat.address, flat.contents, "kernel");
  placement_.fill_zero({flat.address + flat.contents.size(), flat.memory_size - flat.contents.size()});
  return enter_multiboot(*image.multiboot, flat.entry);
}

Result<> KernelLoader::enter_pvh(const ElfImage& image, Limits limits) {
  const bool loaded = std::ranges::any_of(image.segments, [&](const ElfSegment& segment) {
    return *image.pvh_entry - segment.physical_address.value < segment.memory_size;
  });
  if (!loaded || *image.pvh_entry > ~u32{0})
    return fail(ErrorCode::kBadInput, "is damaged: its PVH entry point {:#x} is outside what is loaded",
                *image.pvh_entry);
  VELLUM_TRY(place_elf(image));
  VELLUM_TRY_ASSIGN(gdt, put_gdt(false));
  VELLUM_TRY_ASSIGN(command_line, put_command_line(limits.command_line));
  VELLUM_TRY_ASSIGN(initrd, place_initrd(limits.initrd_end));
  VELLUM_TRY_ASSIGN(info, put_pvh_start_info(placement_, map_, command_line, initrd, plan_.rsdp));
  plan_.protocol = Protocol::kPvh;
  plan_.entry = protected_mode_entry(gdt, *image.pvh_entry);
  plan_.entry.gpr[x86::kRbx] = info.value;
  return {};
}

Result<> KernelLoader::enter_linux(const setup_header& header, GuestPhys load_address, u64 entry, bool is_64,
                                   Limits limits) {
  VELLUM_TRY_ASSIGN(gdt, put_gdt(is_64));
  LinuxParameters parameters;
  parameters.header = header;
  parameters.load_address = load_address;
  VELLUM_TRY_ASSIGN(command_line, put_command_line(limits.command_line));
  parameters.command_line = command_line;
  VELLUM_TRY_ASSIGN(initrd, place_initrd(limits.initrd_end));
  parameters.initrd = initrd;
  parameters.rsdp = plan_.rsdp;
  const boot_params page = build_zero_page(parameters, map_);
  VELLUM_TRY_ASSIGN(zero_page, placement_.put(bytes_of(page), kPageSize, "zero page"));

  if (is_64) {
    constexpr u64 kTables = kIdentityTablePages * kPageSize;
    const auto tables_at = placement_.claim_lowest(kTables, kPageSize, layout::kBootData,
                                                   GuestPhys(u64{1} << 32), "page tables");
    if (!tables_at)
      return fail(ErrorCode::kBadInput, "leaves no guest memory for page tables: raise --memory");
    const auto tables = identity_page_tables(*tables_at);
    placement_.write(*tables_at, bytes_of(tables));
    plan_.protocol = Protocol::kLinux64;
    plan_.entry = long_mode_entry(gdt, *tables_at, entry);
  } else {
    plan_.protocol = Protocol::kLinux32;
    plan_.entry = protected_mode_entry(gdt, entry);
  }
  plan_.entry.gpr[x86::kRsi] = zero_page.value;
  return {};
}

Result<> KernelLoader::enter_multiboot(const MultibootHeader& header, u64 entry) {
  // §3.1.1: of flags 0 to 15, one that the loader doesn't know must stop it. Video modes are known, and there
  // is none to offer; a kernel finds that in the information structure.
  constexpr u32 kKnown = kMultibootPageAlign | kMultibootMemoryInfo | kMultibootVideo;
  if ((header.flags & 0xffff & ~kKnown) != 0)
    return fail(ErrorCode::kUnsupported, "demands multiboot features that Vellum lacks (flags {:#x})",
                header.flags);
  VELLUM_TRY_ASSIGN(gdt, put_gdt(false));
  std::vector<MultibootModule> modules;
  for (const BootModule& module : modules_) {
    // Right behind the kernel, page-aligned, as all multiboot loaders do: small kernels map only so much.
    const auto at = placement_.claim_lowest(module.bytes.size(), kPageSize,
                                            GuestPhys(std::max(kernel_end_, layout::kHighMemory.value)),
                                            GuestPhys(u64{1} << 32), "module");
    if (!at)
      return complete_error(ErrorCode::kBadInput,
                            "module '{}' ({} MiB) does not fit beside the kernel in {} MiB: raise --memory",
                            module.path, in_mib(module.bytes.size()), placement_.ram().size() >> 20);
    copy(*at, module.bytes, "module");
    const GuestPhysRange range{*at, module.bytes.size()};
    modules.push_back({range, std::filesystem::path(module.path).filename().string()});
    plan_.initrds.push_back(range);
  }
  // The first word is the kernel's name, by a convention older than the specification.
  const std::string line = command_line_.empty() ? kernel_name_ : kernel_name_ + " " + command_line_;
  VELLUM_TRY_ASSIGN(info, put_multiboot_info(placement_, map_, line, modules));
  plan_.protocol = Protocol::kMultiboot;
  plan_.entry = protected_mode_entry(gdt, entry);
  plan_.entry.gpr[x86::kRax] = kMultibootBootMagic;
  plan_.entry.gpr[x86::kRbx] = info.value;
  return {};
}

Result<> KernelLoader::place_elf(const ElfImage& image) {
  VELLUM_TRY(check_memory(image.end));
  u64 start = image.end, done = 0, total = 0;
  for (const ElfSegment& segment : image.segments) {
    VELLUM_TRY(placement_.claim({segment.physical_address, segment.memory_size}, "ELF segment"));
    start = std::min(start, segment.physical_address.value);
    total += segment.contents.size();
  }
  for (const ElfSegment& segment : image.segments) {
    placement_.write(segment.physical_address, segment.contents);
    placement_.fill_zero(
        {segment.physical_address + segment.contents.size(), segment.memory_size - segment.contents.size()});
    progress_("loading the kernel", done += segment.contents.size(), total);
  }
  plan_.kernel = {GuestPhys(start), image.end - start};
  return {};
}

// Says at once how much memory all of it takes, rather than by and by.
Result<> KernelLoader::check_memory(u64 kernel_end) {
  kernel_end_ = kernel_end;
  const u64 have = placement_.ram().low_size();
  u64 needed = kernel_end;
  for (const BootModule& module : modules_) needed += align_up(module.bytes.size(), kPageSize);
  if (kernel_end > have) {
    if (kernel_end > GuestRam::kLowRamLimit)
      return fail(ErrorCode::kBadInput, "wants memory up to {:#x}, and Vellum loads kernels below 3 GiB only",
                  kernel_end);
    return fail(ErrorCode::kBadInput,
                "needs at least {0} MiB of memory{1}, and the machine has {2} MiB: use --memory {0}M or more",
                in_mib(needed), modules_.empty() ? "" : " together with its initrd",
                placement_.ram().size() >> 20);
  }
  if (needed > have) {
    if (needed > GuestRam::kLowRamLimit)
      return complete_error(ErrorCode::kBadInput,
                            "{} is too large: with the kernel it takes {} MiB, and both must lie below 3 GiB",
                            initrd_names(), in_mib(needed));
    return complete_error(ErrorCode::kBadInput,
                          "{} does not fit: with the kernel it needs at least {} MiB of memory, and "
                          "the machine has {} MiB: use --memory {}M or more",
                          initrd_names(), in_mib(needed), placement_.ram().size() >> 20, in_mib(needed));
  }
  return {};
}

Result<GuestPhys> KernelLoader::put_command_line(u64 limit) {
  if (command_line_.size() > limit)
    return complete_error(
        ErrorCode::kInvalidArgument,
        "the kernel command line has {} characters, and this kernel takes {}: shorten --append",
        command_line_.size(), limit);
  std::vector<u8> bytes(command_line_.begin(), command_line_.end());
  bytes.push_back(0);
  VELLUM_TRY_ASSIGN(at, placement_.put(bytes, 16, "command line"));
  plan_.command_line = at;
  return at;
}

// All of them: which one is too large is for the user to say.
std::string KernelLoader::initrd_names() const {
  std::string names;
  for (const BootModule& module : modules_)
    names += fmt::format("{}'{}'", names.empty() ? "" : " + ", module.path);
  return "initrd " + names;
}

// One initrd from all files: Linux unpacks archives one after the other, each from a 4-byte boundary on.
Result<GuestPhysRange> KernelLoader::place_initrd(GuestPhys end) {
  u64 size = 0;
  for (const BootModule& module : modules_) size = align_up(size, 4) + module.bytes.size();
  if (size == 0) return GuestPhysRange{};
  const auto start = placement_.claim_highest(size, kPageSize, layout::kHighMemory, end, "initrd");
  if (!start)
    return complete_error(ErrorCode::kBadInput,
                          "{} ({} MiB) does not fit below {:#x}, where this kernel wants it: raise "
                          "--memory or make it smaller",
                          initrd_names(), in_mib(size), end.value);
  // The kernel passes over zeros, and tells the rest of what it cannot unpack when hardly anybody looks.
  for (const BootModule& module : modules_)
    if (!looks_like_initrd(module.bytes))
      spdlog::warn(
          "--initrd '{}': neither a cpio archive, compressed or not, nor a file system: Linux will not "
          "unpack it",
          module.path);
  plan_.initrds = {{*start, size}};
  placement_.fill_zero({*start, size});
  u64 offset = 0;
  for (const BootModule& module : modules_) {
    offset = align_up(offset, 4);
    copy(*start + offset, module.bytes, "initrd");
    offset += module.bytes.size();
  }
  return plan_.initrds[0];
}

Result<GuestPhys> KernelLoader::put_gdt(bool long_mode) {
  const auto gdt = boot_gdt(long_mode);
  return placement_.put(bytes_of(gdt), 16, "GDT");
}

void KernelLoader::copy(GuestPhys to, std::span<const u8> bytes, std::string_view what) {
  const std::string stage = fmt::format("loading the {}", what);
  for (u64 done = 0; done < bytes.size(); done += kCopyStep) {
    placement_.write(to + done, bytes.subspan(done, std::min<u64>(kCopyStep, bytes.size() - done)));
    progress_(stage, std::min<u64>(done + kCopyStep, bytes.size()), bytes.size());
  }
}

}  // namespace vellum
