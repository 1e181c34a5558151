#include "devices/legacy/cfi_flash.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <string_view>
#include <utility>

#include "base/assert.hpp"

namespace vellum {
namespace {

// Intel's 28F…J3 (data sheet, "Command Definitions"): the first cycle, and what may follow as the second.
constexpr u8 kReadArray = 0xff, kReadStatus = 0x70, kClearStatus = 0x50, kReadIds = 0x90, kReadQuery = 0x98;
constexpr u8 kProgram = 0x40, kProgramToo = 0x10, kErase = 0x20, kLock = 0x60;
constexpr u8 kConfirm = 0xd0, kLockBlock = 0x01;

// The status register.
constexpr u8 kReady = 0x80, kEraseError = 0x20, kProgramError = 0x10;

constexpr u8 kManufacturer = 0x89, kDevice = 0x18;

// JESD68.01 §4: what is not 0.
u8 query_byte(u64 offset, u64 size) {
  constexpr std::string_view kSignature = "QRY", kTable = "PRI10";
  const u64 last = size / CfiFlash::kBlock - 1, unit = CfiFlash::kBlock / 256;
  switch (offset) {
    case 0x10:
    case 0x11:
    case 0x12:
      return static_cast<u8>(kSignature[offset - 0x10]);
    case 0x13:  // the primary command set, and where its table is
      return 0x01;
    case 0x15:
      return 0x31;
    case 0x1b:  // 4.5 to 5.5 V
      return 0x45;
    case 0x1c:
      return 0x55;
    case 0x1f:  // typically 2^n µs a byte, 2^n ms a block; at most 2^n times that
      return 7;
    case 0x21:
      return 10;
    case 0x23:
    case 0x25:
      return 4;
    case 0x27:  // 2^n bytes at most
      return static_cast<u8>(std::bit_width(size - 1));
    case 0x2c:  // one region of equal blocks: their number less one, size / 256
      return 1;
    case 0x2d:
      return static_cast<u8>(last);
    case 0x2e:
      return static_cast<u8>(last >> 8);
    case 0x2f:
      return static_cast<u8>(unit);
    case 0x30:
      return static_cast<u8>(unit >> 8);
    case 0x31:  // nothing optional
    case 0x32:
    case 0x33:
    case 0x34:
    case 0x35:
      return static_cast<u8>(kTable[offset - 0x31]);
    default:
      return 0;
  }
}

}  // namespace

CfiFlash::CfiFlash(GuestRam& ram, unsigned block, GuestPhys start, FlashContents& kept, const State& state)
    : ram_(ram),
      block_(block),
      start_(start),
      kept_(kept),
      contents_(ram.block_bytes(block)),
      mode_(state.mode),
      pending_(state.pending),
      status_(state.status) {
  const auto at_power_on = kept.bytes();
  VELLUM_ASSERT(contents_.size() == at_power_on.size() && contents_.size() % kBlock == 0, "{} bytes for {}",
                contents_.size(), at_power_on.size());
  std::ranges::copy(at_power_on, contents_.begin());
  if (state.contents.size() == contents_.size() && !std::ranges::equal(state.contents, contents_)) {
    std::ranges::copy(state.contents, contents_.begin());
    kept.store(0, state.contents);
  }
  if (mode_ > Mode::kQuery) mode_ = Mode::kStatus;
  if (pending_ > Pending::kLock) pending_ = Pending::kNothing;
  map();
}

void CfiFlash::map() {
  ram_.map_block(block_, start_, mode_ == Mode::kArray ? Pmap::Access::kRead : Pmap::Access::kNone);
}

void CfiFlash::set_mode(Mode mode) {
  const bool remap = (mode == Mode::kArray) != (mode_ == Mode::kArray);
  mode_ = mode;
  if (remap) map();
}

u8 CfiFlash::read_byte(u64 offset) {
  const std::scoped_lock lock(mutex_);
  switch (mode_) {
    case Mode::kArray:  // a vCPU that has not heard yet
      return contents_[offset];
    case Mode::kStatus:
      return status_;
    case Mode::kIds:
      return offset % kBlock == 0 ? kManufacturer : offset % kBlock == 1 ? kDevice : 0;
    case Mode::kQuery:
      break;
  }
  return query_byte(offset, contents_.size());
}

void CfiFlash::write_byte(u64 offset, u8 value) {
  const std::scoped_lock lock(mutex_);
  switch (std::exchange(pending_, Pending::kNothing)) {
    case Pending::kNothing:
      return command(value);
    case Pending::kProgram: {
      const u8 byte = contents_[offset] & value;
      return change(offset, std::span(&byte, 1), kProgramError);
    }
    case Pending::kErase: {
      static constexpr auto kErased = [] {
        std::array<u8, kBlock> bytes{};
        bytes.fill(0xff);
        return bytes;
      }();
      if (value == kConfirm) return change(offset - offset % kBlock, kErased, kEraseError);
      break;
    }
    case Pending::kLock:  // no block can be locked: there is nobody to keep out
      status_ |= kReady;
      if (value == kConfirm || value == kLockBlock) return;
      break;
  }
  status_ |= kReady | kEraseError | kProgramError;  // a command sequence that there is not
}

void CfiFlash::command(u8 value) {
  switch (value) {
    case kReadStatus:
      return set_mode(Mode::kStatus);
    case kClearStatus:
      // All of it, as QEMU's flash has it: OVMF knows by this zero that it has flash before it. The chip's
      // ready bit stays set.
      status_ = 0;
      return set_mode(Mode::kArray);
    case kReadIds:
      return set_mode(Mode::kIds);
    case kReadQuery:
      return set_mode(Mode::kQuery);
    case kProgram:
    case kProgramToo:
      pending_ = Pending::kProgram;
      return set_mode(Mode::kStatus);
    case kErase:
      pending_ = Pending::kErase;
      return set_mode(Mode::kStatus);
    case kLock:
      pending_ = Pending::kLock;
      return set_mode(Mode::kStatus);
    case kReadArray:
    default:  // the data sheet says nothing of others
      return set_mode(Mode::kArray);
  }
}

// `offset` is within the device, whose range is the contents' size; a block's end is as well.
void CfiFlash::change(u64 offset, std::span<const u8> bytes, u8 error) {
  status_ |= kReady;
  if (!kept_.store(offset, bytes)) {
    status_ |= error;
    return;
  }
  const auto to = contents_.subspan(offset, bytes.size());
  std::ranges::copy(bytes, to.begin());
  ram_.note_store(ram_.name_of(to.data()), to.size());
}

SavedState CfiFlash::save() const {
  const std::scoped_lock lock(mutex_);
  State state;
  state.contents.assign(contents_.begin(), contents_.end());
  state.mode = mode_;
  state.pending = pending_;
  state.status = status_;
  return encode_state(state);
}

}  // namespace vellum
