#include "io/vsock/unix_vsock_host.hpp"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <future>

#include "../temp_dir.hpp"

namespace vellum {
namespace {

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  return address;
}

FileDescriptor connect_to(const std::string& path) {
  FileDescriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_un address = address_of(path);
  EXPECT_EQ(::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  return socket;
}

void say(const FileDescriptor& socket, std::string_view text) {
  EXPECT_EQ(::send(socket.get(), text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
}

struct UnixVsock : ::testing::Test {
  void SetUp() override {
    host = std::move(*UnixVsockHost::create(*loop, path));
    host->listen([this](FileDescriptor socket, u32 port) {
      call.set_value({std::make_shared<FileDescriptor>(std::move(socket)), port});
    });
    loop->start();
  }
  void TearDown() override {
    loop->run_on_loop([this] { host.reset(); });
  }
  test::TempDir dir;
  std::string path = dir.path("v.sock");
  std::unique_ptr<EventLoop> loop = std::move(*EventLoop::create());
  std::promise<std::pair<std::shared_ptr<FileDescriptor>, u32>> call;
  std::unique_ptr<UnixVsockHost> host;
};

TEST_F(UnixVsock, ACallNamesAPort) {
  const FileDescriptor caller = connect_to(path);
  say(caller, "CONNECT 52\nand more");
  const auto [socket, port] = call.get_future().get();
  EXPECT_EQ(port, 52u);
  std::array<char, 32> rest{};
  EXPECT_EQ(::recv(socket->get(), rest.data(), rest.size(), 0), 8);
  EXPECT_STREQ(rest.data(), "and more");
}

TEST_F(UnixVsock, ACallMayComeInPieces) {
  const FileDescriptor caller = connect_to(path);
  say(caller, "CONN");
  loop->run_on_loop([] {});
  say(caller, "ECT 4294967295");
  loop->run_on_loop([] {});
  say(caller, "\n");
  EXPECT_EQ(call.get_future().get().second, 4294967295u);
}

TEST_F(UnixVsock, OthersAreHungUpOn) {
  for (const char* text : {"HELLO\n", "CONNECT\n", "CONNECT 1x\n", "CONNECT 4294967296\n",
                           "CONNECT 00000000000000000000000000000000052"}) {
    const FileDescriptor caller = connect_to(path);
    say(caller, text);
    char byte = 0;
    EXPECT_LE(::recv(caller.get(), &byte, 1, 0), 0) << text;
  }
}

TEST_F(UnixVsock, CallersThatSayNothingDoNotKeepOthersOut) {
  std::vector<FileDescriptor> silent;
  for (std::size_t n = 0; n < UnixVsockHost::kMaxCallers + 10; ++n) silent.push_back(connect_to(path));
  const FileDescriptor caller = connect_to(path);
  say(caller, "CONNECT 1\n");
  EXPECT_EQ(call.get_future().get().second, 1u);
  char byte = 0;
  EXPECT_EQ(::recv(silent.front().get(), &byte, 1, 0), 0);
}

TEST_F(UnixVsock, TheGuestReachesWhoListensAtItsPort) {
  FileDescriptor listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_un address = address_of(path + "_80");
  ASSERT_EQ(::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::listen(listener.get(), 1), 0);
  loop->run_on_loop([this] {
    EXPECT_TRUE(static_cast<bool>(host->connect(80)));
    EXPECT_FALSE(static_cast<bool>(host->connect(81)));
  });
}

TEST_F(UnixVsock, APathIsOneMachines) {
  const auto second = UnixVsockHost::create(*loop, path);
  ASSERT_FALSE(second);
  EXPECT_NE(second.error().message.find("another machine's"), std::string::npos);
}

TEST_F(UnixVsock, NothingIsLeftBehindAndADeadOnesSocketIsTakenOver) {
  loop->run_on_loop([this] { host.reset(); });
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
  {
    FileDescriptor dead(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const sockaddr_un address = address_of(path);
    ASSERT_EQ(::bind(dead.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  }
  loop->run_on_loop([this] { EXPECT_TRUE(UnixVsockHost::create(*loop, path)); });
  dir.write("v.sock", {'x'});
  const auto refused = UnixVsockHost::create(*loop, path);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("not a socket"), std::string::npos);
}

TEST(VsockCall, IsOneLine) {
  EXPECT_EQ(parse_vsock_call("CONNECT 7"), 7u);
  EXPECT_EQ(parse_vsock_call("CONNECT 7\r"), 7u);
  EXPECT_EQ(parse_vsock_call("connect 7"), std::nullopt);
  EXPECT_EQ(parse_vsock_call("CONNECT  7"), std::nullopt);
  EXPECT_EQ(parse_vsock_call(""), std::nullopt);
}

}  // namespace
}  // namespace vellum
