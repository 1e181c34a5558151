// Stores of translated code in the dirty log, by way of flat tables and without.
#include "long_guest.hpp"

namespace vellum::bt {
namespace {

template <Options::Memory kMemory>
struct DirtyLog : LongGuest {
  DirtyLog() : LongGuest({.cache_bytes = 4 << 20, .threshold = 0, .memory = kMemory}) {
    // again: MOV [RBX], RAX; DEC ECX; JNZ again; HLT
    code({0x48, 0x89, 0x03, 0xff, 0xc9, 0x75, 0xf9, 0xf4});
  }
  void store(u64 rounds) {
    state_.rip = kCode;
    state_.gpr[x86::kRbx] = kData;
    state_.gpr[x86::kRcx] = rounds;
    state_.activity = Activity::kRunning;
    run();
  }
  u64 stored_in(u64 rounds) {
    store(rounds);
    return ram_->take_dirty_pages()[0];
  }
  static constexpr u64 kDataPage = u64{1} << (kData / kPageSize);
};
using DirtyLogFlat = DirtyLog<Options::Memory::kFlat>;
using DirtyLogHashed = DirtyLog<Options::Memory::kHashed>;

TEST_F(DirtyLogFlat, EachRoundHasItsStores) {
  store(10);
  ram_->start_dirty_log();

  EXPECT_NE(stored_in(5'000) & kDataPage, 0u);
  EXPECT_EQ(ram_->take_dirty_pages()[0], 0u);
  EXPECT_NE(stored_in(5'000) & kDataPage, 0u);
  EXPECT_NE(stored_in(1) & kDataPage, 0u);
  EXPECT_LT(count("host faults in translated code"), 20u);
}

TEST_F(DirtyLogHashed, EachRoundHasItsStores) {
  store(10);
  ram_->start_dirty_log();

  EXPECT_NE(stored_in(5'000) & kDataPage, 0u);
  EXPECT_EQ(ram_->take_dirty_pages()[0], 0u);
  EXPECT_NE(stored_in(5'000) & kDataPage, 0u);
  EXPECT_NE(stored_in(1) & kDataPage, 0u);
}

}  // namespace
}  // namespace vellum::bt
