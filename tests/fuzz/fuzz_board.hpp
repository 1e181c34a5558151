// The board that the fuzzers of devices, saved states and guests run: everything that a machine can have, on
// a virtual clock, so that one input always does the same.
#pragma once

#include <array>
#include <memory>

#include "base/assert.hpp"
#include "cpu/interp/interpreter.hpp"
#include "machine/board.hpp"

namespace vellum::fuzz {

inline constexpr unsigned kVcpus = 2;
inline constexpr u64 kMemory = u64{512} << 10;

class NullControl final : public MachineControl {
 public:
  void power_off() override {}
  void reset() override {}
  void debug_exit(u32) override {}
};

class NullSink final : public ByteSink {
 public:
  void write(std::span<const u8>) override {}
};

struct Surroundings {
  NullControl control;
  NullSink serial, console;
  std::array<u8, 64 << 10> bios{};
  BoardResources resources{control, serial, &console, 1'767'225'600};
  Surroundings() {
    resources.bios = bios;
    resources.vga_bios = std::span(bios).first(0x8000);
    resources.vga_memory = 256 << 10;
  }
};

inline MachineConfig board_config() {
  MachineConfig config;
  config.memory = kMemory;
  config.cpus = kVcpus;
  config.clock = ClockKind::kVirtual;
  config.debug_exit = true;
  config.display = DisplayKind::kStd;
  config.engine = "interp";  // vcpu() below knows its inside
  return config;
}

inline Result<std::unique_ptr<Board>> make_board(Surroundings& around,
                                                 std::span<const SavedState> saved = {}) {
  auto board = Board::create(board_config(), around.resources, saved);
  if (board && saved.empty()) VELLUM_TRY((*board)->start_like_firmware());
  return board;
}

/// The inside of a vCPU: its registers, and the address space and the APIC as it sees them.
inline Vcpu& vcpu(Board& board, unsigned index) {
  return static_cast<interp::Interpreter&>(*board.vcpus()[index]->engine).vcpu();
}

inline void advance(Board& board, u64 ns) {
  VirtualClock& clock = *board.virtual_clock();
  clock.skip_to(clock.now_ns() + ns);
  clock.run_expired();
}

}  // namespace vellum::fuzz
