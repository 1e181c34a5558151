// The small ports.
#include "devices/legacy/misc_ports.hpp"

#include "devices/legacy/port_view.hpp"
#include "fixture.hpp"

namespace vellum::test {
namespace {

TEST(DebugExitTest, PassesTheValueOn) {
  Machine machine;
  DebugExit exit(machine);

  exit.write(0, 1, 0x21);
  exit.write(0, 4, 0x1234'5678);

  EXPECT_EQ(machine.exits, (std::vector<u32>{0x21, 0x1234'5678}));
  EXPECT_EQ(exit.read(0, 4), 0u);
}

TEST(DebugConsoleTest, PrintsAndIsRecognised) {
  Text text;
  DebugConsole console(text);

  for (const char c : std::string("ok\n")) out(console, 0, static_cast<u8>(c));

  EXPECT_EQ(text.text, "ok\n");
  EXPECT_EQ(in(console, 0), 0xe9);
}

TEST(PostCodeTest, KeepsTheLastCode) {
  PostCode post;
  out(post, 0, 0x42);
  EXPECT_EQ(post.code(), 0x42);
  EXPECT_EQ(in(post, 0), 0x42);

  PostCode other(*decode_state<PostCode::State>(post.save()));

  EXPECT_EQ(other.code(), 0x42);
}

TEST(ResetPortTest, ResetsOnTheRiseOfBit2) {
  Machine machine;
  ResetPort port(machine);

  out(port, 0, 0x02);
  EXPECT_EQ(machine.resets, 0);
  out(port, 0, 0x06);
  EXPECT_EQ(machine.resets, 1);
  out(port, 0, 0x0e);
  EXPECT_EQ(machine.resets, 1) << "no new rise";
  EXPECT_EQ(in(port, 0), 0x0e);
  ResetPort other(machine, *decode_state<ResetPort::State>(port.save()));
  out(other, 0, 0x06);
  EXPECT_EQ(machine.resets, 1);
}

TEST(ResetPortTest, TakesTheFadtsValueAtOnce) {
  Machine machine;
  ResetPort port(machine);

  out(port, 0, ResetPort::kResetValue);

  EXPECT_EQ(machine.resets, 1);
}

TEST(SystemControlATest, FastResetAndA20) {
  Machine machine;
  SystemControlA port(machine);
  EXPECT_EQ(in(port, 0), 0x02);

  out(port, 0, 0x00);
  EXPECT_EQ(in(port, 0), 0x00);
  out(port, 0, 0x03);

  EXPECT_EQ(machine.resets, 1);
  SystemControlA other(machine, *decode_state<SystemControlA::State>(port.save()));
  EXPECT_EQ(in(other, 0), 0x03);
}

TEST(PortViewTest, ShowsAPartOfADevice) {
  struct Echo final : BusDevice {
    u64 last = 0;
    u64 read(u64 offset, unsigned) override { return offset; }
    void write(u64 offset, unsigned, u64) override { last = offset; }
  } echo;
  PortView view(echo, 4);

  EXPECT_EQ(view.read(1, 1), 5u);
  view.write(0, 1, 0);
  EXPECT_EQ(echo.last, 4u);
}

}  // namespace
}  // namespace vellum::test
