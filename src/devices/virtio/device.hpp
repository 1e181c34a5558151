// A virtio device without its transport (virtio 1.2 ch. 2 and 3): status, features, queues. What kind it is,
// its configuration space and what it does with its queues is a derived class's.
//
// Threads. Registers are accessed from any vCPU's thread. Queues belong to the event loop: they are made when
// the driver sets DRIVER_OK and go when it resets the device, both on the loop's thread while the vCPU waits.
// So process() needs no lock, and after a reset nothing of the device touches the guest's memory. Lock order:
// the device's, then the transport's (never the device's under it); process() runs without either.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/snapshot.hpp"
#include "base/stats.hpp"
#include "devices/virtio/queue.hpp"
#include "io/io_context.hpp"

namespace vellum::virtio {

// Feature bits that are not a device type's (§6).
inline constexpr u64 kRingIndirect = u64{1} << 28, kRingEventIndex = u64{1} << 29, kVersion1 = u64{1} << 32,
                     kRingPacked = u64{1} << 34;
/// What the legacy interface offers besides (§6.3): buffers may be cut anywhere.
inline constexpr u64 kAnyLayout = u64{1} << 27;
// Status (§2.1).
inline constexpr u8 kAcknowledge = 1, kDriver = 2, kDriverOk = 4, kFeaturesOk = 8, kNeedsReset = 64,
                    kFailed = 128;

inline constexpr u16 kNoVector = 0xffff;

/// 32 bits of a set of features, as transports show it; 0 beyond them.
constexpr u32 word_of(u64 features, u32 word) {
  return word < 2 ? static_cast<u32>(features >> (32 * word)) : 0;
}

/// Part of each device's State.
struct DeviceState {
  u8 status = 0;
  u64 driver_features = 0;
  u8 generation = 0;
  std::vector<QueueState> queues;
  template <class V>
  void visit(V& v) {
    v(status), v(driver_features), v(generation), v(queues);
  }
};

/// How a device reaches its driver. Any thread, without locks of the device held.
class Transport {
 public:
  virtual ~Transport() = default;
  virtual void interrupt_queue(unsigned queue) = 0;
  virtual void interrupt_config() = 0;
  virtual DmaView dma() = 0;
};

struct DeviceKind {
  u16 type = 0;        ///< §5
  u32 class_code = 0;  ///< as a PCI function
  std::string name;    ///< "virtio-blk"
  u64 features = 0;    ///< of the type; the ring's are added
  std::vector<u16> queue_sizes;
};

class Device : public Quiescable, public StatSource {
 public:
  Device(const IoContext& context, DeviceKind kind, const DeviceState& state);
  /// On the loop's thread, or while no thread runs.
  ~Device() override;
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  const DeviceKind& kind() const { return kind_; }
  /// Once, before anything else. A restored device's queues are made here.
  void connect(Transport& transport);
  /// Before the transport goes: finishes what is under way; nothing runs any more. On the loop's thread, or
  /// while no thread runs.
  void disconnect();

  // What transports show as registers. Any vCPU's thread; no lock of a transport's may be held by a caller of
  // set_status(). GUEST-CONTROLLED: every argument.
  u64 features() const { return features_; }
  u64 driver_features() const;
  void set_driver_features(u64 features);
  void set_driver_feature_word(u32 word, u32 value);
  u8 status() const;
  void set_status(u8 value);
  unsigned queue_count() const { return static_cast<unsigned>(kind_.queue_sizes.size()); }
  /// A queue's registers; one that does not exist has size 0.
  QueueState queue_registers(unsigned queue) const;
  /// Changes them with `change`, unless the queue does not exist or is enabled.
  template <class Change>
  void change_queue(unsigned queue, Change change) {
    std::scoped_lock lock(mutex_);
    if (queue < registers_.size() && !registers_[queue].ready) change(registers_[queue]);
  }
  u16 max_queue_size(unsigned queue) const {
    return queue < queue_count() ? kind_.queue_sizes[queue] : u16{0};
  }
  void set_queue_size(unsigned queue, u32 size);
  void set_queue_area(unsigned queue, u64 QueueState::*area, bool upper, u32 half);
  void enable_queue(unsigned queue);

  // The legacy interface (§1.3.1): 32 bits of features, no FEATURES_OK, rings in one piece at a page. A
  // driver that has not agreed on VERSION_1 and runs came by it.
  u32 legacy_features() const { return static_cast<u32>(features_ | kAnyLayout); }
  /// What is not offered is not taken.
  void set_legacy_features(u32 features) { set_driver_features(features & legacy_features()); }
  void set_legacy_status(u8 value);
  /// The queue, of the most descriptors, is in `page` of 4 KiB; 0: the driver has it back. As set_status().
  void set_legacy_queue(unsigned queue, u32 page);

  /// When it returns nothing of the device touches the queue any more. As set_status().
  void disable_queue(unsigned queue);
  void notify(unsigned queue);
  u8 generation() const;
  /// Bytes of the configuration space; what lies beyond reads 0.
  u32 read_config(u64 offset, unsigned size);
  void write_config(u64 offset, unsigned size, u32 value);

  void quiesce() override {}
  void resume() override;
  void stats(std::vector<StatRow>& rows) const override;

 protected:
  /// The configuration space as it is now, with mutex_ held.
  virtual std::vector<u8> config() const = 0;
  /// A byte of it is written, with mutex_ held.
  virtual void config_written(u64, u8) {}

  // On the loop's thread.
  /// There may be something in the queue.
  virtual void process(unsigned queue) = 0;
  /// The driver is ready.
  virtual void activated() {}
  /// The device is reset: nothing may be under way when this returns. Queues are still there.
  virtual void stop() {}
  /// nullptr: not there, or the device is not running.
  Queue* queue(unsigned index) {
    return index < queues_.size() && queues_[index] ? &*queues_[index] : nullptr;
  }
  const Queue* queue(unsigned index) const {
    return index < queues_.size() && queues_[index] ? &*queues_[index] : nullptr;
  }
  bool running() const { return running_; }
  /// By a driver from before virtio 1.0.
  bool legacy() const { return !negotiated(kVersion1); }
  bool negotiated(u64 feature) const { return (negotiated_ & feature) == feature; }
  u64 negotiated_features() const { return negotiated_; }
  /// Gives back a chain and interrupts if the driver wants that.
  void complete(unsigned queue, const Chain& chain, u32 written);
  /// After chains were pushed to the queue itself.
  void interrupt_if_wanted(unsigned queue);
  /// Checks a queue that pop() has taken nothing from: a broken one ends the device.
  void check(unsigned queue);
  /// §2.1.1: the device has met an error that only a reset mends.
  void needs_reset(const std::string& why);
  /// The configuration space has changed by itself.
  void config_changed();
  DmaView dma() const { return transport_->dma(); }
  /// There is more in a queue than process() takes at once.
  void look_again(unsigned queue);
  const IoContext& context() const { return context_; }

  /// On the loop's thread or while nothing runs.
  DeviceState device_state() const;
  mutable std::mutex mutex_;

 private:
  void reset();
  void activate();
  void deactivate();
  QueueOptions queue_options() const;

  const IoContext context_;
  const DeviceKind kind_;
  const u64 features_;
  Transport* transport_ = nullptr;

  // With mutex_ held.
  u8 status_ = 0;
  u64 driver_features_ = 0;
  u8 generation_ = 0;
  std::vector<QueueState> registers_;  ///< as the driver programmed them

  std::mutex status_mutex_;  ///< one change of status at a time; before all else

  // The loop's.
  bool running_ = false;
  u64 negotiated_ = 0;
  std::vector<std::optional<Queue>> queues_;
  std::atomic<bool> accepts_notifications_{false};
  Doorbells bells_;
  SharedCounter notifications_, interrupts_;
};

}  // namespace vellum::virtio
