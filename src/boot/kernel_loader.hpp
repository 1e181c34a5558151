// The loading of one recognised kernel, by protocol. load() in loader.hpp is its only user outside tests.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "boot/decompress.hpp"
#include "boot/kernel_image.hpp"
#include "boot/linux_boot.hpp"
#include "boot/loader.hpp"
#include "boot/placement.hpp"
#include "boot/pvh.hpp"

namespace vellum {

struct BootModule {
  std::string path;
  std::span<const u8> bytes;
};

class KernelLoader {
 public:
  /// `ram` already holds the firmware's tables.
  KernelLoader(GuestRam& ram, LoadProgress progress, GuestPhys rsdp);

  /// Loads once; an object is good for one kernel. Messages lack their subject ("needs at least …"): the
  /// caller puts the kernel's name in front, unless error_is_complete().
  Result<BootPlan> load(const KernelImage& image, Protocol wanted, const std::string& kernel_name,
                        const std::string& command_line, std::span<const BootModule> modules);
  /// The error is about something else than the kernel and names it.
  bool error_is_complete() const { return error_is_complete_; }

 private:
  // What a kernel allows.
  struct Limits {
    u64 command_line;
    GuestPhys initrd_end;
  };

  Result<> load_bzimage(const BzImage& image, Protocol wanted);
  Result<> load_elf_kernel(const ElfImage& image, const std::optional<MultibootHeader>& multiboot,
                           Protocol wanted);
  Result<> load_flat(const KernelImage& image, Protocol wanted);

  // The protocols, once it is clear that the kernel has them.
  Result<> enter_pvh(const ElfImage& image, Limits limits);
  Result<> enter_linux(const setup_header& header, GuestPhys load_address, u64 entry, bool is_64,
                       Limits limits);
  Result<> enter_multiboot(const MultibootHeader& header, u64 entry);

  Result<std::optional<Unpacked>> unpack(const BzImage& image);
  Result<> place_elf(const ElfImage& image);
  Result<> check_memory(u64 kernel_end);
  Result<GuestPhys> put_command_line(u64 limit);
  /// For messages: initrd 'a' + 'b'.
  std::string initrd_names() const;
  Result<GuestPhysRange> place_initrd(GuestPhys end);
  Result<GuestPhys> put_gdt(bool long_mode);
  void copy(GuestPhys to, std::span<const u8> bytes, std::string_view what);
  template <class... Args>
  tl::unexpected<Error> complete_error(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
    error_is_complete_ = true;
    return fail(code, format, std::forward<Args>(args)...);
  }

  std::vector<MemoryMapEntry> map_;
  Placement placement_;
  LoadProgress progress_;
  std::string kernel_name_, command_line_;
  std::span<const BootModule> modules_;
  u64 kernel_end_ = 0;
  BootPlan plan_;
  bool error_is_complete_ = false;
};

}  // namespace vellum
