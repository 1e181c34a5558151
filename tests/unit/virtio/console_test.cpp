#include "devices/virtio/console.hpp"

#include <thread>

#include "driver.hpp"

namespace vellum {
namespace {

using test::Ring;

constexpr u64 kInRing = 0x10000, kOutRing = 0x20000, kText = 0x40000, kRoom = 0x50000;

/// Has room for so many writes.
class LimitedSink final : public PacedSink {
 public:
  void write(std::span<const u8> bytes) override {
    text.append(bytes.begin(), bytes.end());
    if (left != 0) --left;
  }
  bool has_room() override { return left != 0; }
  std::string text;
  unsigned left = 1000;
};

struct VirtioConsole : ::testing::Test {
  void make(const virtio::Console::State& state = virtio::Console::State()) {
    console = std::make_unique<virtio::Console>(IoContext{loop.get(), synchronous}, sink, state);
    console->on_room([this] { ++told; });
    console->connect(transport);
  }
  void start() { test::start(*console, 1, {&in, &out}); }
  void print(std::string_view text, u64 at = kText) {
    for (std::size_t i = 0; i < text.size(); ++i) out.put<u8>(at + i, static_cast<u8>(text[i]));
    out.add({{at, static_cast<u32>(text.size())}});
    console->resume();  // what a notification does on the loop
  }
  std::size_t type(std::string_view text) {
    return console->receive(std::vector<u8>(text.begin(), text.end()));
  }
  std::string memory(u64 at, std::size_t size) {
    std::string text;
    for (std::size_t i = 0; i < size; ++i) text += static_cast<char>(in.get<u8>(at + i));
    return text;
  }

  std::unique_ptr<GuestRam> ram = std::move(*GuestRam::create(1 << 20));
  test::CountingTransport transport{*ram};
  std::unique_ptr<EventLoop> loop = std::move(*EventLoop::create());
  Ring in{*ram, kInRing, 4, false}, out{*ram, kOutRing, 16, false};
  LimitedSink sink;
  bool synchronous = false;
  unsigned told = 0;
  std::unique_ptr<virtio::Console> console;
};

TEST_F(VirtioConsole, ShowsWhatTheGuestPrints) {
  make();
  start();
  print("Hello, ");
  print("world\n");
  EXPECT_EQ(sink.text, "Hello, world\n");
  EXPECT_EQ(out.used_index(), 2);
  EXPECT_EQ(out.used_length(0), 0u);
}

// One for both: it is asked a little later whether the driver wants it.
TEST_F(VirtioConsole, AnInterruptTellsOfOutputThatIsDone) {
  make();
  start();
  print("Hello, ");
  print("world\n");
  console->quiesce();
  EXPECT_EQ(transport.queue_interrupts, 1u);
  console->quiesce();
  EXPECT_EQ(transport.queue_interrupts, 1u);
}

// As Linux's does.
TEST_F(VirtioConsole, ADriverThatHasSeenItIsNotInterrupted) {
  make();
  test::start(*console, 1 | virtio::kRingEventIndex, {&in, &out});
  const u64 used_event = out.state.driver + 4 + 2 * out.state.size;
  for (u16 n = 1; n <= 3; ++n) {
    print("a");
    out.put<u16>(used_event, n);
    console->quiesce();
  }
  EXPECT_EQ(transport.queue_interrupts, 1u);  // at the start nobody knows what the driver has seen
  print("b");
  console->quiesce();
  EXPECT_EQ(transport.queue_interrupts, 2u);
}

TEST_F(VirtioConsole, TheInterruptComesByItself) {
  make();
  loop->start();
  start();
  out.add({{kText, 1}});
  console->notify(1);
  for (int n = 0; n < 500 && transport.queue_interrupts == 0; ++n)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  loop->run_on_loop([this] { console.reset(); });
  EXPECT_EQ(transport.queue_interrupts, 1u);
}

TEST_F(VirtioConsole, OutputWaitsInTheRingUntilThereIsRoom) {
  make();
  start();
  sink.left = 2;
  print(std::string(10000, 'a'));
  EXPECT_EQ(sink.text.size(), 8192u);
  EXPECT_EQ(out.used_index(), 0);
  console->output_ready();  // and there is none
  EXPECT_EQ(sink.text.size(), 8192u);
  print("b", kRoom);
  EXPECT_EQ(sink.text.size(), 8192u);
  sink.left = 1000;
  console->output_ready();
  EXPECT_EQ(sink.text, std::string(10000, 'a') + "b");
  EXPECT_EQ(out.used_index(), 2);
}

TEST_F(VirtioConsole, UnderTheVirtualClockTheDeviceWaits) {
  synchronous = true;
  make();
  start();
  sink.left = 0;
  out.add({{kText, 10000}});
  console->notify(1);
  EXPECT_EQ(sink.text.size(), 10000u);
  EXPECT_EQ(out.used_index(), 1);
}

TEST_F(VirtioConsole, InputFillsTheDriversBuffers) {
  make();
  start();
  in.add({{kRoom, 4, true}}), in.add({{kRoom + 0x100, 2, true}, {kRoom + 0x200, 8, true}});
  EXPECT_EQ(type("abcdefg"), 7u);
  EXPECT_EQ(memory(kRoom, 4), "abcd");
  EXPECT_EQ(memory(kRoom + 0x100, 2), "ef");
  EXPECT_EQ(memory(kRoom + 0x200, 1), "g");
  EXPECT_EQ(in.used_index(), 2);
  EXPECT_EQ(in.used_length(0), 4u);
  EXPECT_EQ(in.used_length(1), 3u);
  EXPECT_EQ(transport.queue_interrupts, 1u);  // for both
}

TEST_F(VirtioConsole, InputWithoutABufferIsTakenWhenThereIsOne) {
  make();
  EXPECT_FALSE(console->has_driver());
  EXPECT_EQ(type("abc"), 0u);
  start();
  EXPECT_TRUE(console->has_driver());
  EXPECT_EQ(told, 1u);
  in.add({{kRoom, 2, true}});
  EXPECT_EQ(type("abc"), 2u);
  EXPECT_EQ(in.get<u16>(in.state.device), 0u);  // used.flags: it wants to hear of a buffer
  in.add({{kRoom, 2, true}});
  synchronous = true;
  told = 0;
  console->resume();
  EXPECT_GE(told, 1u);
  EXPECT_EQ(type("c"), 1u);
}

TEST_F(VirtioConsole, AReceiveBufferWithoutRoomEndsIt) {
  make();
  start();
  in.add({{kRoom, 8}});  // for the device to read
  EXPECT_EQ(type("abc"), 0u);
  EXPECT_NE(console->status() & virtio::kNeedsReset, 0);
  in.add({{kRoom, 8, true}});
  EXPECT_EQ(type("abc"), 0u);
  print("x");
  EXPECT_EQ(sink.text, "");
  console->set_status(0);
  EXPECT_FALSE(console->has_driver());
  Ring again(*ram, kInRing, 4, false);
  again.put<u16>(again.state.driver + 2, 0), again.put<u16>(again.state.device + 2, 0);
  test::start(*console, 1, {&again, &out});
  again.add({{kRoom, 8, true}});
  EXPECT_EQ(type("abc"), 3u);
}

TEST_F(VirtioConsole, TheTerminalsSizeIsConfiguration) {
  make();
  console->resize(80, 25);
  EXPECT_EQ(console->read_config(0, 4), 80u | 25u << 16);
  EXPECT_EQ(transport.config_interrupts, 0u);  // nobody to tell
  start();
  const u8 generation = console->generation();
  console->resize(80, 25);
  EXPECT_EQ(transport.config_interrupts, 0u);
  console->resize(132, 43);
  EXPECT_EQ(transport.config_interrupts, 1u);
  EXPECT_NE(console->generation(), generation);
  EXPECT_EQ(console->read_config(0, 2), 132u);
  EXPECT_EQ(console->read_config(2, 2), 43u);
}

TEST_F(VirtioConsole, TheFirstOutputIsAnsweredWithTheSize) {
  make();
  console->resize(80, 25);
  start();
  print("a");
  EXPECT_EQ(transport.config_interrupts, 1u);
  print("b");
  EXPECT_EQ(transport.config_interrupts, 1u);
}

TEST_F(VirtioConsole, SavedWithinALineItGoesOnThere) {
  make();
  start();
  console->resize(80, 25);
  sink.left = 1;
  const std::string line = std::string(4096, 'a') + std::string(100, 'b');
  print(line);
  console->quiesce();
  EXPECT_EQ(type("x"), 0u);
  const auto saved = decode_state<virtio::Console::State>(console->save());
  ASSERT_TRUE(saved);
  sink.left = 1000;
  make(*saved);
  EXPECT_EQ(sink.text, std::string(4096, 'a'));
  console->resume();
  EXPECT_EQ(sink.text, line);
  EXPECT_EQ(out.used_index(), 1);
  EXPECT_EQ(console->read_config(0, 4), 80u | 25u << 16);
  print("c", kRoom);
  EXPECT_EQ(sink.text, line + "c");
}

TEST_F(VirtioConsole, AQueueTakenBackIsForgotten) {
  make();
  start();
  sink.left = 1;
  print(std::string(5000, 'a'));
  console->disable_queue(1);
  sink.left = 1000;
  console->output_ready();
  EXPECT_EQ(sink.text.size(), 4096u);
  EXPECT_EQ(out.used_index(), 0);
}

}  // namespace
}  // namespace vellum
