// Units: straight runs of decoded instructions, and the cache that finds them.
//
// A unit starts at a guest-physical address in one code mode and ends at a branch, at an instruction that may
// change the mode (outside 64-bit mode: or loads a segment register), at kMaxInstructions, or at the end of
// its page (one instruction may reach into the next page; it is then the unit's only one). It is valid as
// long as the code generation of its page (or both) is what it was decoded under
// (docs/design/self-modifying-code.md).
//
// Two ways lead to a unit: by guest-virtual RIP while no translation has changed since (a small direct-mapped
// table, checked by Mmu::code_map_stamp), else by guest-physical address.
#pragma once

#include <array>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "cpu/interp/insn.hpp"
#include "cpu/interp/native.hpp"

namespace vellum::interp {

/// What is kept of a unit besides its instructions, which lie behind it in memory: there are tens of
/// thousands of units.
struct alignas(Insn) Unit {
  GuestPhys start;
  const CodePage* page = nullptr;
  const CodePage* second = nullptr;  ///< nullptr: the unit reaches into no other page
  u32 generation = 0, second_generation = 0;
  /// A UnitRunner's own: what it made of the unit, under which epoch of its cache, and how often it ran
  /// before.
  mutable void* translated = nullptr;
  mutable u32 epoch = 0;
  mutable u32 runs = 0;
  u16 bytes = 0;
  u8 count = 0;

  struct Delete {
    void operator()(Unit* unit) const { ::operator delete(unit); }
  };
  /// `unit` with `insns` behind it.
  static std::unique_ptr<Unit, Delete> make(const Unit& unit, std::span<const Insn> insns);

  /// Only of one that make() made.
  std::span<const Insn> insns() const { return {reinterpret_cast<const Insn*>(this + 1), count}; }

  bool valid() const {
    return page != nullptr && page->generation.load(std::memory_order_acquire) == generation &&
           (second == nullptr || second->generation.load(std::memory_order_acquire) == second_generation);
  }
  bool crosses() const { return second != nullptr; }
  /// Over the end of the address space, so that two halves' mappings count.
  bool wraps(u64 linear) const { return crosses() && (linear | kPageMask) == ~u64{0}; }
};
static_assert(std::is_trivially_destructible_v<Unit> && std::is_trivially_copyable_v<Insn>);
using UnitPtr = std::unique_ptr<Unit, Unit::Delete>;

/// MOV, POP, LDS … to a segment register. In 64-bit mode that changes no address but those from FS and GS.
bool loads_segment(const x86::Decoded& d);

class UnitCache : public StatSource {
 public:
  static constexpr unsigned kMaxInstructions = 32;

  explicit UnitCache(Vcpu& v);

  /// The unit at the current CS:RIP. nullptr: v.fault holds a fetch fault. `mode` and the linear address of
  /// RIP are the caller's, who has them at hand; `key` distinguishes code mode and privilege.
  const Unit* find(u64 linear, x86::CodeMode mode, u32 key) {
    const Shortcut& s = shortcuts_[(linear ^ (linear >> 12)) & (kShortcuts - 1)];
    if (s.linear == linear && s.stamp == v_.mmu.code_map_stamp(linear) && s.key == key && s.unit->valid())
        [[likely]]
      return s.unit;
    return find_slow(linear, mode, key);
  }

  /// Forgets everything.
  void clear();
  /// At most this many instructions a unit from now on.
  void set_max_instructions(unsigned n) { max_instructions_ = n; }

  void stats(std::vector<StatRow>& rows) const override;

 private:
  static constexpr u64 kShortcuts = 8192;
  static constexpr u64 kNear = 16384;
  static constexpr std::size_t kMaxReplaced = 4096;
  // Beyond it everything is dropped: some 12 MiB. What has been translated runs on without.
  static constexpr std::size_t kMaxUnits = 1 << 15;

  struct Shortcut {
    u64 linear = ~u64{0};
    u64 stamp = 0;
    u32 key = 0;
    const Unit* unit = nullptr;
  };

  // A direct-mapped way into units_, for the many look-ups after a change of mappings.
  struct Near {
    u64 key = ~u64{0};
    const Unit* unit = nullptr;
  };

  const Unit* find_slow(u64 linear, x86::CodeMode mode, u32 key);
  void replace(UnitPtr& slot, UnitPtr unit);
  UnitPtr decode_unit(u64 linear, const Mmu::FetchPage& page, x86::CodeMode mode);
  void bind(const x86::Decoded& decoded, x86::CodeMode mode, Insn& out, bool& ends_unit);

  Vcpu& v_;
  NativeCode native_;
  std::unique_ptr<Shortcut[]> shortcuts_;
  std::unique_ptr<Near[]> near_;
  std::unordered_map<u64, UnitPtr> units_;  // key: physical address * 4 + mode
  /// Replaced units, no longer valid: shortcuts of other addresses and privileges may still point to them.
  std::vector<UnitPtr> replaced_;
  unsigned max_instructions_ = kMaxInstructions;
  std::vector<Insn> insns_;  // of the unit that is being decoded
  UnitPtr uncached_;         // code outside RAM is decoded each time

  Counter decoded_units_, decoded_instructions_, redecoded_, dropped_;
  std::unique_ptr<Counter[]> unknown_;  // by mnemonic, executions: neither table has a row
};

}  // namespace vellum::interp
