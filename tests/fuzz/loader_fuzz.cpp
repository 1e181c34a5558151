// Feeds arbitrary bytes to everything that reads a kernel file: recognition, ELF, bzImage and multiboot
// headers, the decompressors, and the placing in guest memory. The first byte chooses the protocol that is
// asked for.
#include <array>
#include <memory>

#include "boot/kernel_loader.hpp"

using namespace vellum;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
  constexpr u64 kMemory = u64{32} << 20;
  constexpr std::array<u8, 5000> kInitrd{};
  static const std::unique_ptr<GuestRam> ram = *GuestRam::create(kMemory);
  if (size == 0) return 0;
  const auto protocol = static_cast<Protocol>(data[0] % 5);
  const std::span<const u8> file(data + 1, size - 1);

  const auto image = recognise_kernel(file);
  if (!image) return 0;
  KernelLoader loader(
      *ram, [](std::string_view, u64, u64) {}, layout::kAcpiTables);
  const std::array<BootModule, 1> modules{{{"initrd", kInitrd}}};
  const auto plan = loader.load(*image, protocol, "kernel", "console=ttyS0", modules);
  // What was accepted must be able to run: the first instruction lies in RAM.
  if (plan && ram->host(GuestPhys(plan->entry.rip)) == nullptr) __builtin_trap();
  return 0;
}
