// The shape of the MSR table, for its parts and its tests.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "cpu/system/vcpu.hpp"
#include "x86/msr.hpp"

namespace vellum {

enum class MsrVendor : u8 { kAny, kIntel, kAmd };

struct MsrRow {
  u32 first, last;  ///< numbers, both included
  std::string_view name;
  std::optional<x86::Feature> gate;  ///< exists only with this feature
  MsrVendor vendor;
  // Each returns false after raising the fault. nullptr: #GP(0).
  bool (*read)(Vcpu&, u32 index, u64& value);
  bool (*write)(Vcpu&, u32 index, u64 value);
};

/// All rows, ascending.
std::span<const MsrRow> msr_table();

// Memory types (memory_types.cpp). Vellum keeps what software writes and checks it; guest RAM is always
// write-back.
bool read_mtrr(Vcpu& v, u32 index, u64& value);
bool write_mtrr(Vcpu& v, u32 index, u64 value);
bool write_pat(Vcpu& v, u32 index, u64 value);

}  // namespace vellum
