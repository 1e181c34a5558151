#include "io/net/net_config.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include "io/net/create_network.hpp"

namespace vellum::net {
namespace {

std::string error_of(std::string_view text) {
  const auto parsed = parse_net(text);
  return parsed ? "" : parsed.error().message;
}

TEST(NetConfig, TakesAForwardOfEachForm) {
  const auto config = parse_net("user,forward=tcp:2222:22,forward=udp:0.0.0.0:5353:53,restrict=on");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->kind, NetConfig::Kind::kUser);
  EXPECT_TRUE(config->restricted);
  ASSERT_EQ(config->forwards.size(), 2u);
  EXPECT_FALSE(config->forwards[0].udp);
  EXPECT_EQ(config->forwards[0].host_address, 0x7f000001u);
  EXPECT_EQ(config->forwards[0].host_port, 2222);
  EXPECT_EQ(config->forwards[0].guest_port, 22);
  EXPECT_TRUE(config->forwards[1].udp);
  EXPECT_EQ(config->forwards[1].host_address, 0u);
}

TEST(NetConfig, TakesTapAndSwitch) {
  EXPECT_EQ(parse_net("tap,ifname=tap3")->ifname, "tap3");
  EXPECT_EQ(parse_net("switch,path=/tmp/lan0.sock,mac=52:54:00:aa:bb:cc")->mac,
            (MacAddress{0x52, 0x54, 0, 0xaa, 0xbb, 0xcc}));
  EXPECT_EQ(parse_net("none")->kind, NetConfig::Kind::kNone);
  EXPECT_EQ(parse_net("user,queues=4")->queues, 4u);
  EXPECT_EQ(parse_net("user")->model, NetConfig::Model::kVirtio);
  EXPECT_EQ(parse_net("tap,model=virtio")->model, NetConfig::Model::kVirtio);
  EXPECT_EQ(parse_net("switch,model=e1000,path=/x")->model, NetConfig::Model::kE1000);
}

TEST(NetConfig, SaysWhatToDo) {
  EXPECT_NE(error_of("nat").find("user, tap, switch or none"), std::string::npos);
  EXPECT_NE(error_of("").find("user, tap, switch or none"), std::string::npos);
  EXPECT_NE(error_of("user,path=/x").find("belongs to a 'switch' network"), std::string::npos);
  EXPECT_NE(error_of("user,speed=9").find("mac, queues, model, forward"), std::string::npos);
  EXPECT_NE(error_of("user,restrict").find("key=value"), std::string::npos);
  EXPECT_NE(error_of("switch").find("switch,path="), std::string::npos);
  EXPECT_NE(error_of("user,forward=tcp:22").find("forward=tcp:2222:22"), std::string::npos);
  EXPECT_NE(error_of("user,forward=tcp:0:22").find("forward=tcp:2222:22"), std::string::npos);
  EXPECT_NE(error_of("user,forward=tcp:65536:22").find("forward=tcp:2222:22"), std::string::npos);
  EXPECT_NE(error_of("user,forward=tcp:nowhere:1:22").find("forward=tcp:2222:22"), std::string::npos);
  EXPECT_NE(error_of("user,mac=1:2:3:4:5:6").find("six bytes"), std::string::npos);
  EXPECT_NE(error_of("user,mac=01:00:00:00:00:00").find("not the address of one card"), std::string::npos);
  EXPECT_NE(error_of("user,queues=9").find("1 to 8"), std::string::npos);
  EXPECT_EQ(error_of("user,model=rtl8139"), "model=rtl8139: unknown; there are: virtio, e1000");
  EXPECT_EQ(error_of("user,model=e1000,queues=2"), "queues=2: an e1000 has one pair; model=virtio has more");
  EXPECT_NE(error_of("tap,ifname=averyveryverylongname").find("1 to 15"), std::string::npos);
}

TEST(NetConfig, CardsOfAMachineDiffer) {
  const auto a = *parse_net("user,mac=52:54:00:00:00:01,forward=tcp:2222:22");
  const auto b = *parse_net("user,forward=tcp:2222:80");
  EXPECT_TRUE(check_nets({a}));
  EXPECT_FALSE(check_nets({a, a}));
  EXPECT_FALSE(check_nets({a, b}));
}

TEST(CardAddresses, AreStableAndDifferent) {
  std::vector<FileDescriptor> places;
  const auto user = *parse_net("user");
  const auto fixed = *parse_net("user,mac=52:54:00:12:34:56");
  // Places are the host's: another run of this test has its own.
  const auto lan = *parse_net(fmt::format("switch,path=/tmp/vellum-test-lan-{}", ::getpid()));
  const auto first = card_addresses({fixed, user, user, lan, lan}, places);
  EXPECT_EQ(first[0], numbered_mac(0x123456));
  EXPECT_EQ(first[1], numbered_mac(0x123457));
  EXPECT_EQ(first[2], numbered_mac(0x123458));
  EXPECT_NE(first[3], first[4]);
  std::vector<FileDescriptor> others;  // as another VM on the same switch would
  EXPECT_NE(card_addresses({lan}, others)[0], first[3]);
  places.clear();
  others.clear();
  EXPECT_EQ(card_addresses({fixed, user, user, lan, lan}, places), first);
}

}  // namespace
}  // namespace vellum::net
