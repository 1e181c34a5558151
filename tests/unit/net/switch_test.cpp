#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <thread>

#include "../temp_dir.hpp"
#include "frames.hpp"
#include "io/net/switch_network.hpp"
#include "io/net/vnet_header.hpp"

namespace vellum::net {
namespace {

constexpr MacAddress kA{2, 0, 0, 0, 0, 0xa}, kB{2, 0, 0, 0, 0, 0xb}, kC{2, 0, 0, 0, 0, 0xc};

TEST(MacTable, LearnsMovesAndForgets) {
  MacTable table;
  table.learn(kA, 1);
  table.learn(kBroadcast, 1);
  EXPECT_EQ(table.find(kA), 1u);
  EXPECT_EQ(table.find(kBroadcast), std::nullopt);
  table.learn(kA, 2);
  EXPECT_EQ(table.find(kA), 2u);
  table.forget(1);
  EXPECT_EQ(table.find(kA), 2u);
  table.forget(2);
  EXPECT_EQ(table.find(kA), std::nullopt);
}

TEST(MacTable, APortThatInventsAddressesLosesOnlyItsOwn) {
  MacTable table;
  table.learn(kA, 1);
  for (u32 n = 0; n < 10'000; ++n) table.learn(numbered_mac(n), 2);
  EXPECT_EQ(table.find(kA), 1u);
  EXPECT_EQ(table.size(), 1 + MacTable::kPerPort);
  EXPECT_EQ(table.find(numbered_mac(9'999)), 2u);
  EXPECT_EQ(table.find(numbered_mac(0)), std::nullopt);
}

struct HubTest : ::testing::Test {
  void send(unsigned from, const Bytes& frame) {
    const iovec piece{const_cast<u8*>(frame.data()), frame.size()};
    hub.forward(from, {{}, {&piece, 1}});
  }
  SwitchHub hub;
  RecordingReceiver a, b, c;
  unsigned port_a = hub.add(a), port_b = hub.add(b), port_c = hub.add(c);
};

TEST_F(HubTest, FloodsUntilItKnowsAndThenSendsToOne) {
  send(port_a, ethernet(kB, kA, 0x88b5));
  EXPECT_EQ(b.got.size(), 1u);
  EXPECT_EQ(c.got.size(), 1u);
  EXPECT_EQ(a.got.size(), 0u);
  send(port_b, ethernet(kA, kB, 0x88b5));
  send(port_a, ethernet(kB, kA, 0x88b5));
  EXPECT_EQ(a.got.size(), 1u);
  EXPECT_EQ(b.got.size(), 2u);
  EXPECT_EQ(c.got.size(), 1u);
  send(port_a, ethernet(kBroadcast, kA, 0x88b5));
  EXPECT_EQ(c.got.size(), 2u);
}

TEST_F(HubTest, APortThatIsGoneGetsNothing) {
  send(port_b, ethernet(kA, kB, 0x88b5));
  hub.remove(port_b);
  send(port_a, ethernet(kB, kA, 0x88b5));
  EXPECT_EQ(b.got.size(), 0u);
  EXPECT_EQ(c.got.size(), 2u);
}

class SwitchNetworkTest : public ::testing::Test {
 protected:
  void SetUp() override {
    loop = std::move(*EventLoop::create());
    config.kind = NetConfig::Kind::kSwitch;
    config.path = directory.path("lan");
    loop->start();
  }
  void TearDown() override { loop->stop(); }
  std::unique_ptr<Network> join(RecordingReceiver& receiver) {
    std::unique_ptr<Network> network;
    loop->run_on_loop([&] {
      auto made = SwitchNetwork::create(*loop, config);
      ASSERT_TRUE(made) << made.error().message;
      network = std::move(*made);
      network->connect(&receiver);
    });
    return network;
  }
  void leave(std::unique_ptr<Network>& network) {
    loop->run_on_loop([&] { network.reset(); });
  }
  void send(Network& network, const Bytes& frame, const FrameOffload& offload = {}) {
    loop->run_on_loop([&] { put_bytes(network, frame, offload); });
  }
  std::size_t frames_of(const RecordingReceiver& receiver) {
    std::size_t count = 0;
    loop->run_on_loop([&] { count = receiver.got.size(); });
    return count;
  }
  /// Waits until a receiver has `count` frames, for some seconds at most.
  bool arrives(RecordingReceiver& receiver, std::size_t count) {
    for (int n = 0; n < 500; ++n) {
      if (frames_of(receiver) >= count) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }
  /// Another program's socket at the switch's path.
  FileDescriptor listen_at_path(int type) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    config.path.copy(address.sun_path, sizeof address.sun_path - 1);
    FileDescriptor listener(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(listener.get(), 16), 0);
    return listener;
  }
  test::TempDir directory;
  NetConfig config;
  std::unique_ptr<EventLoop> loop;
  RecordingReceiver one, two, three;
};

TEST_F(SwitchNetworkTest, CarriesFramesBetweenItsMembers) {
  auto first = join(one), second = join(two), third = join(three);
  send(*second, ethernet(kBroadcast, kB, 0x88b5));
  EXPECT_TRUE(arrives(one, 1));
  EXPECT_TRUE(arrives(three, 1));
  send(*first, ethernet(kB, kA, 0x88b5));
  EXPECT_TRUE(arrives(two, 1));
  EXPECT_EQ(two.got[0].bytes, ethernet(kB, kA, 0x88b5));
  EXPECT_EQ(three.got.size(), 1u);
  leave(third), leave(second), leave(first);
}

TEST_F(SwitchNetworkTest, LeavesWorkToThoseWhoUnderstandIt) {
  two.offloads = kAllOffloads;
  auto first = join(one), second = join(two), third = join(three);
  send(*second, ethernet(kBroadcast, kB, 0x88b5));  // behind both hellos, once all know of all
  ASSERT_TRUE(arrives(one, 1) && arrives(three, 1));
  send(*first, tcp4(2500, 0x10), tcp4_gso(1000));
  ASSERT_TRUE(arrives(two, 1));
  ASSERT_TRUE(arrives(three, 4));
  EXPECT_EQ(two.got[0].offload.gso, Gso::kTcp4);
  EXPECT_EQ(three.got[1].bytes.size(), 1054u);
  leave(third), leave(second), leave(first);
}

TEST_F(SwitchNetworkTest, AnotherServesWhenTheServerGoes) {
  auto first = join(one), second = join(two), third = join(three);
  leave(first);
  for (int n = 0; n < 100 && frames_of(three) == 0; ++n) {
    send(*second, ethernet(kBroadcast, kB, 0x88b5));
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  EXPECT_TRUE(arrives(three, 1));
  leave(third), leave(second);
  EXPECT_FALSE(std::filesystem::exists(config.path));
}

TEST_F(SwitchNetworkTest, RefusesAPathThatIsAFile) {
  std::filesystem::create_directory(config.path);
  loop->run_on_loop([&] {
    const auto made = SwitchNetwork::create(*loop, config);
    ASSERT_FALSE(made);
    EXPECT_NE(made.error().message.find("not a socket"), std::string::npos);
  });
}

TEST_F(SwitchNetworkTest, LeavesAnotherProgramsSocketAlone) {
  const FileDescriptor foreign = listen_at_path(SOCK_STREAM);

  loop->run_on_loop([&] {
    const auto made = SwitchNetwork::create(*loop, config);
    ASSERT_FALSE(made);
    EXPECT_NE(made.error().message.find("in use by another program"), std::string::npos);
  });

  EXPECT_TRUE(std::filesystem::exists(config.path));
}

TEST_F(SwitchNetworkTest, TakesThePlaceOfAServerThatWasKilled) {
  listen_at_path(SOCK_SEQPACKET);  // gone, and its path is not

  auto first = join(one), second = join(two);
  send(*second, ethernet(kBroadcast, kB, 0x88b5));

  EXPECT_TRUE(arrives(one, 1));
  leave(second), leave(first);
}

// A full switch does that to whoever is one too many.
TEST_F(SwitchNetworkTest, AServerThatHangsUpAtOnceIsAskedAgainInItsTime) {
  const FileDescriptor lock(::open((config.path + ".lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  ASSERT_EQ(::flock(lock.get(), LOCK_EX | LOCK_NB), 0);
  const FileDescriptor server = listen_at_path(SOCK_SEQPACKET);
  const auto hang_up_on_one = [&] {
    return FileDescriptor(::accept4(server.get(), nullptr, nullptr, SOCK_CLOEXEC)).get() >= 0;
  };

  auto first = join(one);
  ASSERT_TRUE(hang_up_on_one());
  const auto begin = std::chrono::steady_clock::now();
  ASSERT_TRUE(hang_up_on_one());
  ASSERT_TRUE(hang_up_on_one());

  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(90));
  leave(first);
}

TEST_F(SwitchNetworkTest, OnlyItsUserGetsIn) {
  auto first = join(one);
  struct stat status {};
  ASSERT_EQ(::stat(config.path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  leave(first);
}

struct FrameSocketTest : ::testing::Test {
  void SetUp() override {
    std::array<int, 2> ends{};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()), 0);
    other = FileDescriptor(ends[1]);
    FrameSocket::Events events;
    events.frame = [this](const Frame& frame) { sizes.push_back(frame_size(frame.pieces)); };
    events.want_more = [] { return true; };
    events.closed = [] {};
    socket = std::move(*FrameSocket::create(*loop, FileDescriptor(ends[0]), dropped, std::move(events)));
  }
  static Bytes message(const VnetHeader& header, std::size_t frame) {
    Bytes bytes(4 + sizeof header + frame);
    bytes[0] = 1;
    std::memcpy(&bytes[4], &header, sizeof header);
    return bytes;
  }
  std::unique_ptr<EventLoop> loop = std::move(*EventLoop::create());
  FileDescriptor other;
  Counter dropped;
  std::unique_ptr<FrameSocket> socket;
  std::vector<std::size_t> sizes;
};

TEST_F(FrameSocketTest, DropsWhatIsNoFrame) {
  VnetHeader beyond;
  beyond.flags = VnetHeader::kNeedsChecksum;
  beyond.checksum_start = 60;
  beyond.checksum_offset = 16;
  VnetHeader fragments;
  fragments.gso_type = 3;  // UDP
  VnetHeader endless;
  endless.flags = VnetHeader::kNeedsChecksum;
  endless.checksum_start = 34;
  endless.gso_type = VnetHeader::kGsoTcp4;  // in pieces of 0
  socket->on_message({});
  socket->on_message(Bytes{9, 9, 9, 9});
  socket->on_message(message({}, 13));
  socket->on_message(message(beyond, 60));
  socket->on_message(message(fragments, 60));
  socket->on_message(message(endless, 60));
  EXPECT_TRUE(sizes.empty());
  EXPECT_EQ(dropped.get(), 6u);
  socket->on_message(message({}, 60));
  EXPECT_EQ(sizes, std::vector<std::size_t>{60});
}

TEST_F(FrameSocketTest, BelievesNoOffloadsThatThereAreNot) {
  socket->on_message(Bytes{2, 0, 0, 0, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff});
  EXPECT_EQ(socket->understands(), kAllOffloads);
  socket->on_message(Bytes{2, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0});  // of another version
  EXPECT_EQ(socket->understands(), kAllOffloads);
}

TEST_F(FrameSocketTest, APeerThatDoesNotReadLosesFrames) {
  const Bytes frame(60'000, 0);
  for (int n = 0; n < 1000; ++n) put_bytes(*socket, frame);  // 60 MB: neither waits nor keeps them
  const u64 lost = dropped.get();
  loop->start();  // what is queued follows

  u64 got = 0;
  Bytes bytes(70'000);
  pollfd readable{other.get(), POLLIN, 0};
  while (got + lost < 1000 && ::poll(&readable, 1, 5000) == 1 &&
         ::recv(other.get(), bytes.data(), bytes.size(), 0) == 60'014)
    ++got;
  loop->stop();

  EXPECT_GT(got, 0u);
  EXPECT_LT(got, 100u);
  EXPECT_EQ(got + lost, 1000u);
}

TEST_F(FrameSocketTest, SaysWhatItUnderstandsWhenThatChanges) {
  socket->announce(Offloads::kNone);
  socket->announce(Offloads::kChecksum);
  socket->announce(Offloads::kChecksum);

  Bytes bytes(100);
  EXPECT_EQ(::recv(other.get(), bytes.data(), bytes.size(), MSG_DONTWAIT), 12);
  EXPECT_EQ(::recv(other.get(), bytes.data(), bytes.size(), MSG_DONTWAIT), 12);
  EXPECT_EQ(::recv(other.get(), bytes.data(), bytes.size(), MSG_DONTWAIT), -1);
}

}  // namespace
}  // namespace vellum::net
