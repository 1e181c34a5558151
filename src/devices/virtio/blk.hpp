// virtio-blk (virtio 1.2 §5.2): a disk with several queues, flush, discard and write-zeroes.
#pragma once

#include "devices/virtio/device.hpp"
#include "io/disk/disk.hpp"

namespace vellum::virtio {

class Blk final : public Device, public Snapshottable {
 public:
  struct State {
    static constexpr std::string_view kKind = "virtio-blk";
    static constexpr u32 kVersion = 1;
    DeviceState virtio;
    State() {}
    template <class V>
    void visit(V& v) {
      v(virtio);
    }
  };
  static constexpr u16 kQueueSize = 256;

  /// `queues`: 1 to 64, one for each vCPU is best. `serial`: what GET_ID gives, up to 20 bytes.
  Blk(const IoContext& context, std::shared_ptr<Disk> disk, unsigned queues, std::string serial,
      const State& state = State());
  ~Blk() override;

  void quiesce() override;
  SavedState save() const override;
  void stats(std::vector<StatRow>& rows) const override;

 private:
  struct Request;
  std::vector<u8> config() const override;
  void process(unsigned queue) override;
  void stop() override;
  void begin(std::shared_ptr<Request> request);
  bool relies_on_writes() const;
  void flush_and_end(std::shared_ptr<Request> request);
  void begin_ranges(std::shared_ptr<Request> request, u32 type);
  void end(Request& request, u8 status, u64 written);

  const std::shared_ptr<Disk> disk_;
  const std::string serial_;
  const unsigned queue_count_;
  SharedCounter requests_, failures_, read_bytes_, written_bytes_;
};

}  // namespace vellum::virtio
