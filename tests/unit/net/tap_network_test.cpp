// Needs /dev/net/tun and the right to a network namespace of its own; skips without.
#include "io/net/tap_network.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include "frames.hpp"

namespace vellum::net {
namespace {

using namespace std::chrono_literals;

/// Counts how often it is asked for room, as it is before each frame and each wait.
class CountingReceiver final : public RecordingReceiver {
 public:
  bool has_room() const override {
    ++asked;
    return true;
  }
  mutable std::atomic<u64> asked{0};
};

/// 0, or why the kernel did not delete it.
int delete_interface(const char* name) {
  struct {
    nlmsghdr header;
    ifinfomsg info;
  } request{};
  request.header.nlmsg_len = sizeof request;
  request.header.nlmsg_type = RTM_DELLINK;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
  request.info.ifi_index = static_cast<int>(::if_nametoindex(name));
  struct {
    nlmsghdr header;
    nlmsgerr error;
  } answer{};
  const FileDescriptor netlink(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (::send(netlink.get(), &request, sizeof request, 0) != static_cast<ssize_t>(sizeof request) ||
      ::recv(netlink.get(), &answer, sizeof answer, 0) < 0)
    return errno;
  return -answer.error.error;
}

/// The test's thread is in a network namespace of its own afterwards, and so are threads that it starts.
class TapNetworkTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!FileDescriptor(::open("/dev/net/tun", O_RDWR | O_CLOEXEC)))
      GTEST_SKIP() << "/dev/net/tun cannot be opened: " << std::strerror(errno);
    home_ = FileDescriptor(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    if (::unshare(CLONE_NEWNET) != 0)
      GTEST_SKIP() << "no network namespace for this user: " << std::strerror(errno);
    away_ = true;
    auto made = TapNetwork::create(*loop, *parse_net("tap,ifname=test0"));
    ASSERT_TRUE(made) << made.error().message;
    network = std::move(*made);
  }
  void TearDown() override {
    loop->stop();
    network.reset();
    if (!away_) return;
    ASSERT_EQ(::setns(home_.get(), CLONE_NEWNET), 0);
  }
  std::unique_ptr<EventLoop> loop = std::move(*EventLoop::create());
  std::unique_ptr<Network> network;
  CountingReceiver receiver;

 private:
  FileDescriptor home_;
  bool away_ = false;
};

TEST_F(TapNetworkTest, AnInterfaceThatIsDeletedIsReadNoMore) {
  network->connect(&receiver);
  loop->start();

  ASSERT_EQ(delete_interface("test0"), 0);
  // Frames that were on their way arrive still; then it is quiet.
  u64 before = 0, after = 1;
  for (int n = 0; n < 50 && before != after; ++n) {
    before = receiver.asked;
    std::this_thread::sleep_for(100ms);
    after = receiver.asked;
  }

  EXPECT_EQ(before, after);
}

}  // namespace
}  // namespace vellum::net
