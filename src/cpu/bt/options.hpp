// What can be chosen about the translator, so that the effect of each technique can be seen, and where it
// runs at all.
#pragma once

#include <string_view>

#include "base/int.hpp"
#include "base/result.hpp"

namespace vellum::bt {

/// Whether LOOP is as fast as other jumps on this processor.
bool host_loops_fast();

struct Options {
  /// Bytes of translated code of a VM, or of each vCPU if they do not share; at least 1 MiB.
  std::size_t cache_bytes = 64 << 20;
  /// The vCPUs of a VM share what is translated.
  bool share = true;
  /// How often a unit is interpreted before it is translated.
  u32 threshold = 16;
  /// How memory operands find their pages (docs/design/flat-table.md).
  /// kAuto: looked up at first, through the flat table once a unit is hot.
  enum class Memory : u8 { kAuto, kHashed, kFlat } memory = Memory::kAuto;
  /// Whether translated code counts the instructions that it retires, as budgets and virtual clocks need.
  /// kAuto: under a virtual clock.
  enum class Count : u8 { kAuto, kOn, kOff } count = Count::kAuto;
  /// How often a unit runs with its memory operands looked up before it is hot.
  u32 hot = 2000;
  /// Units jump to each other directly.
  bool chain = true;
  /// Calls and returns of 64-bit code are the host's own, which its processor predicts.
  bool returns = true;
  /// A return's target is compared by LOOP, which is fast on AMD's processors only. Not for users to choose.
  bool by_loop = host_loops_fast();
  /// The most instructions of a unit, 1 to 32.
  unsigned unit = 32;
  /// Names translated code for perf(1), in /tmp/perf-PID.map.
  bool perf_map = false;
};

/// "unit=8,chain=off,threshold=0,cache=16M": any of these, in any order; what is not named stays as it is in
/// `to`.
Result<> parse_options(std::string_view text, Options& to);

/// Whether this processor has BMI2, which translated code uses.
bool host_can_translate();

}  // namespace vellum::bt
