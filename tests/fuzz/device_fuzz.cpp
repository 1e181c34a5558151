// Drives every device of the board with arbitrary register accesses at arbitrary times, as a hostile guest
// would, then saves the board and builds another from what was saved: that must succeed, and the other must
// have the same values in its registers.
//
// The input is a sequence of steps: a byte that chooses what, then its operands.
#include <fmt/ranges.h>

#include <array>

#include "devices/display/vga_ports.hpp"
#include "devices/display/vga_window.hpp"
#include "devices/legacy/acpi_pm.hpp"
#include "devices/legacy/coprocessor_error.hpp"
#include "devices/legacy/fw_cfg.hpp"
#include "devices/legacy/i8042.hpp"
#include "devices/legacy/isa_dma.hpp"
#include "devices/legacy/misc_ports.hpp"
#include "devices/legacy/pit.hpp"
#include "devices/legacy/rtc.hpp"
#include "fuzz_board.hpp"
#include "fuzz_input.hpp"
#include "irq/ioapic.hpp"

using namespace vellum;

namespace {

struct PortRange {
  u16 first, count;
};
// All that answer on the board (LLVMFuzzerInitialize() sees to it).
constexpr PortRange kPorts[] = {
    {IsaDma::kFirstPort, IsaDma::kFirstCount},
    {IsaDma::kSecondPort, IsaDma::kSecondCount},
    {IsaDma::kPagePort, IsaDma::kPageCount},
    {0x20, 2},  // 8259s
    {0xa0, 2},
    {0x4d0, 2},  // ELCR
    {Pit::kPort, Pit::kPortCount},
    {Pit::kControlBPort, 1},
    {Rtc::kPort, Rtc::kPortCount},
    {0x3f8, Uart16550::kPortCount},
    {0x2f8, Uart16550::kPortCount},
    {I8042::kDataPort, 1},
    {I8042::kCommandPort, 1},
    {AcpiPm::kPort, AcpiPm::kPortCount},
    {PostCode::kPort, PostCode::kPortCount},
    {pci::ConfigPorts::kPort, pci::ConfigPorts::kPortCount},  // with the reset port
    {SystemControlA::kPort, SystemControlA::kPortCount},
    {CoprocessorError::kPort, CoprocessorError::kPortCount},
    {DebugExit::kPort, DebugExit::kPortCount},
    {DebugConsole::kPort, DebugConsole::kPortCount},
    {DebugConsole::kFirmwarePort, DebugConsole::kPortCount},
    {FwCfg::kPort, FwCfg::kPortCount},
    {vga::kPort, vga::kPortCount},
    {vga::Dispi::kPort, vga::Dispi::kPortCount},
};
constexpr std::array<u8, 4> kSizes{1, 2, 4, 8};

class Driver {
 public:
  Driver(Board& board, fuzz::Input& input) : board_(board), input_(input) {}

  void step() {
    const u8 what = input_.take<u8>();
    Vcpu& v = fuzz::vcpu(board_, what >> 7);
    switch (what & 15) {
      case 0:
      case 1:
      case 2:
        return port_write();
      case 3:
        return port_read();
      case 4:
        return any_port();
      case 5:
        return apic_write(v);
      case 6:
        check_width(v.board.read_apic_page(register_offset(), 4), 4);
        return;
      case 7:
        return odd_apic_read(v);
      case 8:
        return apic_msr(v);
      case 9:
        return ioapic();
      case 10:
        return advance();
      case 11:
        return v.board.write_cr8(input_.take<u8>() & 15);
      case 12:
        if (v.board.acknowledge_interrupt() > 255) __builtin_trap();
        return;
      case 13:
        board_.serial().receive(input_.take_bytes(input_.below(40)));
        return;
      case 14:
        if (v.board.read_cr8() > 15) __builtin_trap();
        return display();
      default:
        return fuzz::advance(board_, input_.take<u16>());
    }
  }

 private:
  unsigned size() { return kSizes[input_.below(4)]; }
  u32 register_offset() { return u32{input_.take<u8>()} << 4 & 0xff0; }
  /// What a device reads is no wider than the access.
  static void check_width(u64 value, unsigned size) {
    if (size < 8 && value >> (8 * size) != 0) __builtin_trap();
  }

  void advance() {
    const u64 mantissa = input_.take<u8>();
    fuzz::advance(board_, mantissa << input_.below(56));
  }
  u16 known_port() {
    const PortRange& range = kPorts[input_.below(std::size(kPorts))];
    return static_cast<u16>(range.first + input_.below(range.count));
  }
  void port_write() {
    const u16 port = known_port();
    fuzz::vcpu(board_, 0).space.ports.write(port, 1, input_.take<u8>());
  }
  void port_read() { check_width(fuzz::vcpu(board_, 0).space.ports.read(known_port(), 1), 1); }
  void any_port() {
    Bus& ports = fuzz::vcpu(board_, 0).space.ports;
    const u16 port = (input_.take<u8>() & 1) != 0 ? known_port() : input_.take<u16>();
    const unsigned width = kSizes[input_.below(3)];
    check_width(ports.read(port, width), width);
    ports.write(port, width, input_.take<u32>());
  }
  void apic_write(Vcpu& v) {
    const u32 offset = register_offset();
    const unsigned width = size();
    v.board.write_apic_page(offset, width, input_.take<u32>());
  }
  void odd_apic_read(Vcpu& v) {
    const u32 offset = input_.take<u16>() & 0xfff;
    const unsigned width = size();
    check_width(v.board.read_apic_page(offset, width), width);
  }
  void apic_msr(Vcpu& v) {
    const u8 choice = input_.take<u8>();
    const u32 msr = choice == 0 ? 0x1b : choice == 1 ? 0x6e0 : 0x800u + choice;
    u64 value = 0;
    v.board.read_apic_msr(msr, value);
    // Mostly values that the register takes: a bit or two changed.
    if ((input_.take<u8>() & 1) != 0) value ^= u64{1} << input_.below(64);
    value ^= input_.take<u16>();
    v.board.write_apic_msr(msr, value);
  }
  void ioapic() {
    Bus& mmio = fuzz::vcpu(board_, 0).space.mmio;
    const u8 index = input_.take<u8>();
    mmio.write(IoApic::kDefaultAddress, 4, index & 0x3f);
    mmio.write(IoApic::kDefaultAddress + 0x10, 4, input_.take<u32>());
    if (index < 0x40) return;
    const u64 address = IoApic::kDefaultAddress + (input_.take<u16>() & 0xfff);
    const unsigned width = size();
    check_width(mmio.read(address, width), width);
    if (index >= 0x80) mmio.write(address, width, input_.take<u64>());
  }

  // The window, or the registers in memory.
  void display() {
    Bus& mmio = fuzz::vcpu(board_, 0).space.mmio;
    const u8 choice = input_.take<u8>();
    pci::Function& function = *board_.pci()->bus->at(pci::devfn(vga::Adapter::kDevice, 0));
    const u64 registers = function.read_config(pci::kBar0 + 8, 4) + 0x400 + (input_.take<u16>() & 0x1ff);
    const u64 window = vga::kWindow + u64{input_.take<u16>()} * 2;
    const u64 address = (choice & 1) != 0 ? registers : window;
    const unsigned width = kSizes[choice >> 1 & 3];
    check_width(mmio.read(address, width), width);
    mmio.write(address, width, input_.take<u32>());
  }

  Board& board_;
  fuzz::Input& input_;
};

/// Reads every register, which also brings every device up to the present. The interrupt controllers last:
/// the PIT's output may have fallen since its last access, which only a level-triggered input would tell.
void read_all(Board& board, std::vector<u64>& values) {
  Vcpu& first = fuzz::vcpu(board, 0);
  for (auto range = std::rbegin(kPorts); range != std::rend(kPorts); ++range)
    for (u16 n = 0; n < range->count; ++n) values.push_back(first.space.ports.read(u64{range->first} + n, 1));
  values.push_back(first.space.mmio.read(IoApic::kDefaultAddress, 4));
  values.push_back(first.space.mmio.read(IoApic::kDefaultAddress + 0x10, 4));
  for (unsigned index = 0; index < fuzz::kVcpus; ++index)
    for (u32 offset = 0; offset < 0x400; offset += 16)
      values.push_back(fuzz::vcpu(board, index).board.read_apic_page(offset, 4));
}

std::string hex(const SavedState& state) {
  return fmt::format("{:02x}", fmt::join(state.bytes, " "));
}

void check_same(std::span<const SavedState> a, std::span<const SavedState> b) {
  VELLUM_ASSERT(a.size() == b.size(), "{} states became {}", a.size(), b.size());
  for (std::size_t n = 0; n < a.size(); ++n)
    VELLUM_ASSERT(a[n].kind == b[n].kind && a[n].bytes == b[n].bytes,
                  "'{}' when restored:\n  {}\nbecame\n  {}", a[n].kind, hex(a[n]), hex(b[n]));
}

}  // namespace

// A device whose ports are not in the table would be left out and nobody would know.
extern "C" int LLVMFuzzerInitialize(int*, char***) {
  fuzz::Surroundings around;
  const auto board = *fuzz::make_board(around);
  Bus& ports = fuzz::vcpu(*board, 0).space.ports;
  constexpr u64 kAll = 0x10000;
  for (u64 port = 0; port < kAll; ++port) ports.read(port, 1);
  std::vector<StatRow> rows;
  ports.stats(rows);
  u64 answered = kAll, known = 0;
  for (const StatRow& row : rows)
    if (row.name == "unclaimed") answered -= row.count;
  for (const PortRange& range : kPorts) known += range.count;
  VELLUM_ASSERT(answered == known, "{} ports answer, and {} of them are fuzzed", answered, known);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
  fuzz::Surroundings around;
  fuzz::Input input(data, std::min<std::size_t>(size, 4096));
  auto board = *fuzz::make_board(around);
  Driver driver(*board, input);
  while (!input.empty()) driver.step();
  if (size % 16 == 0) {  // drawing takes long
    const auto screen = board->display()->screen();
    if (screen.rgb.size() != std::size_t{screen.width} * screen.height * 3) __builtin_trap();
    board->display()->text();
  }

  const auto restored = fuzz::make_board(around, board->save());
  VELLUM_ASSERT(restored, "a board's own state was refused: {}", restored.error().message);
  // States need not be equal byte by byte at once: a counter may be saved as it stood at its last access.
  std::vector<u64> values, restored_values;
  read_all(*board, values);
  read_all(**restored, restored_values);
  for (std::size_t n = 0; n < values.size(); ++n)
    VELLUM_ASSERT(values[n] == restored_values[n], "register {}: {:#x} became {:#x}", n, values[n],
                  restored_values[n]);
  check_same(board->save(), (*restored)->save());
  return 0;
}
