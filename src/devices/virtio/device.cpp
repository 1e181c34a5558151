#include "devices/virtio/device.hpp"

#include <algorithm>

#include "base/assert.hpp"
#include "base/log.hpp"

namespace vellum::virtio {
namespace {

void set_half(u64& whole, bool upper, u32 half) {
  whole = upper ? (whole & 0xffff'ffff) | u64{half} << 32 : (whole & ~u64{0xffff'ffff}) | half;
}

}  // namespace

Device::Device(const IoContext& context, DeviceKind kind, const DeviceState& state)
    : context_(context),
      kind_(std::move(kind)),
      features_(kind_.features | kRingIndirect | kRingEventIndex | kVersion1 | kRingPacked),
      bells_(context, [this](unsigned queue) {
        if (running_) process(queue);
      }) {
  VELLUM_ASSERT(queue_count() >= 1 && queue_count() <= 64, "{} queues", queue_count());
  const bool fits = state.queues.size() == kind_.queue_sizes.size();
  for (std::size_t n = 0; n < kind_.queue_sizes.size(); ++n) {
    QueueState registers = fits ? state.queues[n] : QueueState();
    if (registers.size == 0 || registers.size > kind_.queue_sizes[n]) registers.size = kind_.queue_sizes[n];
    registers_.push_back(registers);
  }
  if (!fits) return;
  status_ = state.status;
  driver_features_ = state.driver_features & (features_ | kAnyLayout);
  generation_ = state.generation;
}

Device::~Device() = default;

void Device::connect(Transport& transport) {
  transport_ = &transport;
  if ((status_ & kDriverOk) != 0) activate();
}

void Device::disconnect() {
  deactivate();
  transport_ = nullptr;
}

u64 Device::driver_features() const {
  std::scoped_lock lock(mutex_);
  return driver_features_;
}

void Device::set_driver_features(u64 features) {
  std::scoped_lock lock(mutex_);
  // §2.2: what was agreed on stays.
  if ((status_ & kFeaturesOk) == 0) driver_features_ = features;
}

void Device::set_driver_feature_word(u32 word, u32 value) {
  std::scoped_lock lock(mutex_);
  if (word < 2 && (status_ & kFeaturesOk) == 0) set_half(driver_features_, word == 1, value);
}

u8 Device::status() const {
  std::scoped_lock lock(mutex_);
  return status_;
}

void Device::reset() {
  context_.loop->run_on_loop([this] { deactivate(); });
  std::scoped_lock lock(mutex_);
  status_ = 0;
  driver_features_ = 0;
  for (std::size_t n = 0; n < registers_.size(); ++n) {
    registers_[n] = QueueState();
    registers_[n].size = kind_.queue_sizes[n];
  }
}

void Device::set_status(u8 value) {
  std::scoped_lock order(status_mutex_);
  if (value == 0) return reset();
  bool start = false;
  {
    std::scoped_lock lock(mutex_);
    const u8 before = status_;
    // §2.1.1: a driver must not clear a bit, and NEEDS_RESET is not its to set. What is set stays until a
    // reset, so that a device never starts twice.
    u8 now = static_cast<u8>((value & ~kNeedsReset) | before);
    // §3.1.1: features that we do not offer, or a driver from before 1.0, are refused by leaving FEATURES_OK
    // clear.
    if ((now & ~before & kFeaturesOk) != 0 &&
        ((driver_features_ & ~features_) != 0 || (driver_features_ & kVersion1) == 0))
      now = static_cast<u8>(now & ~kFeaturesOk);
    start = (now & ~before & kDriverOk) != 0;
    if (start && (now & kFeaturesOk) == 0) {
      VELLUM_WARN_GUEST("{}: the driver starts without having agreed on features", kind_.name);
      now = static_cast<u8>((now & ~kDriverOk) | kNeedsReset);
      start = false;
    }
    status_ = now;
  }
  if (start) context_.loop->run_on_loop([this] { activate(); });
}

void Device::set_legacy_status(u8 value) {
  std::scoped_lock order(status_mutex_);
  if (value == 0) return reset();
  bool start = false;
  {
    std::scoped_lock lock(mutex_);
    // FEATURES_OK does not exist here; a driver that writes it all the same gets no VERSION_1 by it.
    const u8 now = static_cast<u8>((value & ~(kNeedsReset | kFeaturesOk)) | status_);
    start = (now & ~status_ & kDriverOk) != 0;
    status_ = now;
    if (start) driver_features_ &= legacy_features();
  }
  if (start) context_.loop->run_on_loop([this] { activate(); });
}

// §2.7.2: descriptors, the driver's area behind them, the device's on the next page.
void Device::set_legacy_queue(unsigned index, u32 page) {
  if (index >= queue_count()) return;
  if (page == 0) return disable_queue(index);
  std::scoped_lock order(status_mutex_);
  QueueState ring;
  {
    std::scoped_lock lock(mutex_);
    QueueState& registers = registers_[index];
    if (registers.ready) return;
    const u64 size = kind_.queue_sizes[index];
    registers.size = static_cast<u16>(size);
    registers.descriptors = u64{page} * kPageSize;
    registers.driver = registers.descriptors + 16 * size;
    registers.device = (registers.driver + 2 * (3 + size) + kPageSize - 1) / kPageSize * kPageSize;
    registers.ready = true;
    ring = registers;
  }
  // A driver may have begun to use the device before it has made all queues.
  context_.loop->run_on_loop([&] {
    if (running_) queues_[index].emplace(transport_->dma(), queue_options(), ring);
  });
}

QueueOptions Device::queue_options() const {
  return {negotiated(kRingPacked), negotiated(kRingEventIndex), negotiated(kRingIndirect)};
}

void Device::activate() {
  std::vector<QueueState> registers;
  {
    std::scoped_lock lock(mutex_);
    negotiated_ = driver_features_;
    registers = registers_;
  }
  queues_.clear();
  queues_.resize(registers.size());
  for (std::size_t n = 0; n < registers.size(); ++n)
    if (registers[n].ready) queues_[n].emplace(transport_->dma(), queue_options(), registers[n]);
  running_ = true;
  accepts_notifications_.store(true, std::memory_order_release);
  activated();
}

void Device::deactivate() {
  accepts_notifications_.store(false, std::memory_order_release);
  if (!running_) return;
  stop();
  running_ = false;
  queues_.clear();
}

void Device::resume() {
  if (!running_) return;
  for (unsigned n = 0; n < queues_.size(); ++n)
    if (queues_[n]) process(n);
}

QueueState Device::queue_registers(unsigned queue) const {
  std::scoped_lock lock(mutex_);
  return queue < registers_.size() ? registers_[queue] : QueueState();
}

void Device::set_queue_size(unsigned queue, u32 size) {
  if (size != 0 && size <= max_queue_size(queue))
    change_queue(queue, [size](QueueState& q) { q.size = static_cast<u16>(size); });
}

void Device::set_queue_area(unsigned queue, u64 QueueState::*area, bool upper, u32 half) {
  change_queue(queue, [&](QueueState& q) { set_half(q.*area, upper, half); });
}

void Device::enable_queue(unsigned queue) {
  change_queue(queue, [](QueueState& q) { q.ready = true; });
}

void Device::disable_queue(unsigned index) {
  if (index >= queue_count()) return;
  std::scoped_lock order(status_mutex_);
  context_.loop->run_on_loop([this, index] {
    if (queue(index) == nullptr) return;
    quiesce();
    queues_[index].reset();
    resume();
  });
  std::scoped_lock lock(mutex_);
  QueueState& registers = registers_[index];
  QueueState fresh;
  fresh.size = registers.size;
  fresh.descriptors = registers.descriptors, fresh.driver = registers.driver, fresh.device = registers.device;
  registers = fresh;
}

void Device::notify(unsigned queue) {
  if (queue >= queue_count() || !accepts_notifications_.load(std::memory_order_acquire)) return;
  notifications_.add();
  bells_.ring(queue);
}

u8 Device::generation() const {
  std::scoped_lock lock(mutex_);
  return generation_;
}

u32 Device::read_config(u64 offset, unsigned size) {
  std::scoped_lock lock(mutex_);
  const auto bytes = config();
  u32 value = 0;
  for (unsigned i = 0; i < size && i < 4; ++i)
    if (offset + i < bytes.size()) value |= u32{bytes[offset + i]} << (8 * i);
  return value;
}

void Device::write_config(u64 offset, unsigned size, u32 value) {
  std::scoped_lock lock(mutex_);
  for (unsigned i = 0; i < size && i < 4; ++i) config_written(offset + i, static_cast<u8>(value >> (8 * i)));
}

void Device::complete(unsigned index, const Chain& chain, u32 written) {
  Queue* const q = queue(index);
  if (q == nullptr) return;
  q->push(chain, written);
  interrupt_if_wanted(index);
}

void Device::interrupt_if_wanted(unsigned index) {
  Queue* const q = queue(index);
  if (q == nullptr || !q->wants_interrupt()) return;
  interrupts_.add();
  transport_->interrupt_queue(index);
}

void Device::check(unsigned index) {
  const Queue* const q = queue(index);
  if (q != nullptr && q->broken()) needs_reset(fmt::format("queue {}: {}", index, q->fault()));
}

void Device::look_again(unsigned index) {
  // While a vCPU waits, no driver can refill a ring: it is the device's own stores that do, for ever.
  if (context_.synchronous) return needs_reset(fmt::format("queue {} fills itself", index));
  bells_.ring(index);
}

void Device::needs_reset(const std::string& why) {
  {
    std::scoped_lock lock(mutex_);
    if ((status_ & kNeedsReset) != 0) return;
    status_ |= kNeedsReset;
  }
  VELLUM_WARN_GUEST("{} stops until its driver resets it: {}", kind_.name, why);
  config_changed();
}

void Device::config_changed() {
  {
    std::scoped_lock lock(mutex_);
    ++generation_;
    if ((status_ & kDriverOk) == 0) return;
  }
  transport_->interrupt_config();
}

DeviceState Device::device_state() const {
  std::scoped_lock lock(mutex_);
  DeviceState state;
  state.status = status_;
  state.driver_features = driver_features_;
  state.generation = generation_;
  state.queues = registers_;
  for (std::size_t n = 0; n < queues_.size(); ++n)
    if (queues_[n]) state.queues[n] = queues_[n]->state();
  return state;
}

void Device::stats(std::vector<StatRow>& rows) const {
  if (notifications_.get() != 0) rows.push_back({kind_.name, "notifications", notifications_.get(), 0});
  if (interrupts_.get() != 0) rows.push_back({kind_.name, "interrupts for queues", interrupts_.get(), 0});
}

}  // namespace vellum::virtio
