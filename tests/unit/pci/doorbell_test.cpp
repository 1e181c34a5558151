// Doorbells in a function's BAR: they are where the BAR is, while nothing hides it.
#include "doorbell_log.hpp"
#include "pci_board.hpp"

namespace vellum {
namespace {

using test::TestFunction;

constexpr u8 kSlot = pci::devfn(3, 0), kOther = pci::devfn(4, 0);
constexpr u64 kHighAt = 0x80'0000'0000;

class Belled final : public pci::Function {
 public:
  explicit Belled(test::PciBoard& board, unsigned count = 2, const pci::FunctionState& state = {})
      : Function(board.bus, "belled", {0x1234, 0x5678, 7, 0x020000, 0xabcd, 0xef01, 1, false}) {
    add_bar(2, {pci::BarKind::kMemory64Prefetchable, 0x4000}, registers);
    for (unsigned n = 0; n < count; ++n) add_doorbell(2, 0x3000 + 4 * n, 2, [this, n] { rung.push_back(n); });
    restore(state);
  }
  void place(u64 address, u16 command = pci::kMemoryEnable) {
    write_config(pci::kBar0 + 8, 4, static_cast<u32>(address));
    write_config(pci::kBar0 + 12, 4, static_cast<u32>(address >> 32));
    write_config(pci::kCommand, 2, command);
  }
  using Function::function_state;
  test::Registers registers;
  std::vector<unsigned> rung;
};

struct PciDoorbells : ::testing::Test, test::PciBoard {
  PciDoorbells() { bus.memory().offer_doorbells(taker); }
  test::DoorbellLog taker;
};

using Places = std::map<unsigned, DoorbellPlace>;

TEST_F(PciDoorbells, AreWhereTheBarIs) {
  Belled function(*this);
  bus.add(kSlot, function);
  const Places before = taker.at;

  function.place(kHighAt);
  const Places placed = taker.at;
  taker.rings[1]();
  function.place(kHighAt + 0x4000);
  const Places moved = taker.at;
  function.write_config(pci::kCommand, 2, 0);

  EXPECT_TRUE(before.empty());
  EXPECT_EQ(placed, (Places{{0, {kHighAt + 0x3000, 2, {}}}, {1, {kHighAt + 0x3004, 2, {}}}}));
  EXPECT_EQ(function.rung, std::vector<unsigned>{1});
  EXPECT_EQ(moved, (Places{{0, {kHighAt + 0x7000, 2, {}}}, {1, {kHighAt + 0x7004, 2, {}}}}));
  EXPECT_TRUE(taker.at.empty());
}

TEST_F(PciDoorbells, StayWhileNothingMoves) {
  Belled function(*this);
  bus.add(kSlot, function);
  function.place(kHighAt);
  const unsigned before = taker.moves;

  function.place(kHighAt, pci::kMemoryEnable | pci::kMasterEnable);

  EXPECT_EQ(taker.moves, before);
}

// The window that was added first answers (Decoder::move()).
TEST_F(PciDoorbells, AreNowhereWhileAnotherWindowHidesThem) {
  TestFunction first(*this);
  Belled function(*this);
  bus.add(kOther, first);
  bus.add(kSlot, function);
  function.place(kHighAt);

  first.write_config(pci::kBar0 + 8, 4, static_cast<u32>(kHighAt));
  first.write_config(pci::kBar0 + 12, 4, kHighAt >> 32);
  first.write_config(pci::kCommand, 2, pci::kMemoryEnable);
  const bool hidden = taker.at.empty();
  first.write_config(pci::kCommand, 2, 0);

  EXPECT_TRUE(hidden);
  EXPECT_EQ(taker.at.size(), 2u);
}

TEST_F(PciDoorbells, OfTwoFunctionsAtOnePlaceOnlyTheFirstsAreThere) {
  Belled first(*this), second(*this);
  bus.add(kSlot, first);
  bus.add(kOther, second);
  second.place(kHighAt);
  const Places alone = taker.at;

  first.place(kHighAt);
  const Places both = taker.at;
  first.place(kHighAt + 0x4000);

  EXPECT_EQ(alone, (Places{{2, {kHighAt + 0x3000, 2, {}}}, {3, {kHighAt + 0x3004, 2, {}}}}));
  EXPECT_EQ(both, (Places{{0, {kHighAt + 0x3000, 2, {}}}, {1, {kHighAt + 0x3004, 2, {}}}}));
  EXPECT_EQ(taker.at.size(), 4u);
}

TEST_F(PciDoorbells, OfARestoredFunctionAreWhereItsBarIs) {
  pci::FunctionState state;
  {
    PciBoard other;
    Belled saved(other);
    other.bus.add(kSlot, saved);
    saved.place(kHighAt);
    state = saved.function_state();
  }

  Belled function(*this, 1, state);
  bus.add(kSlot, function);

  EXPECT_EQ(taker.at, (Places{{0, {kHighAt + 0x3000, 2, {}}}}));
}

TEST_F(PciDoorbells, AreNotNeeded) {
  PciBoard without;
  Belled function(without);
  without.bus.add(kSlot, function);

  function.place(kHighAt);
  without.mmio.write(kHighAt + 0x3000, 2, 0);

  EXPECT_EQ(function.registers.writes.size(), 1u);
}

}  // namespace
}  // namespace vellum
