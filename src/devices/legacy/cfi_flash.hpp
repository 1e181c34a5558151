// A flash chip that is written in place: NOR flash of one byte's width with Intel's commands (JEDEC
// JESD68.01, vendor command set 1), in which UEFI keeps its variables.
//
//   offset 0 … size      4 KiB blocks. Read: the contents, or, after a command that says so, status, ids, the
//                        query table. Written: commands; the addressed byte or block is what they are about.
//
// Programming clears bits, erasing sets all of a block. Both are done when the command is. While the contents
// are what is read, guests have them mapped; writes come here always.
//
// Threads: any vCPU.
#pragma once

#include <mutex>
#include <span>
#include <vector>

#include "base/snapshot.hpp"
#include "devices/legacy/byte_device.hpp"
#include "memory/guest_ram.hpp"

namespace vellum {

/// Where the contents are kept beyond the board's life.
class FlashContents {
 public:
  virtual ~FlashContents() = default;
  /// As long as the object lives; a positive multiple of CfiFlash::kBlock.
  virtual std::span<const u8> bytes() const = 0;
  /// Replaces those at `offset`. False: the host failed, and they stay.
  virtual bool store(u64 offset, std::span<const u8> bytes) = 0;
};

class CfiFlash final : public ByteDevice, public Snapshottable {
 public:
  static constexpr u64 kBlock = kPageSize;

  /// What a read gives.
  enum class Mode : u8 { kArray, kStatus, kIds, kQuery };
  /// What the next write completes.
  enum class Pending : u8 { kNothing, kProgram, kErase, kLock };

  struct State {
    static constexpr std::string_view kKind = "cfi-flash";
    static constexpr u32 kVersion = 1;
    std::vector<u8> contents;  ///< empty at power-on: what `kept` has
    Mode mode = Mode::kArray;
    Pending pending = Pending::kNothing;
    u8 status = 0x80;
    State() {}
    template <class V>
    void visit(V& v) {
      v(contents), v(mode), v(pending), v(status);
    }
  };

  /// `block`: one of `ram`, of the size of `kept`, which appears at `start`. Saved contents of another size
  /// are not taken. All outlive this.
  CfiFlash(GuestRam& ram, unsigned block, GuestPhys start, FlashContents& kept, const State& state = State());

  SavedState save() const override;

 private:
  u8 read_byte(u64 offset) override;
  void write_byte(u64 offset, u8 value) override;
  // With mutex_ held:
  void command(u8 value);
  void change(u64 offset, std::span<const u8> bytes, u8 error);
  void set_mode(Mode mode);
  void map();

  GuestRam& ram_;
  const unsigned block_;
  const GuestPhys start_;
  FlashContents& kept_;
  const std::span<u8> contents_;
  mutable std::mutex mutex_;  // all below, changes of contents_
  Mode mode_;
  Pending pending_;
  u8 status_;
};

}  // namespace vellum
