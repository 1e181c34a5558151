// The PC16550D.
#include "devices/legacy/uart16550.hpp"

#include <thread>

#include "fixture.hpp"

namespace vellum::test {
namespace {

class UartTest : public ::testing::Test {
 protected:
  enum : u64 {
    kData = 0,
    kIer = 1,
    kIir = 2,
    kFcr = 2,
    kLcr = 3,
    kMcr = 4,
    kLsr = 5,
    kMsr = 6,
    kScratch = 7
  };

  UartTest() { out(uart, kMcr, 0x0b); }
  std::size_t receive(std::string_view bytes) {
    return uart.receive({reinterpret_cast<const u8*>(bytes.data()), bytes.size()});
  }
  void enable_fifo(unsigned trigger = 0) { out(uart, kFcr, 0x07 | trigger << 6); }

  Text text;
  Wire irq;
  Uart16550 uart{"uart0", text, irq};
};

TEST_F(UartTest, HasTheResetStateOfTheDataSheet) {
  Uart16550 fresh("uart1", text, irq);

  EXPECT_EQ(in(fresh, kIer), 0);
  EXPECT_EQ(in(fresh, kIir), 0x01);
  EXPECT_EQ(in(fresh, kLcr), 0);
  EXPECT_EQ(in(fresh, kMcr), 0);
  EXPECT_EQ(in(fresh, kLsr), 0x60);
  EXPECT_EQ(in(fresh, kMsr), 0xb0);
}

TEST_F(UartTest, SendsWhatIsWritten) {
  for (const char c : std::string("hello")) out(uart, kData, static_cast<u8>(c));

  EXPECT_EQ(text.text, "hello");
  EXPECT_EQ(in(uart, kLsr), 0x60);
}

TEST_F(UartTest, TheDivisorLatchHidesDataAndIer) {
  out(uart, kIer, 0x05);
  out(uart, kLcr, 0x83);
  out(uart, kData, 0x34);
  out(uart, kIer, 0x12);
  EXPECT_EQ(in(uart, kData), 0x34);
  EXPECT_EQ(in(uart, kIer), 0x12);
  out(uart, kLcr, 0x03);

  EXPECT_EQ(in(uart, kIer), 0x05);
  EXPECT_EQ(text.text, "");
}

TEST_F(UartTest, RegistersKeepTheirBits) {
  out(uart, kScratch, 0xa5);
  out(uart, kIer, 0xff);
  out(uart, kMcr, 0xef);
  out(uart, kLcr, 0x7f);

  EXPECT_EQ(in(uart, kScratch), 0xa5);
  EXPECT_EQ(in(uart, kIer), 0x0f);
  EXPECT_EQ(in(uart, kMcr), 0x0f);
  EXPECT_EQ(in(uart, kLcr), 0x7f);
  out(uart, kLsr, 0xff);
  out(uart, kMsr, 0xff);
  EXPECT_EQ(in(uart, kLsr), 0x60) << "read-only";
}

TEST_F(UartTest, IdentifiesAsA16550A) {
  out(uart, kFcr, 0x01);
  EXPECT_EQ(in(uart, kIir) & 0xc0, 0xc0);
  out(uart, kFcr, 0x00);
  EXPECT_EQ(in(uart, kIir) & 0xc0, 0x00);
}

// ---- Receiver ----

TEST_F(UartTest, WithoutFifosOneByteWaits) {
  EXPECT_EQ(receive("ab"), 1u);
  EXPECT_EQ(uart.can_receive(), 0u);
  EXPECT_EQ(in(uart, kLsr), 0x61);
  EXPECT_EQ(in(uart, kData), 'a');
  EXPECT_EQ(in(uart, kLsr), 0x60);
  EXPECT_EQ(uart.can_receive(), 1u);
}

TEST_F(UartTest, FifosHoldSixteen) {
  enable_fifo();
  EXPECT_EQ(uart.can_receive(), 16u);

  EXPECT_EQ(receive("0123456789abcdefXYZ"), 16u);

  std::string got;
  while ((in(uart, kLsr) & 1) != 0) got += static_cast<char>(in(uart, kData));
  EXPECT_EQ(got, "0123456789abcdef");
}

TEST_F(UartTest, TellsWhenThereIsRoomAgain) {
  int told = 0;
  uart.on_room([&] {
    ++told;
    EXPECT_GT(uart.can_receive(), 0u) << "called without the lock";
  });
  enable_fifo();
  receive("0123456789abcdef");
  for (int i = 0; i < 16; ++i) in(uart, kData);
  EXPECT_EQ(told, 0) << "nobody waited";
  receive("0123456789abcdefX");

  for (int i = 0; i < 16; ++i) in(uart, kData);

  EXPECT_EQ(told, 1);
}

TEST_F(UartTest, ResettingTheFifoMakesRoom) {
  int told = 0;
  uart.on_room([&] { ++told; });
  enable_fifo();
  receive("0123456789abcdefX");

  out(uart, kFcr, 0x03);

  EXPECT_EQ(told, 1);
  EXPECT_EQ(in(uart, kLsr), 0x60);
}

TEST_F(UartTest, SwitchingFifosClearsThem) {
  enable_fifo();
  receive("abc");

  out(uart, kFcr, 0x00);

  EXPECT_EQ(in(uart, kLsr) & 1, 0);
}

// ---- Interrupts ----

TEST_F(UartTest, ReceivedDataInterrupts) {
  out(uart, kIer, 0x01);
  receive("a");

  EXPECT_TRUE(irq.level);
  EXPECT_EQ(in(uart, kIir), 0x04);
  in(uart, kData);
  EXPECT_FALSE(irq.level);
  EXPECT_EQ(in(uart, kIir), 0x01);
}

struct Trigger {
  unsigned select;
  std::size_t level;
};
class Triggers : public UartTest, public ::testing::WithParamInterface<Trigger> {};

TEST_P(Triggers, BelowTheLevelItIsATimeout) {
  enable_fifo(GetParam().select);
  out(uart, kIer, 0x01);

  receive(std::string(GetParam().level, 'x'));
  EXPECT_EQ(in(uart, kIir), 0xc4);
  in(uart, kData);

  EXPECT_EQ(in(uart, kIir), GetParam().level == 1 ? 0xc1 : 0xcc);
}
INSTANTIATE_TEST_SUITE_P(Table3, Triggers,
                         ::testing::Values(Trigger{0, 1}, Trigger{1, 4}, Trigger{2, 8}, Trigger{3, 14}));

TEST_F(UartTest, EnablingTheTransmitterInterruptRaisesIt) {
  out(uart, kIer, 0x02);

  EXPECT_TRUE(irq.level);
  EXPECT_EQ(in(uart, kIir), 0x02);
  EXPECT_FALSE(irq.level) << "reading IIR clears it";
  EXPECT_EQ(in(uart, kIir), 0x01);
}

TEST_F(UartTest, EveryByteSentIsANewEdge) {
  out(uart, kIer, 0x02);
  const int before = irq.rises;

  out(uart, kData, 'a');
  out(uart, kData, 'b');

  EXPECT_EQ(irq.rises, before + 2) << "an edge-triggered controller sees each";
  EXPECT_TRUE(irq.level);
}

TEST_F(UartTest, InterruptsComeInOrderOfPriority) {
  enable_fifo();
  out(uart, kIer, 0x0f);
  out(uart, kMcr, 0x1b);  // loopback: DCD from OUT2, CTS and DSR as before
  out(uart, kMcr, 0x0b);
  uart.receive_break();

  EXPECT_EQ(in(uart, kIir), 0xc6);
  EXPECT_EQ(in(uart, kLsr) & 0x1e, 0x18);
  EXPECT_EQ(in(uart, kIir), 0xc4);
  EXPECT_EQ(in(uart, kData), 0);
  EXPECT_EQ(in(uart, kIir), 0xc2);
  EXPECT_EQ(in(uart, kIir), 0xc1);
}

TEST_F(UartTest, ReadingIirDoesNotClearTheTransmitterBehindAnother) {
  out(uart, kIer, 0x03);
  receive("a");

  EXPECT_EQ(in(uart, kIir), 0x04);
  in(uart, kData);

  EXPECT_EQ(in(uart, kIir), 0x02);
}

TEST_F(UartTest, Out2GatesTheLine) {
  out(uart, kMcr, 0x03);
  out(uart, kIer, 0x01);
  receive("a");
  EXPECT_FALSE(irq.level);
  EXPECT_EQ(in(uart, kIir), 0x04) << "the register doesn't know";

  out(uart, kMcr, 0x0b);

  EXPECT_TRUE(irq.level);
}

// ---- Errors, break ----

TEST_F(UartTest, ABreakIsAZeroWithItsBits) {
  enable_fifo();
  receive("a");
  EXPECT_TRUE(uart.receive_break());

  EXPECT_EQ(in(uart, kLsr), 0xe1) << "an error somewhere in the FIFO";
  EXPECT_EQ(in(uart, kData), 'a');
  EXPECT_EQ(in(uart, kLsr), 0xf9);
  EXPECT_EQ(in(uart, kLsr), 0x61) << "shown once";
  EXPECT_EQ(in(uart, kData), 0);
}

TEST_F(UartTest, SendingABreakSendsNoCharacters) {
  out(uart, kLcr, 0x43);
  out(uart, kData, 'x');
  out(uart, kLcr, 0x03);
  out(uart, kData, 'y');

  EXPECT_EQ(text.text, "y");
}

// ---- Loopback ----

TEST_F(UartTest, LoopbackReturnsWhatIsSent) {
  enable_fifo();
  out(uart, kMcr, 0x10);

  out(uart, kData, 'q');

  EXPECT_EQ(text.text, "");
  EXPECT_EQ(in(uart, kData), 'q');
  EXPECT_EQ(uart.can_receive(), 0u) << "the pin is disconnected";
}

TEST_F(UartTest, LoopbackOverrunsLoseTheNewestWithFifosTheOldestWithout) {
  out(uart, kMcr, 0x10);
  out(uart, kData, 'a');
  out(uart, kData, 'b');
  EXPECT_EQ(in(uart, kLsr) & 0x02, 0x02);
  EXPECT_EQ(in(uart, kLsr) & 0x02, 0x00);
  EXPECT_EQ(in(uart, kData), 'b');
  enable_fifo();
  for (char c = 'a'; c < 'a' + 17; ++c) out(uart, kData, static_cast<u8>(c));

  EXPECT_EQ(in(uart, kLsr) & 0x02, 0x02);
  EXPECT_EQ(in(uart, kData), 'a');
}

TEST_F(UartTest, LoopbackTurnsTheModemLinesRound) {
  in(uart, kMsr);
  out(uart, kMcr, 0x10);
  EXPECT_EQ(in(uart, kMsr), 0x0b) << "CTS, DSR and DCD fell";
  for (const auto& [mcr, msr] :
       {std::pair{0x11, 0x20}, {0x12, 0x10}, {0x14, 0x40}, {0x18, 0x80}, {0x1f, 0xf0}}) {
    out(uart, kMcr, static_cast<unsigned>(mcr));
    EXPECT_EQ(in(uart, kMsr) & 0xf0, msr);
  }
  out(uart, kMcr, 0x10);

  EXPECT_EQ(in(uart, kMsr) & 0x0f, 0x0f) << "RI counts when it falls";
}

TEST_F(UartTest, ModemStatusInterrupts) {
  in(uart, kMsr);
  out(uart, kIer, 0x08);
  out(uart, kMcr, 0x18);
  out(uart, kMcr, 0x0b);

  EXPECT_TRUE(irq.level);
  EXPECT_EQ(in(uart, kIir), 0x00);
  in(uart, kMsr);
  EXPECT_FALSE(irq.level);
}

// ---- State, threads ----

TEST_F(UartTest, RoundTripsWithCharactersWaiting) {
  enable_fifo(2);
  out(uart, kIer, 0x03);
  out(uart, kLcr, 0x03);
  receive("abc");
  uart.receive_break();
  const auto state = decode_state<Uart16550::State>(uart.save());
  ASSERT_TRUE(state) << state.error().message;

  Wire other_irq;
  Uart16550 other("uart0", text, other_irq, *state);

  EXPECT_TRUE(other_irq.level);
  EXPECT_EQ(*decode_state<Uart16550::State>(other.save()), *state);
  EXPECT_EQ(in(other, kIir), 0xcc);
  EXPECT_EQ(in(other, kData), 'a');
}

TEST_F(UartTest, ADamagedStateWithTooManyCharactersIsCut) {
  Uart16550::State state;
  state.fifo.assign(100'000, 'x');

  Uart16550 other("uart0", text, irq, state);

  in(other, kData);
  EXPECT_EQ(in(other, kLsr) & 1, 0);
}

TEST_F(UartTest, InputFromAnotherThreadArrivesWholeAndInOrder) {
  constexpr std::size_t kBytes = 5'000;
  enable_fifo();
  std::thread host([&] {
    std::size_t sent = 0;
    while (sent < kBytes) {
      const u8 byte = static_cast<u8>(sent);
      sent += uart.receive({&byte, 1});
      std::this_thread::yield();
    }
  });
  std::size_t received = 0;
  bool in_order = true;
  while (received < kBytes) {
    if ((in(uart, kLsr) & 1) == 0) {
      std::this_thread::yield();
      continue;
    }
    in_order &= in(uart, kData) == static_cast<u8>(received);
    ++received;
  }
  host.join();

  EXPECT_TRUE(in_order);
}

}  // namespace
}  // namespace vellum::test
