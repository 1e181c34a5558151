#include "boot/mp_table.hpp"

#include <algorithm>

#include "boot/table_builder.hpp"

namespace vellum {
namespace {

constexpr u8 kSpecRevision = 4;  // 1.4
constexpr std::size_t kPointerSize = 16, kLengthField = 4, kChecksumField = 7, kCountField = 34;
constexpr u8 kPciBus = 0;
constexpr u8 kAllLocalApics = 0xff;

enum Entry : u8 { kProcessor = 0, kBus = 1, kIoApic = 2, kIoInterrupt = 3, kLocalInterrupt = 4 };  // §4.3
enum InterruptType : u8 { kInt = 0, kNmi = 1, kExtInt = 3 };
constexpr u16 kConforms =
    0;  // to the bus: ISA is edge-triggered, active high; PCI level-triggered, active low
constexpr u16 kActiveHighLevel = 1 | 3 << 2;

// §4.1.
std::vector<u8> floating_pointer(GuestPhys table) {
  TableBuilder t;
  t.text("_MP_", 4);
  t.put<u32>(static_cast<u32>(table.value));
  t.put<u8>(1);  // length, in 16-byte units
  t.put<u8>(kSpecRevision);
  t.put<u8>(0);
  t.put<u32>(0);  // no default configuration; virtual wire mode, no IMCR
  t.put<u8>(0);
  t.patch<u8>(10, checksum_of(t.bytes()));
  VELLUM_ASSERT(t.size() == kPointerSize, "{} bytes", t.size());
  return t.take();
}

class ConfigurationTable {
 public:
  ConfigurationTable() {
    t_.text("PCMP", 4);
    t_.put<u16>(0);
    t_.put<u8>(kSpecRevision);
    t_.put<u8>(0);
    t_.text("VELLUM", 8);
    t_.text("PC", 12);
    t_.put<u32>(0), t_.put<u16>(0), t_.put<u16>(0);  // OEM table, its size, entry count
    t_.put<u32>(static_cast<u32>(layout::kLocalApic.value));
    t_.put<u32>(0);  // no extended table
  }

  void processor(u8 id, const FirmwareConfig& config) {
    constexpr u8 kApicVersion = 0x14, kEnabled = 1, kBootstrap = 2;
    begin(kProcessor);
    t_.put<u8>(id), t_.put<u8>(kApicVersion), t_.put<u8>(id == 0 ? kEnabled | kBootstrap : kEnabled);
    t_.put<u32>(config.cpu_signature), t_.put<u32>(config.cpu_features), t_.put<u64>(0);
  }
  void bus(u8 number, std::string_view type) {
    begin(kBus);
    t_.put<u8>(number), t_.text(type, 6);
  }
  void io_apic(u8 id) {
    constexpr u8 kIoApicVersion = 0x20, kEnabled = 1;
    begin(kIoApic);
    t_.put<u8>(id), t_.put<u8>(kIoApicVersion), t_.put<u8>(kEnabled);
    t_.put<u32>(static_cast<u32>(layout::kIoApic.value));
  }
  void interrupt(Entry entry, InterruptType type, u16 flags, u8 bus, u8 source_irq, u8 apic, u8 input) {
    begin(entry);
    t_.put<u8>(type), t_.put<u16>(flags), t_.put<u8>(bus), t_.put<u8>(source_irq);
    t_.put<u8>(apic), t_.put<u8>(input);
  }

  std::vector<u8> finish() {
    t_.patch<u16>(kLengthField, static_cast<u16>(t_.size()));
    t_.patch<u16>(kCountField, entries_);
    t_.patch<u8>(kChecksumField, checksum_of(t_.bytes()));
    return t_.take();
  }

 private:
  void begin(Entry entry) {
    t_.put<u8>(entry);
    ++entries_;
  }

  TableBuilder t_;
  u16 entries_ = 0;
};

}  // namespace

std::vector<u8> build_mp_table(GuestPhys base, const FirmwareConfig& config) {
  constexpr u32 kMaxProcessors = 255;
  constexpr u8 kIsaInterrupts = 16, kCascade = 2;
  const u8 io_apic = layout::io_apic_id(config.cpu_count);

  ConfigurationTable table;
  for (u32 id = 0; id < std::min(config.cpu_count, kMaxProcessors); ++id)
    table.processor(static_cast<u8>(id), config);
  // PCI buses come first and have their own numbers (Multiprocessor Specification §4.3.2, appendix D.2).
  const u8 isa_bus = config.pci ? 1 : 0;
  if (config.pci) table.bus(kPciBus, "PCI");
  table.bus(isa_bus, "ISA");
  table.io_apic(io_apic);
  // The 8259 pair reaches input 0 of the I/O APIC and LINT0 of the local ones.
  table.interrupt(kIoInterrupt, kExtInt, kConforms, isa_bus, 0, io_apic, 0);
  for (u8 irq = 0; irq < kIsaInterrupts; ++irq) {
    if (irq == kCascade) continue;
    const u16 flags = irq == layout::kSciIrq ? kActiveHighLevel : kConforms;
    table.interrupt(kIoInterrupt, kInt, flags, isa_bus, irq, io_apic,
                    irq == layout::kPitIrq ? layout::kPitGsi : irq);
  }
  for (u8 device = 1; config.pci && device < 32; ++device)
    for (u8 pin = 0; pin < 4; ++pin)
      table.interrupt(kIoInterrupt, kInt, kConforms, kPciBus, static_cast<u8>(device << 2 | pin), io_apic,
                      layout::kPciGsi + layout::pci_wire(device, pin));
  table.interrupt(kLocalInterrupt, kExtInt, kConforms, isa_bus, 0, kAllLocalApics, 0);
  table.interrupt(kLocalInterrupt, kNmi, kConforms, isa_bus, 0, kAllLocalApics, 1);

  TableBuilder all;
  all.append(floating_pointer(base + kPointerSize));
  all.append(table.finish());
  return all.take();
}

}  // namespace vellum
