#include "devices/virtio/pci_transport.hpp"

namespace vellum::virtio {
namespace {

constexpr u64 kCommon = 0x0000, kIsr = 0x1000, kConfig = 0x2000, kNotify = 0x3000, kBarSize = 0x4000;
constexpr u32 kNotifyMultiplier = 4;
constexpr unsigned kLegacyBar = 0, kMsixBar = 1, kRegistersBar = 4;
constexpr u64 kLegacyPorts = 128;

// §4.1.4: cfg_type.
constexpr u8 kCommonType = 1, kNotifyType = 2, kIsrType = 3, kDeviceType = 4, kPciType = 5;

// Offsets in the common configuration (§4.1.4.3).
constexpr u64 kDeviceFeatureSelect = 0x00, kDeviceFeature = 0x04, kDriverFeatureSelect = 0x08,
              kDriverFeature = 0x0c, kConfigVector = 0x10, kNumQueues = 0x12, kStatus = 0x14,
              kGeneration = 0x15, kQueueSelect = 0x16, kQueueSize = 0x18, kQueueVector = 0x1a,
              kQueueEnable = 0x1c, kQueueNotifyOffset = 0x1e, kQueueDescriptors = 0x20, kQueueDriver = 0x28,
              kQueueDevice = 0x30;

// What a type without transitional devices makes of `wanted`.
PciInterface interface_of(const DeviceKind& kind, PciInterface wanted) {
  return transitional_id(kind.type) != 0 ? wanted : PciInterface::kModern;
}

// §4.1.2.1: drivers from before 1.0 go by the subsystem and revision 0.
pci::Identity identity(const DeviceKind& kind, PciInterface interface) {
  const bool modern = interface == PciInterface::kModern;
  pci::Identity id;
  id.vendor = 0x1af4;
  id.device = modern ? static_cast<u16>(0x1040 + kind.type) : transitional_id(kind.type);
  id.revision = modern ? 1 : 0;
  id.class_code = kind.class_code;
  id.subsystem_vendor = 0x1af4;
  id.subsystem = modern ? u16{0x1100} : kind.type;
  id.interrupt_pin = 1;
  return id;
}

// struct virtio_pci_cap behind its id and next pointer.
std::vector<u8> capability(u8 type, u32 offset, u32 length, bool has_extra = false, u32 extra = 0) {
  const u8 size = has_extra ? 20 : 16;
  std::vector<u8> body{size, type, kRegistersBar, 0, 0, 0};
  const auto put = [&body](u32 value) {
    for (unsigned i = 0; i < 4; ++i) body.push_back(static_cast<u8>(value >> (8 * i)));
  };
  put(offset);
  put(length);
  if (has_extra) put(extra);
  return body;
}

}  // namespace

u16 transitional_id(u16 type) {
  constexpr std::pair<u16, u16> kIds[] = {{1, 0x1000}, {2, 0x1001}, {5, 0x1002},
                                          {3, 0x1003}, {8, 0x1004}, {4, 0x1005}};
  for (const auto& [of, id] : kIds)
    if (of == type) return id;
  return 0;
}

PciTransport::PciTransport(pci::Bus& bus, Device& device, const State& state, PciInterface wanted)
    : Function(bus, device.kind().name, identity(device.kind(), interface_of(device.kind(), wanted))),
      device_(device),
      registers_(state),
      isr_(state.isr) {
  const unsigned queues = device.queue_count();
  const PciInterface interface = interface_of(device.kind(), wanted);
  if (interface != PciInterface::kModern)
    add_bar(kLegacyBar, {pci::BarKind::kIo, kLegacyPorts}, legacy_ports_);
  add_msix(kMsixBar, queues + 1, state.pci.msix);
  if (interface != PciInterface::kLegacy) add_registers();
  if (registers_.queue_vectors.size() != queues) registers_.queue_vectors.assign(queues, kNoVector);
  restore(state.pci);
  device_.connect(*this);
}

void PciTransport::add_registers() {
  const unsigned queues = device_.queue_count();
  add_bar(kRegistersBar, {pci::BarKind::kMemory64Prefetchable, kBarSize}, *this);
  // §4.1.5.2: without VIRTIO_F_NOTIFICATION_DATA a notification is the queue's number in 16 bits.
  for (unsigned queue = 0; queue < queues; ++queue)
    add_doorbell(kRegistersBar, kNotify + u64{queue} * kNotifyMultiplier, 2,
                 [this, queue] { device_.notify(queue); });
  add_capability(pci::kCapVendor, capability(kCommonType, kCommon, 0x1000));
  add_capability(pci::kCapVendor, capability(kIsrType, kIsr, 0x1000));
  add_capability(pci::kCapVendor, capability(kDeviceType, kConfig, 0x1000));
  add_capability(pci::kCapVendor, capability(kNotifyType, kNotify, 0x1000, true, kNotifyMultiplier));
  // The window: BAR, offset and length are the driver's to write, then the data.
  window_capability_ = add_capability(pci::kCapVendor, capability(kPciType, 0, 0, true));
  config().define(window_capability_ + 4, 1, 0, 0xff);
  config().define(window_capability_ + 8, 4, 0, 0xffffffff);
  config().define(window_capability_ + 12, 4, 0, 0xffffffff);
  config().define(window_capability_ + 16, 4, 0, 0xffffffff);
}

void PciTransport::reset_registers() {
  {
    std::scoped_lock lock(registers_mutex_);
    registers_.device_select = registers_.driver_select = 0;
    registers_.queue_select = 0;
    registers_.early = false;
    registers_.config_vector = kNoVector;
    registers_.queue_vectors.assign(registers_.queue_vectors.size(), kNoVector);
  }
  read_isr();
}

u16 PciTransport::checked_vector(u32 value) {
  return value < msix()->vectors() ? static_cast<u16>(value) : kNoVector;
}

u32 PciTransport::read_common(u64 offset) {
  State r;
  {
    std::scoped_lock lock(registers_mutex_);
    r.device_select = registers_.device_select;
    r.driver_select = registers_.driver_select;
    r.queue_select = registers_.queue_select;
    r.config_vector = registers_.config_vector;
    if (r.queue_select < registers_.queue_vectors.size())
      r.queue_vectors = {registers_.queue_vectors[r.queue_select]};
  }
  const QueueState queue = device_.queue_registers(r.queue_select);
  switch (offset) {
    case kDeviceFeatureSelect:
      return r.device_select;
    case kDeviceFeature:
      return word_of(device_.features(), r.device_select);
    case kDriverFeatureSelect:
      return r.driver_select;
    case kDriverFeature:
      return word_of(device_.driver_features(), r.driver_select);
    case kConfigVector:
      return r.config_vector;
    case kNumQueues:
      return device_.queue_count();
    case kStatus:
      return device_.status();
    case kGeneration:
      return device_.generation();
    case kQueueSelect:
      return r.queue_select;
    case kQueueSize:
      return queue.size;
    case kQueueVector:
      return r.queue_vectors.empty() ? kNoVector : r.queue_vectors[0];
    case kQueueEnable:
      return queue.ready ? 1 : 0;
    case kQueueNotifyOffset:
      return r.queue_select;
    case kQueueDescriptors:
      return static_cast<u32>(queue.descriptors);
    case kQueueDescriptors + 4:
      return static_cast<u32>(queue.descriptors >> 32);
    case kQueueDriver:
      return static_cast<u32>(queue.driver);
    case kQueueDriver + 4:
      return static_cast<u32>(queue.driver >> 32);
    case kQueueDevice:
      return static_cast<u32>(queue.device);
    case kQueueDevice + 4:
      return static_cast<u32>(queue.device >> 32);
    default:
      return 0;
  }
}

void PciTransport::write_common(u64 offset, unsigned size, u32 value) {
  u16 selected;
  u32 driver_select;
  {
    std::scoped_lock lock(registers_mutex_);
    selected = registers_.queue_select;
    driver_select = registers_.driver_select;
    switch (offset) {
      case kDeviceFeatureSelect:
        registers_.device_select = value;
        return;
      case kDriverFeatureSelect:
        registers_.driver_select = value;
        return;
      case kQueueSelect:
        registers_.queue_select = static_cast<u16>(value);
        return;
      case kConfigVector:
        registers_.config_vector = checked_vector(value);
        return;
      case kQueueVector:
        if (selected < registers_.queue_vectors.size())
          registers_.queue_vectors[selected] = checked_vector(value);
        return;
      default:
        break;
    }
  }
  switch (offset) {
    case kDriverFeature:
      return device_.set_driver_feature_word(driver_select, value);
    case kStatus:
      device_.set_status(static_cast<u8>(value));
      if (static_cast<u8>(value) == 0) reset_registers();
      return;
    case kQueueSize:
      return device_.set_queue_size(selected, value);
    case kQueueEnable:
      // §4.1.4.3.2: the driver never writes 0.
      if (value == 1) device_.enable_queue(selected);
      return;
    default:
      break;
  }
  if (size != 4 || offset < kQueueDescriptors || offset >= kQueueDevice + 8) return;
  const auto area = offset < kQueueDriver   ? &QueueState::descriptors
                    : offset < kQueueDevice ? &QueueState::driver
                                            : &QueueState::device;
  device_.set_queue_area(selected, area, (offset & 4) != 0, value);
}

u64 PciTransport::read_isr() {
  std::scoped_lock lock(isr_mutex_);
  set_interrupt(false);
  return std::exchange(isr_, u8{0});
}

u64 PciTransport::read(u64 offset, unsigned size) {
  if (offset < kIsr) {
    // Fields are read whole by what drivers there are; a part of one is cut out of it.
    if (offset >= 0x38) return 0;
    if (size == 8) return read_common(offset) | u64{read_common(offset + 4)} << 32;
    return read_common(offset) & low_mask(8 * size);
  }
  if (offset < kConfig) return offset == kIsr ? read_isr() : 0;
  if (offset < kNotify) {
    const u64 low = device_.read_config(offset - kConfig, std::min(size, 4u));
    return size == 8 ? low | u64{device_.read_config(offset - kConfig + 4, 4)} << 32 : low;
  }
  return 0;
}

void PciTransport::write(u64 offset, unsigned size, u64 value) {
  if (offset >= kNotify) return device_.notify(static_cast<unsigned>((offset - kNotify) / kNotifyMultiplier));
  const auto low = static_cast<u32>(value), high = static_cast<u32>(value >> 32);
  const unsigned first = std::min(size, 4u);
  if (offset < kIsr) {
    write_common(offset, first, low);
    if (size == 8) write_common(offset + 4, 4, high);
  } else if (offset >= kConfig) {
    device_.write_config(offset - kConfig, first, low);
    if (size == 8) device_.write_config(offset - kConfig + 4, 4, high);
  }
}

// The data of the window is only looked at when it is accessed (§4.1.4.9).
void PciTransport::config_read(unsigned offset, unsigned size) {
  const unsigned data = window_capability_ + 16;
  if (window_capability_ == 0 || offset + size <= data || offset >= data + 4) return;
  const u32 at = config().get(window_capability_ + 8, 4), length = config().get(window_capability_ + 12, 4);
  const bool valid = config().get(window_capability_ + 4, 1) == kRegistersBar &&
                     (length == 1 || length == 2 || length == 4) && at % length == 0 && at < kBarSize;
  // Reading the ISR changes the interrupt pin, which needs the lock that is held: firmware has no use for it
  // here.
  if (!valid || (at >= kIsr && at < kConfig)) return;
  config().put(data, 4, read(at, length));
}

void PciTransport::after_config_write(unsigned offset, unsigned size) {
  const unsigned data = window_capability_ + 16;
  if (window_capability_ == 0 || offset + size <= data || offset >= data + 4) return;
  u32 at, length, value;
  bool valid;
  {
    std::scoped_lock lock(config_mutex_);
    at = config().get(window_capability_ + 8, 4);
    length = config().get(window_capability_ + 12, 4);
    value = config().get(data, 4);
    valid = config().get(window_capability_ + 4, 1) == kRegistersBar;
  }
  if (!valid || (length != 1 && length != 2 && length != 4) || at % length != 0 || at >= kBarSize) return;
  write(at, length, value & low_mask(8 * length));
}

void PciTransport::raise(u16 vector, u8 isr_bit) {
  if (msix()->enabled()) {
    if (vector != kNoVector) msix()->raise(vector);
    return;
  }
  std::scoped_lock lock(isr_mutex_);
  isr_ |= isr_bit;
  set_interrupt(true);
}

void PciTransport::interrupt_queue(unsigned queue) {
  u16 vector;
  {
    std::scoped_lock lock(registers_mutex_);
    vector = registers_.queue_vectors[queue];
  }
  raise(vector, 1);
}

void PciTransport::interrupt_config() {
  u16 vector;
  {
    std::scoped_lock lock(registers_mutex_);
    vector = registers_.config_vector;
  }
  raise(vector, 2);
}

SavedState PciTransport::save() const {
  State state;
  {
    std::scoped_lock lock(registers_mutex_);
    state = registers_;
  }
  {
    std::scoped_lock lock(isr_mutex_);
    state.isr = isr_;
  }
  state.pci = function_state();
  return encode_state(state);
}

}  // namespace vellum::virtio
