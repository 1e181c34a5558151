// Guest memory in the kernel's slots, against a scripted kernel that refuses what the real one refuses.
#include "cpu/kvm/memory_slots.hpp"

#include <gtest/gtest.h>

#include "cpu/kvm/vm.hpp"
#include "scripted_kvm.hpp"

namespace vellum::kvm {
namespace {

using Kind = GuestRam::Behind::Kind;
constexpr GuestPhys kBios{0xf0000}, kRomHome{0xffff0000};
constexpr u64 kMib = u64{1} << 20;

struct MemorySlotsTest : ::testing::Test {
  MemorySlotsTest() { vm = std::move(*Vm::create(kvm, *ram)); }
  const kvm_userspace_memory_region* slot_at(GuestPhys a) const {
    for (const auto& [number, slot] : kvm.slots)
      if (slot.guest_phys_addr == a.value) return &slot;
    return nullptr;
  }
  void dirty(GuestPhys slot, std::vector<u64> bits) { kvm.dirty[slot_at(slot)->slot] = std::move(bits); }
  ScriptedKvm kvm;
  std::unique_ptr<GuestRam> ram = std::move(*GuestRam::create(2 * kMib, 0x10000));
  unsigned rom = ram->add_block(0x10000);
  std::unique_ptr<Vm> vm;
};

TEST_F(MemorySlotsTest, RamIsOneSlot) {
  ASSERT_EQ(kvm.slots.size(), 1u);
  EXPECT_EQ(slot_at(GuestPhys(0))->memory_size, 2 * kMib);
  EXPECT_EQ(slot_at(GuestPhys(0))->flags, 0u);
  EXPECT_EQ(slot_at(GuestPhys(0))->userspace_addr, reinterpret_cast<u64>(ram->host(GuestPhys(0))));
}

TEST_F(MemorySlotsTest, RomIsReadOnlyInBothOfItsPlaces) {
  ram->map_block(rom, kRomHome, Pmap::Access::kRead);
  ram->map_shadow({kBios, 0x10000}, {.kind = Kind::kBlock, .block = rom}, {});

  ASSERT_TRUE(vm->remap());

  ASSERT_EQ(kvm.slots.size(), 4u);
  EXPECT_EQ(slot_at(GuestPhys(0))->memory_size, kBios.value);
  EXPECT_EQ(slot_at(kBios)->flags, u32{KVM_MEM_READONLY});
  EXPECT_EQ(slot_at(kRomHome)->flags, u32{KVM_MEM_READONLY});
  EXPECT_EQ(slot_at(kBios)->userspace_addr, slot_at(kRomHome)->userspace_addr);
  EXPECT_EQ(slot_at(GuestPhys(kMib))->flags, 0u);
}

TEST_F(MemorySlotsTest, WhatBecomesRamAgainIsWritableAgain) {
  ram->map_shadow({kBios, 0x10000}, {.kind = Kind::kRam}, {});
  ASSERT_TRUE(vm->remap());
  const u32 flags = slot_at(kBios)->flags;

  ram->map_shadow({kBios, 0x10000}, {.kind = Kind::kRam}, {.kind = Kind::kRam});
  ASSERT_TRUE(vm->remap());

  EXPECT_EQ(flags, u32{KVM_MEM_READONLY});
  ASSERT_EQ(kvm.slots.size(), 1u);
  EXPECT_EQ(slot_at(GuestPhys(0))->flags, 0u);
}

TEST_F(MemorySlotsTest, WhatDidNotChangeIsNotTouched) {
  unsigned changes = 0;
  kvm.on_slot = [&] { ++changes; };
  ram->map_block(rom, kRomHome, Pmap::Access::kRead);
  ASSERT_TRUE(vm->remap());
  ASSERT_TRUE(vm->remap());

  EXPECT_EQ(changes, 1u);
}

TEST_F(MemorySlotsTest, APieceThatIsRefusedIsNamedAndTheOthersStand) {
  kvm.refused_place = kRomHome.value;
  ram->map_block(rom, kRomHome, Pmap::Access::kRead);
  ram->map_shadow({kBios, 0x10000}, {}, {});

  const auto refused = vm->remap();

  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("0xffff0000, 0x10000 bytes, read-only"), std::string::npos);
  EXPECT_EQ(kvm.slots.size(), 2u);
}

TEST_F(MemorySlotsTest, TheKernelsDirtyPagesComeIntoTheLogByTheirPlaceInMemory) {
  ram->map_shadow({kBios, 0x10000}, {}, {});
  ASSERT_TRUE(vm->remap());
  ram->start_dirty_log();
  EXPECT_EQ(slot_at(GuestPhys(kMib))->flags, u32{KVM_MEM_LOG_DIRTY_PAGES});
  dirty(GuestPhys(0), {0b101, 0});
  dirty(GuestPhys(kMib), {u64{1} << 63, 1, 0, 0});
  ram->note_store(GuestPhys(0x1000), 1);

  const auto first = ram->take_dirty_pages();
  const auto second = ram->take_dirty_pages();

  EXPECT_EQ(first, (std::vector<u64>{0b111, 0, 0, 0, u64{1} << 63, 1, 0, 0, 0}));
  EXPECT_EQ(second, std::vector<u64>(9));
}

TEST_F(MemorySlotsTest, ASlotThatGoesLeavesItsDirtyPages) {
  ram->start_dirty_log();
  dirty(GuestPhys(0), {0b1000, 0, 0, 0, 0, 0, 0, 0});

  ram->map_shadow({kBios, 0x10000}, {}, {});
  ASSERT_TRUE(vm->remap());

  EXPECT_EQ(ram->take_dirty_pages()[0], 0b1000u);
  EXPECT_EQ(slot_at(GuestPhys(0))->flags, u32{KVM_MEM_LOG_DIRTY_PAGES});
}

TEST_F(MemorySlotsTest, ReadOnlySlotsAreNotAsked) {
  ram->map_block(rom, kRomHome, Pmap::Access::kRead);
  ASSERT_TRUE(vm->remap());

  ram->start_dirty_log();
  ram->stop_dirty_log();

  EXPECT_EQ(slot_at(kRomHome)->flags, u32{KVM_MEM_READONLY});
  EXPECT_EQ(slot_at(GuestPhys(0))->flags, 0u);
}

}  // namespace
}  // namespace vellum::kvm
