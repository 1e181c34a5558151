// A wire, a machine and a clock for device tests.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/clock.hpp"
#include "devices/legacy/byte_sink.hpp"
#include "devices/legacy/machine_control.hpp"
#include "irq/line.hpp"
#include "memory/bus.hpp"

namespace vellum::test {

struct Wire final : InterruptLine {
  bool level = false;
  int rises = 0;
  void set(bool asserted) override {
    if (asserted && !level) ++rises;
    level = asserted;
  }
};

struct Machine final : MachineControl {
  int power_offs = 0, resets = 0;
  std::vector<u32> exits;
  void power_off() override { ++power_offs; }
  void reset() override { ++resets; }
  void debug_exit(u32 value) override { exits.push_back(value); }
};

struct Text final : ByteSink {
  std::string text;
  void write(std::span<const u8> bytes) override { text.append(bytes.begin(), bytes.end()); }
};

inline u8 in(BusDevice& device, u64 offset) {
  return static_cast<u8>(device.read(offset, 1));
}
inline void out(BusDevice& device, u64 offset, unsigned value) {
  device.write(offset, 1, value);
}

inline void advance_to(VirtualClock& clock, u64 ns) {
  clock.skip_to(ns);
  clock.run_expired();
}

}  // namespace vellum::test
