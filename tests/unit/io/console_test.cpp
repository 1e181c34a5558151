#include "io/console.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <future>

namespace vellum {
namespace {

using namespace std::chrono_literals;

std::span<const u8> bytes_of(std::string_view text) {
  return {reinterpret_cast<const u8*>(text.data()), text.size()};
}

struct Pipe {
  Pipe() {
    std::array<int, 2> ends{};
    EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    read = FileDescriptor(ends[0]);
    write = FileDescriptor(ends[1]);
  }
  void put(std::string_view text) const {
    EXPECT_EQ(::write(write.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  std::string take(std::size_t count) const {
    std::string text(count, '\0');
    std::size_t have = 0;
    while (have < count) {
      const auto n = ::read(read.get(), text.data() + have, count - have);
      if (n <= 0) break;
      have += static_cast<std::size_t>(n);
    }
    text.resize(have);
    return text;
  }
  FileDescriptor read, write;
};

// A pseudo-terminal: `user` is the keyboard and screen, `shell` what a program gets as its terminal.
struct PseudoTerminal {
  PseudoTerminal() : user(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC)) {
    if (user && ::grantpt(user.get()) == 0 && ::unlockpt(user.get()) == 0)
      shell = FileDescriptor(::open(::ptsname(user.get()), O_RDWR | O_NOCTTY | O_CLOEXEC));
  }
  bool works() const { return static_cast<bool>(shell); }
  void type(std::string_view text) const {
    EXPECT_EQ(::write(user.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  termios mode() const {
    termios mode{};
    EXPECT_EQ(::tcgetattr(shell.get(), &mode), 0);
    return mode;
  }
  // What is on the screen, once `count` bytes are, or what there is after ten seconds.
  std::string shown(std::size_t count) const {
    std::string text(count, '\0');
    std::size_t have = 0;
    pollfd wait{user.get(), POLLIN, 0};
    while (have<count&& ::poll(&wait, 1, 10'000)> 0) {
      const auto n = ::read(user.get(), text.data() + have, count - have);
      if (n <= 0) break;
      have += static_cast<std::size_t>(n);
    }
    text.resize(have);
    return text;
  }
  FileDescriptor user, shell;
};

class ConsoleTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto created = EventLoop::create();
    ASSERT_TRUE(created);
    loop = std::move(*created);
  }
  void TearDown() override { loop->stop(); }

  void open(int in_fd, int out_fd) {
    auto created = Console::create(*loop, in_fd, out_fd,
                                   {.leave = [this] { left.set_value(); },
                                    .input_closed = [this] { closed.set_value(); },
                                    .output_closed = [this](int error) { output_error.set_value(error); }});
    ASSERT_TRUE(created) << created.error().message;
    console = std::move(*created);
    loop->start();
  }
  // Takes at most `room` bytes, ever.
  Console::Receiver collect() {
    return [this](std::span<const u8> bytes) {
      const std::size_t n = std::min(room, bytes.size());
      got.append(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(n));
      room -= n;
      return n;
    };
  }
  std::string received() {
    std::string copy;
    loop->run_on_loop([&] { copy = got; });
    return copy;
  }

  // Descriptors outlive the loop that uses them.
  Pipe in, out;
  PseudoTerminal terminal;
  std::unique_ptr<EventLoop> loop;
  std::unique_ptr<Console> console;
  std::promise<void> left, closed;
  std::promise<int> output_error;
  std::string got;
  std::size_t room = 1 << 20;
};

// A chroot or container may have no /dev/pts.
class TerminalTest : public ConsoleTest {
 protected:
  void SetUp() override {
    if (!terminal.works()) GTEST_SKIP() << "no pseudo-terminals here: is /dev/pts mounted?";
    ConsoleTest::SetUp();
  }
  void TearDown() override {
    if (loop) loop->stop();
  }
};

TEST_F(ConsoleTest, InputReachesTheReceiverAndItsEndIsTold) {
  open(in.read.get(), out.write.get());
  console->connect(collect());
  in.put("hello \x1d\x1d world");  // not a terminal: Ctrl-] is a byte like others
  in.write = FileDescriptor();
  closed.get_future().wait();
  EXPECT_EQ(received(), "hello \x1d\x1d world");
  EXPECT_FALSE(console->input_possible());
}

TEST_F(ConsoleTest, EmptyInputIsClosedAtOnce) {
  const FileDescriptor null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  open(null.get(), out.write.get());
  EXPECT_EQ(closed.get_future().wait_for(10s), std::future_status::ready);
}

TEST_F(ConsoleTest, AFullReceiverGetsTheRestLater) {
  room = 3;
  open(in.read.get(), out.write.get());
  console->connect(collect());
  in.put("abcdef");
  in.write = FileDescriptor();
  while (received() != "abc") std::this_thread::yield();
  EXPECT_TRUE(console->input_possible());
  loop->run_on_loop([this] { room = 100; });
  console->receiver_ready();
  closed.get_future().wait();
  EXPECT_EQ(received(), "abcdef");
}

TEST_F(ConsoleTest, OutputKeepsItsOrder) {
  open(in.read.get(), out.write.get());
  std::string expected;
  for (int i = 0; i < 1000; ++i) {
    const std::string piece = std::to_string(i) + " ";
    console->write(bytes_of(piece));
    expected += piece;
  }
  EXPECT_EQ(out.take(expected.size()), expected);
}

TEST_F(ConsoleTest, ASlowReaderHoldsTheWriterBackAndLosesNothing) {
  open(in.read.get(), out.write.get());
  const std::string piece(64 * 1024, 'x');
  auto writer = std::async(std::launch::async, [&] {
    for (int i = 0; i < 32; ++i) console->write(bytes_of(piece));
    console->flush();
  });
  EXPECT_EQ(out.take(32 * piece.size()).size(), 32 * piece.size());
  writer.get();
}

TEST_F(ConsoleTest, WhoAskedForRoomIsToldOfIt) {
  open(in.read.get(), out.write.get());
  std::promise<void> room_again;
  console->on_output_room([&] { room_again.set_value(); });
  EXPECT_TRUE(console->has_output_room());
  const std::string piece(200 * 1024, 'x');  // more than a pipe takes
  console->write(bytes_of(piece));
  EXPECT_FALSE(console->has_output_room());
  auto told = room_again.get_future();
  EXPECT_EQ(told.wait_for(10ms), std::future_status::timeout);
  EXPECT_EQ(out.take(piece.size()).size(), piece.size());
  told.wait();
  EXPECT_TRUE(console->has_output_room());
  console->on_output_room({});
}

TEST_F(ConsoleTest, AbandonEndsAWriteThatNobodyReads) {
  open(in.read.get(), out.write.get());
  const std::string piece(1 << 20, 'x');
  auto writer = std::async(std::launch::async, [&] { console->write(bytes_of(piece)); });
  console->abandon_output();
  EXPECT_EQ(writer.wait_for(10s), std::future_status::ready);
}

TEST_F(ConsoleTest, AReaderThatIsGoneIsTold) {
  ::signal(SIGPIPE, SIG_IGN);
  open(in.read.get(), out.write.get());
  out.read = FileDescriptor();
  console->write(bytes_of("x"));
  EXPECT_EQ(output_error.get_future().get(), EPIPE);
  console->write(bytes_of("y"));  // dropped
}

TEST_F(ConsoleTest, OutputToAFileIsAppendedInPlace) {
  char path[] = "/tmp/vellum-console-test-XXXXXX";
  const FileDescriptor file(::mkstemp(path));
  ::unlink(path);
  ASSERT_EQ(::write(file.get(), "before ", 7), 7);
  open(in.read.get(), file.get());
  console->write(bytes_of("after"));
  console->flush();
  std::array<char, 32> text{};
  EXPECT_EQ(::pread(file.get(), text.data(), text.size(), 0), 12);
  EXPECT_STREQ(text.data(), "before after");
}

TEST_F(TerminalTest, ATerminalIsRawWhileItIsUsedAndThenAsBefore) {
  const termios before = terminal.mode();
  {
    auto raw = RawTerminal::enter(terminal.shell.get());
    ASSERT_TRUE(raw);
    EXPECT_EQ(terminal.mode().c_lflag & (ICANON | ECHO | ISIG), 0u);
    EXPECT_NE(terminal.mode().c_oflag & OPOST, 0u);
    raw->suspend();
    EXPECT_EQ(terminal.mode().c_lflag, before.c_lflag);
    raw->resume();
    EXPECT_EQ(terminal.mode().c_lflag & (ICANON | ECHO | ISIG), 0u);
  }
  const termios after = terminal.mode();
  EXPECT_EQ(before.c_lflag, after.c_lflag);
  EXPECT_EQ(before.c_iflag, after.c_iflag);
  EXPECT_EQ(before.c_oflag, after.c_oflag);
}

TEST_F(TerminalTest, ItsSizeIsKnownIfItKnows) {
  open(terminal.shell.get(), out.write.get());
  EXPECT_FALSE(console->size());
  const winsize size{43, 132, 0, 0};
  ASSERT_EQ(::ioctl(terminal.user.get(), TIOCSWINSZ, &size), 0);
  ASSERT_TRUE(console->size());
  EXPECT_EQ(console->size()->columns, 132);
  EXPECT_EQ(console->size()->rows, 43);
}

TEST_F(TerminalTest, ControlKeysOfATerminalReachTheGuest) {
  open(terminal.shell.get(), out.write.get());
  console->connect(collect());
  terminal.type("\x03\x1a\x04\x1c\r");
  while (received().size() < 5) std::this_thread::yield();
  EXPECT_EQ(received(), "\x03\x1a\x04\x1c\r");
}

TEST_F(TerminalTest, AHeldCtrlBracketReachesTheGuestInTheEnd) {
  open(terminal.shell.get(), out.write.get());
  console->connect(collect());
  terminal.type("\x1d");
  while (received().empty()) std::this_thread::sleep_for(10ms);
  EXPECT_EQ(received(), "\x1d");
}

TEST_F(TerminalTest, CtrlBracketTwiceOnATerminalLeaves) {
  open(terminal.shell.get(), out.write.get());
  EXPECT_TRUE(console->is_terminal());
  terminal.type("\x1d\x1d");
  EXPECT_EQ(left.get_future().wait_for(10s), std::future_status::ready);
}

TEST_F(ConsoleTest, WhatTheGuestToldTheTerminalIsUndoneAtTheEnd) {
  const PseudoTerminal screen;
  if (!screen.works()) GTEST_SKIP() << "no pseudo-terminals on this host";
  open(screen.shell.get(), screen.shell.get());
  console->write(bytes_of("\x1b[?7lwide"));
  console->flush();
  console->restore_terminal();
  EXPECT_EQ(screen.shown(14), "\x1b[?7lwide\x1b[?7h");
}

TEST_F(ConsoleTest, ATerminalThatTakesNothingIsNotWaitedFor) {
  const PseudoTerminal screen;
  if (!screen.works()) GTEST_SKIP() << "no pseudo-terminals on this host";
  const Pipe input;
  open(input.read.get(), screen.shell.get());
  console->write(bytes_of("\x1b[?7l"));
  console->flush();
  EXPECT_EQ(screen.shown(5), "\x1b[?7l");
  ASSERT_EQ(::tcflow(screen.shell.get(), TCOOFF), 0);
  auto restored = std::async(std::launch::async, [this] { console->restore_terminal(); });
  EXPECT_EQ(restored.wait_for(10s), std::future_status::ready);
  ::tcflow(screen.shell.get(), TCOON);  // else a failure would wait for ever
}

TEST_F(ConsoleTest, NothingIsAddedToAPipe) {
  const Pipe input, output;
  open(input.read.get(), output.write.get());
  console->write(bytes_of("\x1b[?7l"));
  console->flush();
  console->restore_terminal();
  console->write(bytes_of("!"));
  console->flush();
  EXPECT_EQ(output.take(6), "\x1b[?7l!");
}

}  // namespace
}  // namespace vellum
