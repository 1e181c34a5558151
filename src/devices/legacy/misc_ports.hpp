// The small ports: debug exit, debug console, POST code, reset control, system control port A.
#pragma once

#include <atomic>
#include <mutex>

#include "base/snapshot.hpp"
#include "base/stats.hpp"
#include "devices/legacy/byte_device.hpp"
#include "devices/legacy/byte_sink.hpp"
#include "devices/legacy/machine_control.hpp"

namespace vellum {

/// QEMU's isa-debug-exit: a write ends the machine with status (value << 1) | 1. Port 0xf4, 4 bytes; reads 0.
class DebugExit final : public BusDevice {
 public:
  static constexpr u64 kPort = 0xf4, kPortCount = 4;
  explicit DebugExit(MachineControl& control) : control_(control) {}
  u64 read(u64, unsigned) override { return 0; }
  void write(u64, unsigned, u64 value) override { control_.debug_exit(static_cast<u32>(value)); }

 private:
  MachineControl& control_;
};

/// The Bochs debug console: what is written appears in the sink; reads 0xe9, by which guests detect it. Port
/// 0xe9, and where firmware writes (QEMU's debug console), 0x402.
class DebugConsole final : public ByteDevice {
 public:
  static constexpr u64 kPort = 0xe9, kFirmwarePort = 0x402, kPortCount = 1;
  explicit DebugConsole(ByteSink& sink) : sink_(sink) {}

 private:
  u8 read_byte(u64) override { return 0xe9; }
  void write_byte(u64, u8 value) override {
    std::scoped_lock lock(mutex_);
    sink_.write({&value, 1});
  }

  std::mutex mutex_;
  ByteSink& sink_;
};

/// Firmware's progress codes; a guest's favourite port for short delays. Port 0x80, readable (it is page
/// register storage of the DMA controller).
class PostCode final : public ByteDevice, public Snapshottable {
 public:
  static constexpr u64 kPort = 0x80, kPortCount = 1;
  struct State {
    static constexpr std::string_view kKind = "post-code";
    static constexpr u32 kVersion = 1;
    u8 code = 0;
    State() {}
    template <class V>
    void visit(V& v) {
      v(code);
    }
  };
  explicit PostCode(const State& state = State()) : code_(state.code) {}
  u8 code() const { return code_.load(std::memory_order_relaxed); }
  SavedState save() const override;

 private:
  u8 read_byte(u64) override { return code(); }
  void write_byte(u64, u8 value) override { code_.store(value, std::memory_order_relaxed); }

  std::atomic<u8> code_;
};

/// The PIIX reset control register (port 0xcf9): bit 1 chooses a hard reset, a rise of bit 2 makes it happen.
/// Also the FADT's reset register: value kResetValue.
class ResetPort final : public ByteDevice, public Snapshottable {
 public:
  static constexpr u64 kPort = 0xcf9, kPortCount = 1;
  static constexpr u8 kResetValue = 0x06;
  struct State {
    static constexpr std::string_view kKind = "reset-port";
    static constexpr u32 kVersion = 1;
    u8 value = 0;
    State() {}
    template <class V>
    void visit(V& v) {
      v(value);
    }
  };
  explicit ResetPort(MachineControl& control, const State& state = State())
      : control_(control), value_(state.value) {}
  SavedState save() const override;

 private:
  u8 read_byte(u64) override { return value_.load(std::memory_order_relaxed); }
  void write_byte(u64, u8 value) override;

  MachineControl& control_;
  std::atomic<u8> value_;
};

/// System control port A of the PS/2 (port 0x92): a rise of bit 0 resets the processor; bit 1 is the A20
/// gate, which can be read back but masks nothing: A20 is always on (no system of the last twenty years wants
/// it off).
class SystemControlA final : public ByteDevice, public Snapshottable {
 public:
  static constexpr u64 kPort = 0x92, kPortCount = 1;
  struct State {
    static constexpr std::string_view kKind = "system-control-a";
    static constexpr u32 kVersion = 1;
    u8 value = 2;
    State() {}
    template <class V>
    void visit(V& v) {
      v(value);
    }
  };
  explicit SystemControlA(MachineControl& control, const State& state = State())
      : control_(control), value_(state.value) {}
  SavedState save() const override;

 private:
  u8 read_byte(u64) override { return value_.load(std::memory_order_relaxed); }
  void write_byte(u64, u8 value) override;

  MachineControl& control_;
  std::atomic<u8> value_;
};

}  // namespace vellum
