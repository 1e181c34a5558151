// AML as in ACPI 6.4 ch. 20, resource descriptors as in §6.4.
#include "boot/virtio_mmio_aml.hpp"

#include "boot/memory_map.hpp"
#include "boot/table_builder.hpp"

namespace vellum {
namespace {

// §20.2.
constexpr u8 kNameOp = 0x08, kBytePrefix = 0x0a, kStringPrefix = 0x0d, kScopeOp = 0x10, kBufferOp = 0x11,
             kExtOpPrefix = 0x5b, kDeviceOp = 0x82;

void put_name(TableBuilder& aml, std::string_view name) {
  aml.put<u8>(kNameOp), aml.text(name, 4, '_');
}

// Behind its operator: PkgLength, which counts itself (§20.2.4), and the contents.
void put_package(TableBuilder& aml, std::span<const u8> contents) {
  const std::size_t size = contents.size();
  if (size + 1 < 0x40) {
    aml.put<u8>(size + 1);
  } else if (size + 2 < 0x1000) {
    aml.put<u8>(0x40 | ((size + 2) & 0xf)), aml.put<u8>((size + 2) >> 4);
  } else {
    VELLUM_ASSERT(size + 3 < 0x10'0000, "a package of {} bytes", size);
    aml.put<u8>(0x80 | ((size + 3) & 0xf)), aml.put<u16>((size + 3) >> 4);
  }
  aml.append(contents);
}

std::vector<u8> resources(unsigned slot) {
  TableBuilder t;
  // §6.4.3.4: 32-bit fixed memory, read and written.
  t.put<u8>(0x86), t.put<u16>(9), t.put<u8>(1);
  t.put<u32>(layout::virtio_mmio_address(slot).value), t.put<u32>(layout::kVirtioMmioSize);
  // §6.4.3.6: extended interrupt: consumed, level-triggered, active high, shared.
  constexpr u8 kConsumer = 1 << 0, kShared = 1 << 3;
  t.put<u8>(0x89), t.put<u16>(6), t.put<u8>(kConsumer | kShared);
  t.put<u8>(1), t.put<u32>(layout::virtio_mmio_gsi(slot));
  t.put<u8>(0x79), t.put<u8>(0);  // end, no checksum
  return t.take();
}

std::vector<u8> device(unsigned slot) {
  const std::vector<u8> bytes = resources(slot);
  TableBuilder buffer;
  buffer.put<u8>(kBytePrefix), buffer.put<u8>(bytes.size()), buffer.append(bytes);

  TableBuilder t;
  const auto digit = [](unsigned value) { return "0123456789ABCDEF"[value & 0xf]; };
  const char name[] = {'V', 'R', digit(slot >> 4), digit(slot)};
  t.text({name, 4}, 4);
  put_name(t, "_HID"), t.put<u8>(kStringPrefix), t.text("LNRO0005", 9, '\0');
  put_name(t, "_UID"), t.put<u8>(kBytePrefix), t.put<u8>(slot);
  put_name(t, "_CRS"), t.put<u8>(kBufferOp), put_package(t, buffer.bytes());
  return t.take();
}

}  // namespace

std::vector<u8> build_virtio_mmio_aml(unsigned count) {
  VELLUM_ASSERT(count <= layout::kVirtioMmioSlots, "{} virtio devices", count);
  TableBuilder scope;
  scope.text("\\_SB_", 5);
  for (unsigned slot = 0; slot < count; ++slot) {
    scope.put<u8>(kExtOpPrefix), scope.put<u8>(kDeviceOp);
    put_package(scope, device(slot));
  }
  TableBuilder aml;
  aml.put<u8>(kScopeOp);
  put_package(aml, scope.bytes());
  return aml.take();
}

}  // namespace vellum
