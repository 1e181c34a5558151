// virtio-net (virtio 1.2 §5.1): a network card with checksum and segmentation offloads both ways, mergeable
// receive buffers, a control queue, and several pairs of queues.
//
// Frames from the network go into receive buffers that were taken from the ring in advance: only so
// has_room() can say whether the next one fits. They count as not taken in a saved state.
#pragma once

#include <array>
#include <deque>

#include "devices/virtio/device.hpp"
#include "devices/virtio/net_filter.hpp"
#include "io/net/network.hpp"

namespace vellum::virtio {

class Net final : public Device, public Snapshottable, private net::FrameReceiver {
 public:
  struct State {
    static constexpr std::string_view kKind = "virtio-net";
    static constexpr u32 kVersion = 1;
    DeviceState virtio;
    NetFilterState filter;
    u64 guest_offloads = 0;  ///< the GUEST_* features in force (§5.1.6.5.8)
    u16 pairs = 1;           ///< in use
    State() {}
    template <class V>
    void visit(V& v) {
      v(virtio), v(filter), v(guest_offloads), v(pairs);
    }
  };
  static constexpr u16 kQueueSize = 256, kControlSize = 64;

  /// `pairs`: 1 to 8. The address is the card's own; a driver may give it another until it resets it.
  Net(const IoContext& context, std::shared_ptr<net::Network> network, const net::MacAddress& mac,
      unsigned pairs, const State& state = State());
  ~Net() override;

  void quiesce() override { paused_ = true; }
  void resume() override;
  SavedState save() const override;
  void stats(std::vector<StatRow>& rows) const override;

 private:
  /// A receive buffer taken from its ring, and where the ring stood before.
  struct Ready {
    Chain chain;
    u64 size = 0;
    RingPosition before;
  };
  struct Pair {
    std::deque<Ready> ready;
    u64 ready_bytes = 0;
  };

  // Of Device.
  std::vector<u8> config() const override;
  void process(unsigned queue) override;
  void activated() override;
  void stop() override;
  // Of FrameReceiver.
  net::Offloads understands() const override;
  bool has_room() const override;
  void take(const net::Frame& frame) override;

  bool is_control(unsigned queue) const;
  unsigned control_index() const;
  bool halted() const { return paused_ || needs_reset_ || !running(); }
  void end(const std::string& why);
  void end_if_broken(unsigned queue);

  void send_frames(unsigned pair);
  void send(unsigned pair, const Chain& chain);

  void refill(unsigned pair);
  /// Takes one buffer more; false if there is none.
  bool take_buffer(unsigned pair);
  void drop_buffer(Pair& pair);
  u64 header_size() const;
  u64 wanted_bytes() const;
  bool pair_has_room(unsigned pair) const;
  unsigned pair_of(const net::Frame& frame) const;

  void answer_commands(unsigned queue);
  bool command(const Chain& chain);
  bool set_offloads(std::span<const u8> data);
  bool set_pairs(std::span<const u8> data);

  const std::shared_ptr<net::Network> network_;
  const net::MacAddress own_mac_;
  const unsigned max_pairs_;
  // The loop's; filter_'s address with mutex_ held, too, as config() reads it.
  NetFilter filter_;
  u64 guest_offloads_ = 0;
  unsigned pairs_ = 1;
  std::vector<Pair> receive_;
  std::vector<Chain> spare_;     ///< whose vectors have room already
  std::array<u8, 256> flows_{};  ///< the pair that a flow was last sent on
  std::vector<iovec> pieces_;
  std::vector<UsedChain> used_;
  bool paused_ = false;  ///< between quiesce() and resume()
  bool needs_reset_ = false;
  mutable bool awaited_ = false;  ///< has_room() has said no since the network was told of room
  SharedCounter sent_, received_, filtered_, no_buffers_, malformed_, commands_;
};

}  // namespace vellum::virtio
