// Thunks: a guest instruction's own bytes, re-encoded so that they run in the host's 64-bit mode, between
// loads of the guest registers that it names and stores of those that it writes.
//
//   void thunk(VcpuState* rdi, void* rsi)
//
//   rdi   the guest's state; every register is addressed from it
//   rsi   what the memory operand became: guest RAM itself, or a buffer
//   rax   stands for the one general register that an instruction may name in ModRM
//
// Vector registers keep their numbers: all are the caller's to save. Where the instruction stands, a thunk
// has neither moved the stack pointer nor changed a callee-saved register, so a trap can leave it by a plain
// `ret` (fault_guard.hpp).
#pragma once

#include <array>
#include <memory>
#include <unordered_map>

#include "cpu/state.hpp"
#include "x86/decode.hpp"

namespace vellum::interp::native {

using Thunk = void (*)(VcpuState*, void* memory);

/// Everything a thunk is made of; equal specs share one thunk.
struct ThunkSpec {
  std::array<u8, 16> code{};  ///< the re-encoded instruction
  u8 code_size = 0;
  bool whole_x87 = false;  ///< x87 and MMX: the whole FXSAVE image goes in and out; vector masks are not used
  bool vex = false;        ///< destinations are cleared above what was written
  bool flags_in = false;   ///< SF, ZF, AF, PF and CF are read
  u16 flags_out = 0;       ///< the arithmetic flags that it writes
  u16 load_xmm = 0;        ///< bit n: XMMn is read
  u16 load_ymm = 0;        ///< bit n: YMMn is read
  u16 store = 0;           ///< bit n: XMMn, or YMMn if `vex`, is written
  u8 named_gpr = 0;        ///< guest register that rax stands for
  bool load_named = false, store_named = false;
  u8 load_gpr = 0, store_gpr = 0;  ///< bit n: implicit use of register n itself (rax, rcx, rdx)

  bool operator==(const ThunkSpec&) const = default;
};

/// What an instruction's memory operand is.
struct MemoryUse {
  const ZydisDecodedOperand* operand = nullptr;  ///< nullptr: none
  unsigned size = 0;                             ///< bytes
  bool read = false, written = false;
};

/// The thunk that an x87, MMX, SSE or AVX instruction needs, and its memory operand. `mode_64`: of the
/// guest's code.
ThunkSpec plan_thunk(const x86::Decoded& decoded, bool mode_64, MemoryUse& memory);

/// The thunks of one vCPU. Their code is mapped twice, once writable and once executable, never both (W^X).
class ThunkCache {
 public:
  ThunkCache();
  ~ThunkCache();
  ThunkCache(const ThunkCache&) = delete;
  ThunkCache& operator=(const ThunkCache&) = delete;

  /// The thunk for `spec`; generated when it is new. There must be room (see full()).
  Thunk get(const ThunkSpec& spec);
  bool full() const { return used_ + kReserve > kCodeBytes; }
  /// Drops every thunk. The next one gets a fresh mapping: the processor has then fetched nothing from its
  /// addresses that it could run stale (SDM vol. 3A §9.1.3 asks for serialization when code changes under an
  /// alias).
  void clear();

 private:
  static constexpr std::size_t kCodeBytes = 2 << 20;
  static constexpr std::size_t kReserve = 64 << 10;  // one unit's worth of new thunks fits behind full()

  struct Hash {
    std::size_t operator()(const ThunkSpec& spec) const;
  };
  void map();

  u8* executable_ = nullptr;
  u8* writable_ = nullptr;
  std::size_t used_ = 0;
  std::unordered_map<ThunkSpec, Thunk, Hash> thunks_;
};

}  // namespace vellum::interp::native
