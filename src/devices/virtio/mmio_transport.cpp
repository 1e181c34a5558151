#include "devices/virtio/mmio_transport.hpp"

#include <algorithm>

#include "base/log.hpp"

namespace vellum::virtio {
namespace {

// Offsets (§4.2.2).
constexpr u64 kMagicValue = 0x000, kVersion = 0x004, kDeviceId = 0x008, kVendorId = 0x00c,
              kDeviceFeatures = 0x010, kDeviceFeaturesSelect = 0x014, kDriverFeatures = 0x020,
              kDriverFeaturesSelect = 0x024, kQueueSelect = 0x030, kQueueSizeMax = 0x034, kQueueSize = 0x038,
              kQueueReady = 0x044, kInterruptStatus = 0x060, kInterruptAck = 0x064, kStatus = 0x070,
              kQueueDescriptors = 0x080, kQueueDriver = 0x090, kQueueDevice = 0x0a0,
              kSharedMemoryLength = 0x0b0, kSharedMemoryBase = 0x0b8, kGeneration = 0x0fc, kConfig = 0x100;

constexpr u32 kMagic = 0x7472'6976;   // "virt"
constexpr u32 kVendor = 0x4d4c'4c56;  // "VLLM"

}  // namespace

MmioTransport::MmioTransport(GuestRam& ram, InterruptLine& line, Device& device, const State& state)
    : ram_(ram),
      line_(line),
      device_(device),
      registers_(state),
      interrupts_(state.interrupts & (kUsedBuffer | kConfigChange)) {
  line_.set(interrupts_ != 0);
  device_.connect(*this);
}

u32 MmioTransport::read_register(u64 offset) {
  u32 device_select, queue_select;
  {
    std::scoped_lock lock(registers_mutex_);
    device_select = registers_.device_select;
    queue_select = registers_.queue_select;
  }
  switch (offset) {
    case kMagicValue:
      return kMagic;
    case kVersion:
      return 2;
    case kDeviceId:
      return device_.kind().type;
    case kVendorId:
      return kVendor;
    case kDeviceFeatures:
      return word_of(device_.features(), device_select);
    case kQueueSizeMax:
      return device_.max_queue_size(queue_select);
    case kQueueReady:
      return device_.queue_registers(queue_select).ready ? 1 : 0;
    case kInterruptStatus: {
      std::scoped_lock lock(interrupts_mutex_);
      return interrupts_;
    }
    case kStatus:
      return device_.status();
    case kSharedMemoryLength:
    case kSharedMemoryLength + 4:
    case kSharedMemoryBase:
    case kSharedMemoryBase + 4:
      return ~u32{0};  // no region has this number
    case kGeneration:
      return device_.generation();
    default:
      return 0;  // write-only, or nothing
  }
}

void MmioTransport::write_register(u64 offset, u32 value) {
  u32 driver_select, queue_select;
  {
    std::scoped_lock lock(registers_mutex_);
    driver_select = registers_.driver_select;
    queue_select = registers_.queue_select;
    switch (offset) {
      case kDeviceFeaturesSelect:
        registers_.device_select = value;
        return;
      case kDriverFeaturesSelect:
        registers_.driver_select = value;
        return;
      case kQueueSelect:
        registers_.queue_select = value;
        return;
      default:
        break;
    }
  }
  switch (offset) {
    case kDriverFeatures:
      return device_.set_driver_feature_word(driver_select, value);
    case kQueueSize:
      return device_.set_queue_size(queue_select, value);
    case kQueueReady:
      if (value == 0) return device_.disable_queue(queue_select);
      if (value == 1) device_.enable_queue(queue_select);
      return;
    case kQueueNotify:
      return device_.notify(value);
    case kInterruptAck:
      return acknowledge(static_cast<u8>(value));
    case kStatus:
      return set_status(static_cast<u8>(value));
    case kQueueDescriptors:
    case kQueueDescriptors + 4:
      return device_.set_queue_area(queue_select, &QueueState::descriptors, (offset & 4) != 0, value);
    case kQueueDriver:
    case kQueueDriver + 4:
      return device_.set_queue_area(queue_select, &QueueState::driver, (offset & 4) != 0, value);
    case kQueueDevice:
    case kQueueDevice + 4:
      return device_.set_queue_area(queue_select, &QueueState::device, (offset & 4) != 0, value);
    default:
      return;
  }
}

void MmioTransport::set_status(u8 value) {
  device_.set_status(value);
  if (value != 0) return;
  {
    std::scoped_lock lock(registers_mutex_);
    registers_ = State();
  }
  acknowledge(kUsedBuffer | kConfigChange);
}

u64 MmioTransport::read(u64 offset, unsigned size) {
  // §4.2.2.2: registers are read whole and aligned; what else there is reads 0.
  if (offset < kConfig) return size == 4 && offset % 4 == 0 ? read_register(offset) : 0;
  const u64 low = device_.read_config(offset - kConfig, std::min(size, 4u));
  return size == 8 ? low | u64{device_.read_config(offset - kConfig + 4, 4)} << 32 : low;
}

void MmioTransport::write(u64 offset, unsigned size, u64 value) {
  if (offset < kConfig) {
    if (size == 4 && offset % 4 == 0) return write_register(offset, static_cast<u32>(value));
    VELLUM_WARN_GUEST("{}: a write of {} bytes to register {:#x}", device_.kind().name, size, offset);
    return;
  }
  device_.write_config(offset - kConfig, std::min(size, 4u), static_cast<u32>(value));
  if (size == 8) device_.write_config(offset - kConfig + 4, 4, static_cast<u32>(value >> 32));
}

void MmioTransport::raise(u8 bit) {
  std::scoped_lock lock(interrupts_mutex_);
  interrupts_ |= bit;
  line_.set(true);
}

void MmioTransport::acknowledge(u8 bits) {
  std::scoped_lock lock(interrupts_mutex_);
  interrupts_ = static_cast<u8>(interrupts_ & ~bits);
  line_.set(interrupts_ != 0);
}

SavedState MmioTransport::save() const {
  State state;
  {
    std::scoped_lock lock(registers_mutex_);
    state = registers_;
  }
  std::scoped_lock lock(interrupts_mutex_);
  state.interrupts = interrupts_;
  return encode_state(state);
}

}  // namespace vellum::virtio
