// One instruction, the state it starts from, and what came of it: the common currency of the native and the
// engine runner.
//
// Both see the same user-mode address space, below 4 GiB so that compatibility mode reaches it:
//
//   kCode          one page of code, read-only and executable; the instruction stands at any offset
//   kData          page 0 absent | pages 1, 2 read-write | page 3 read-only | page 4 absent
#pragma once

#include <array>

#include "base/address.hpp"
#include "cpu/state.hpp"

namespace vellum::differential {

inline constexpr u64 kCode = 0x1000'0000;
inline constexpr u64 kData = 0x2000'0000;
inline constexpr u64 kReadWrite = kData + kPageSize;
inline constexpr u64 kReadOnly = kData + 3 * kPageSize;
inline constexpr u64 kDataPages = 3;  ///< that exist
inline constexpr u64 kWritableBytes = 2 * kPageSize;

struct Registers {
  std::array<u64, 16> gpr{};
  u64 rip = 0;
  u64 rflags = x86::rflags::kFixed1 | x86::rflags::kIf;
  XsaveArea fp;
};

struct Case {
  std::array<u8, 16> code{};
  u8 length = 0;          ///< bytes of `code` that count; what follows in the page is INT3
  bool compat = false;    ///< 32-bit compatibility mode
  bool repeated = false;  ///< a string instruction with REP: runs to its end, not for one iteration
  u64 data_seed = 0;      ///< fills the data pages
  Registers in;
};

inline constexpr u8 kNoFault = 0xff;

struct Outcome {
  Registers out;
  u8 vector = kNoFault;
  u32 error_code = 0;
  u64 cr2 = 0;
  std::array<u8, kWritableBytes> data{};
};

/// The data pages' first contents.
void fill_data(u64 seed, u8* bytes, std::size_t size);

}  // namespace vellum::differential
