#include "io/net/user_network.hpp"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "frames.hpp"

namespace vellum::net {
namespace {

constexpr MacAddress kGuest{0x52, 0x54, 0, 0x12, 0x34, 0x56};

class UserNetworkTest : public ::testing::Test {
 protected:
  void SetUp() override {
    loop = std::move(*EventLoop::create());
    loop->start();
  }
  void TearDown() override {
    loop->run_on_loop([&] { network.reset(); });
    loop->stop();
  }
  void make(const NetConfig& config = {}) {
    loop->run_on_loop([&] {
      auto made = UserNetwork::create(*loop, config);
      ASSERT_TRUE(made) << made.error().message;
      network = std::move(*made);
      network->connect(&guest);
    });
  }
  void send(const Bytes& frame) {
    loop->run_on_loop([&] { put_bytes(*network, frame); });
  }
  bool arrives(std::size_t count) {
    for (int n = 0; n < 500; ++n) {
      std::size_t now = 0;
      loop->run_on_loop([&] { now = guest.got.size(); });
      if (now >= count) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }
  static Bytes who_has(u32 address) {
    Bytes frame = ethernet(kBroadcast, kGuest, 0x0806, 28);
    u8* arp = &frame[14];
    store_be16(arp, 1), store_be16(arp + 2, 0x0800), store_be16(arp + 4, 0x0604), store_be16(arp + 6, 1);
    std::copy(kGuest.begin(), kGuest.end(), arp + 8);
    store_be32(arp + 14, 0x0a00020f);
    store_be32(arp + 24, address);
    return frame;
  }
  std::unique_ptr<EventLoop> loop;
  RecordingReceiver guest;
  std::unique_ptr<Network> network;
};

TEST_F(UserNetworkTest, TheGatewayAnswers) {
  make();
  send(who_has(0x0a000202));
  ASSERT_TRUE(arrives(1));
  EXPECT_EQ(load_be16(&guest.got[0].bytes[12]), 0x0806);
  EXPECT_EQ(load_be16(&guest.got[0].bytes[20]), 2);  // a reply
  EXPECT_EQ(load_be32(&guest.got[0].bytes[28]), 0x0a000202u);
}

TEST_F(UserNetworkTest, HoldsFramesWhileTheGuestHasNoRoom) {
  make();
  loop->run_on_loop([&] { guest.room = 0; });
  send(who_has(0x0a000202));
  loop->run_on_loop([&] {
    EXPECT_TRUE(guest.got.empty());
    guest.room = 1;
    network->receiver_ready();
  });
  EXPECT_TRUE(arrives(1));
}

TEST_F(UserNetworkTest, TakesSegmentsUncut) {
  make();
  loop->run_on_loop([&] { put_bytes(*network, tcp4(5000, 0), tcp4_gso(1448)); });
  std::vector<StatRow> rows;
  loop->run_on_loop([&] { network->stats(rows); });
  EXPECT_EQ(rows.at(0).name, "frames from the guest");
  EXPECT_EQ(rows.at(0).count, 1u);
}

TEST_F(UserNetworkTest, TakesNonsense) {
  make();
  send(Bytes(14));
  send(Bytes(60, 0xff));
  send(ethernet(kBroadcast, kGuest, 0x0800, 1));
  send(who_has(0x0a000202));
  EXPECT_TRUE(arrives(1));
}

TEST_F(UserNetworkTest, APortThatIsTakenIsAnError) {
  FileDescriptor holder(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  // SAFETY: the socket functions take any address as a sockaddr.
  auto* any = reinterpret_cast<sockaddr*>(&address);
  ASSERT_EQ(::bind(holder.get(), any, size), 0);
  ASSERT_EQ(::listen(holder.get(), 1), 0);
  ASSERT_EQ(::getsockname(holder.get(), any, &size), 0);
  NetConfig config;
  config.forwards.push_back({false, INADDR_LOOPBACK, ntohs(address.sin_port), 22});
  loop->run_on_loop([&] {
    const auto made = UserNetwork::create(*loop, config);
    ASSERT_FALSE(made);
    EXPECT_NE(made.error().message.find("forward another port"), std::string::npos) << made.error().message;
  });
}

}  // namespace
}  // namespace vellum::net
