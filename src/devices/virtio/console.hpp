// virtio-console (virtio 1.2 §5.3) with one port: queue 0 brings the host's input, queue 1 takes the guest's
// output; the size of the user's terminal is in the configuration space.
//
// Back-pressure in both directions: input stays with the host until the driver has buffers, output in its
// ring until the sink has room.
#pragma once

#include <functional>

#include "devices/virtio/device.hpp"
#include "io/paced_sink.hpp"

namespace vellum::virtio {

class Console final : public Device, public Snapshottable {
 public:
  struct State {
    static constexpr std::string_view kKind = "virtio-console";
    static constexpr u32 kVersion = 1;
    DeviceState virtio;
    u64 sent = 0;  ///< bytes of the next chain in the output's ring that are out already
    u16 columns = 0, rows = 0;
    bool size_told = false;  ///< since the driver is there
    State() {}
    template <class V>
    void visit(V& v) {
      v(virtio), v(sent), v(columns), v(rows), v(size_told);
    }
  };
  static constexpr u16 kQueueSize = 64;

  /// `output` outlives it.
  Console(const IoContext& context, PacedSink& output, const State& state = State());

  // On the loop's thread.
  /// Whether a driver takes input: else the user's keys are better given to somebody else.
  bool has_driver() const { return running(); }
  /// Takes the first bytes that the driver has buffers for, returns how many.
  std::size_t receive(std::span<const u8> bytes);
  /// The sink has room again.
  void output_ready() { send(); }

  /// Called on the loop's thread when receive() may take more than it did. Set once, before the vCPUs run.
  void on_room(std::function<void()> notify) { room_ = std::move(notify); }
  /// The terminal's size, in characters; 0: there is none. Any thread, without locks of the device's.
  void resize(u16 columns, u16 rows);

  void quiesce() override;
  void resume() override;
  SavedState save() const override;
  void stats(std::vector<StatRow>& rows) const override;

 private:
  /// What is taken from the ring and not wholly written out yet.
  struct Sending {
    Chain chain;
    u64 size = 0, sent = 0;
    RingPosition before;  ///< where the ring stood
  };

  std::vector<u8> config() const override;
  void process(unsigned queue) override;
  void activated() override { tell_room(); }
  void stop() override;
  void send();
  bool write_out(Sending& sending);
  void tell_room();
  void tell_size();
  void interrupt_soon();
  void interrupt_now();
  void end(const std::string& why);

  PacedSink& output_;
  std::function<void()> room_;
  // The loop's.
  std::optional<Sending> sending_;
  u64 skip_;  ///< of the next chain, after restoring
  bool starved_ = false;
  std::unique_ptr<EventLoop::Delay> delay_;  ///< until the driver is told of output that is done
  bool interrupt_due_ = false;
  bool size_told_;
  bool paused_ = false;  ///< between quiesce() and resume()
  bool ended_ = false;   ///< wants a reset
  // With mutex_ held.
  u16 columns_, rows_;
  SharedCounter bytes_out_, bytes_in_;
};

}  // namespace vellum::virtio
