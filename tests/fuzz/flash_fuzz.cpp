// Drives the flash chip of UEFI's variables as a hostile guest does: writes that are commands, data or
// neither, reads of any width through the device or, where the contents are mapped, of them; a host that
// fails to store; saves, restores and restores of other bytes. What the chip holds is at all times what was
// kept; nothing but an erased block gains a bit; it is mapped exactly while it reads as an array; and a chip
// built from its state reads the same everywhere.
//
// The input: a byte of options, then steps: a byte that chooses, then operands.
#include <algorithm>

#include "base/assert.hpp"
#include "devices/legacy/cfi_flash.hpp"
#include "fuzz_input.hpp"

using namespace vellum;

namespace {

constexpr u64 kSize = 2 * CfiFlash::kBlock, kStart = 0xffc0'0000;

class Kept final : public FlashContents {
 public:
  std::span<const u8> bytes() const override { return all; }
  bool store(u64 offset, std::span<const u8> bytes) override {
    VELLUM_ASSERT(offset <= kSize && bytes.size() <= kSize - offset, "{}+{}", offset, bytes.size());
    if (!works) return false;
    const auto to = std::span(all).subspan(offset, bytes.size());
    const bool erases = bytes.size() == CfiFlash::kBlock && offset % CfiFlash::kBlock == 0 &&
                        std::ranges::all_of(bytes, [](u8 byte) { return byte == 0xff; });
    for (std::size_t n = 0; n < bytes.size(); ++n)
      VELLUM_ASSERT(erases || restores || (bytes[n] & ~to[n]) == 0, "{:#x} became {:#x}", to[n], bytes[n]);
    std::ranges::copy(bytes, to.begin());
    return true;
  }
  std::vector<u8> all = std::vector<u8>(kSize, 0xff);
  bool works = true, restores = false;
};

struct Chip {
  Chip(Kept& kept, const CfiFlash::State& state)
      : ram(std::move(*GuestRam::create(64 << 10, kSize))),
        block(ram->add_block(kSize)),
        flash(*ram, block, GuestPhys(kStart), kept, state) {}

  const u8* mapped(u64 offset) const { return ram->host(GuestPhys(kStart + offset)); }
  /// As a vCPU reads.
  u64 read(u64 offset, unsigned size) {
    const u8* const host = mapped(offset);
    if (host == nullptr) return flash.read(offset, size);
    u64 value = 0;
    std::memcpy(&value, host, size);
    return value;
  }
  void check(const Kept& kept) {
    VELLUM_ASSERT(std::ranges::equal(ram->block_bytes(block), kept.all),
                  "what it holds is not what was kept");
    const auto state = decode_state<CfiFlash::State>(flash.save());
    VELLUM_ASSERT(state, "its own state is refused");
    VELLUM_ASSERT((mapped(0) != nullptr) == (state->mode == CfiFlash::Mode::kArray), "mapped: {}",
                  mapped(0) != nullptr);
    VELLUM_ASSERT(ram->store_host(GuestPhys(kStart)) == nullptr, "stores do not come to it");
  }

  std::unique_ptr<GuestRam> ram;
  unsigned block;
  CfiFlash flash;
};

/// A place in the device, of an access of `size` bytes: often in the tables that it has for its ids and its
/// query.
u64 take_place(fuzz::Input& in, unsigned size) {
  const u16 bits = in.take<u16>();
  return ((bits & 0x8000) != 0 ? bits & 0x3f : bits & (kSize - 1)) & ~u64{size - 1};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
  fuzz::Input in(data, std::min<std::size_t>(size, 1024));
  // Commands (28F…J3), so that two of them in a row are not chance.
  constexpr u8 kCommands[] = {0xff, 0x70, 0x50, 0x90, 0x98, 0x40, 0x10, 0x20, 0x60, 0xd0, 0x01, 0xe8};
  Kept kept;
  auto chip = std::make_unique<Chip>(kept, CfiFlash::State());
  while (!in.empty()) {
    const u8 what = in.take<u8>();
    const unsigned width = 1u << (what >> 4 & 3);
    switch (what & 7) {
      case 0:
      case 1:
      case 2:
        chip->flash.write(take_place(in, 1), 1, kCommands[in.below(std::size(kCommands))]);
        break;
      case 3: {
        const u64 at = take_place(in, width);
        chip->flash.write(at, width, in.take<u64>());
        break;
      }
      case 4:
      case 5: {
        const u64 value = chip->read(take_place(in, width), width);
        if (width < 8 && value >> (8 * width) != 0) __builtin_trap();
        break;
      }
      case 6:
        kept.works = (what & 8) != 0;
        break;
      default: {
        // A chip from this one's state; or from a state that somebody has changed.
        auto state = *decode_state<CfiFlash::State>(chip->flash.save());
        if ((what & 8) != 0) {
          state.mode = static_cast<CfiFlash::Mode>(in.take<u8>());
          state.pending = static_cast<CfiFlash::Pending>(in.take<u8>());
          state.status = in.take<u8>();
          if (in.below(2) == 1) state.contents.resize(in.take<u16>());
        }
        kept.works = kept.restores = true;
        auto next = std::make_unique<Chip>(kept, state);
        kept.restores = false;
        for (u64 at = 0; (what & 8) == 0 && at < kSize; at += 61)
          VELLUM_ASSERT(chip->read(at, 1) == next->read(at, 1), "a restored chip reads otherwise at {:#x}",
                        at);
        chip = std::move(next);
      }
    }
    if ((what & 64) != 0) chip->check(kept);  // it takes longer than all else
  }
  chip->check(kept);
  return 0;
}
