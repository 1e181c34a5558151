// virtio-balloon (virtio 1.2 §5.5): guest memory that its driver does without goes back to the host. The
// driver fills the balloon to the size that the configuration space asks for (queue 0; from queue 1 it takes
// pages back), tells how its memory stands when asked (statistics), and by itself reports what happens to be
// free.
//
// A page given back reads as zeroes (memory/give_back), and has host memory again when it is used: no list of
// the balloon's pages is kept, and a driver that uses one without a word harms only itself. Free page hints,
// which speed up migration, are not offered.
#pragma once

#include <array>

#include "devices/virtio/device.hpp"

namespace vellum::virtio {

struct BalloonOptions {
  u32 pages = 0;  ///< of 4 KiB, that the driver is asked for from the start
  bool deflate_on_oom = false;
  bool free_page_reporting = true;
  unsigned stats_seconds = 0;  ///< how often to ask for statistics; 0: never but when the driver comes
};

class Balloon final : public Device, public Snapshottable {
 public:
  /// Tags of statistics that are told on (§5.5.6.3.2).
  static constexpr unsigned kStatistics = 10;
  struct State {
    static constexpr std::string_view kKind = "virtio-balloon";
    static constexpr u32 kVersion = 1;
    DeviceState virtio;
    u32 target = 0, actual = 0, poison = 0;
    u64 done = 0;   ///< bytes of the inflate queue's next chain that are done already
    u64 known = 0;  ///< bit n: statistic n has been told
    std::vector<u64> statistics;
    State() {}
    template <class V>
    void visit(V& v) {
      v(virtio), v(target), v(actual), v(poison), v(done), v(known), v(statistics);
    }
    static State power_up(const BalloonOptions& options) {
      State state;
      state.target = options.pages;
      return state;
    }
  };
  static constexpr u16 kQueueSize = 128;

  Balloon(const IoContext& context, const BalloonOptions& options, const State& state);
  Balloon(const IoContext& context, const BalloonOptions& options)
      : Balloon(context, options, State::power_up(options)) {}

  /// Asks the driver for another size, in pages of 4 KiB. Any thread, without locks of the device's.
  void set_target(u32 pages);
  /// What the driver says it has given, in pages. Any thread.
  u32 actual() const;
  /// How things stand. Any thread.
  struct Report {
    u32 target = 0, actual = 0;  ///< pages
    /// What the driver has told of its memory; the names are those of §5.5.6.3.2 as Linux has them.
    std::vector<std::pair<std::string_view, u64>> statistics;
  };
  Report report() const;

  void quiesce() override { paused_ = true; }
  void resume() override;
  SavedState save() const override;
  void stats(std::vector<StatRow>& rows) const override;

 private:
  /// What is taken from a ring and not given back yet.
  struct Taken {
    Chain chain;
    u64 size = 0, done = 0;
    RingPosition before;  ///< where the ring stood
  };
  static constexpr unsigned kNoQueue = ~0u;

  std::vector<u8> config() const override;
  void config_written(u64 offset, u8 value) override;
  void process(unsigned queue) override;
  void activated() override;
  void stop() override;
  bool halted() const { return paused_ || ended_ || !running(); }
  void end(const std::string& why);

  void inflate();
  bool take_pages(Taken& inflating, u64& budget);
  void deflate();
  void read_statistics();
  void ask_for_statistics();
  void take_reports();
  u64 give_back(GuestPhysRange range);

  const BalloonOptions options_;
  // The loop's.
  unsigned statistics_queue_ = kNoQueue, reporting_queue_ = kNoQueue;
  std::optional<Taken> inflating_;
  u64 skip_;                                ///< of the inflate queue's next chain, after restoring
  std::optional<Taken> statistics_buffer_;  ///< the device's until it asks for the next ones
  std::unique_ptr<EventLoop::Delay> delay_;
  bool paused_ = false;  ///< between quiesce() and resume()
  bool ended_ = false;   ///< wants a reset
  // With mutex_ held.
  u32 target_, actual_, poison_;
  u64 known_;
  std::array<u64, kStatistics> statistics_{};
  SharedCounter inflated_, deflated_, reported_, refused_;
};

}  // namespace vellum::virtio
