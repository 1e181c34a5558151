// The legacy interface of virtio over PCI (virtio 1.2 §4.1.4.10): BAR 0, ports.
//
//   0x00 features of the device   0x04 of the driver   0x08 the queue's page   0x0c its size   0x0e which
//   queue 0x10 notification             0x12 status          0x13 ISR                with MSI-X: 0x14, 0x16
//   vectors then the device's configuration
#include "devices/virtio/pci_transport.hpp"

namespace vellum::virtio {
namespace {

constexpr u64 kDeviceFeatures = 0x00, kDriverFeatures = 0x04, kQueuePage = 0x08, kQueueSize = 0x0c,
              kQueueSelect = 0x0e, kNotifyQueue = 0x10, kDeviceStatus = 0x12, kIsrStatus = 0x13,
              kVectors = 0x14, kConfigVector = 0x14, kQueueVector = 0x16, kVectorsEnd = 0x18;

struct Field {
  u64 offset;
  unsigned size;
};
constexpr Field kFields[] = {{kDeviceFeatures, 4}, {kDriverFeatures, 4}, {kQueuePage, 4},    {kQueueSize, 2},
                             {kQueueSelect, 2},    {kNotifyQueue, 2},    {kDeviceStatus, 1}, {kIsrStatus, 1},
                             {kConfigVector, 2},   {kQueueVector, 2}};

}  // namespace

u64 PciTransport::legacy_config() {
  return msix()->enabled() ? kVectorsEnd : kVectors;
}

u32 PciTransport::read_legacy_field(u64 offset) {
  u16 selected, vector = kNoVector, config_vector;
  bool early;
  {
    std::scoped_lock lock(registers_mutex_);
    selected = registers_.queue_select;
    config_vector = registers_.config_vector;
    early = registers_.early;
    if (selected < registers_.queue_vectors.size()) vector = registers_.queue_vectors[selected];
  }
  switch (offset) {
    case kDeviceFeatures:
      return device_.legacy_features();
    case kDriverFeatures:
      return static_cast<u32>(device_.driver_features());
    case kQueuePage: {
      const QueueState queue = device_.queue_registers(selected);
      return queue.ready ? static_cast<u32>(queue.descriptors >> kPageShift) : 0;
    }
    case kQueueSize:
      return device_.max_queue_size(selected);
    case kQueueSelect:
      return selected;
    case kDeviceStatus:
      return device_.status() & (early ? static_cast<u8>(~kDriverOk) : u8{0xff});
    case kIsrStatus:
      return static_cast<u32>(read_isr());
    case kConfigVector:
      return config_vector;
    case kQueueVector:
      return vector;
    default:
      return 0;
  }
}

void PciTransport::write_legacy_field(u64 offset, u32 value) {
  u16 selected;
  {
    std::scoped_lock lock(registers_mutex_);
    selected = registers_.queue_select;
    if (offset == kQueueSelect) registers_.queue_select = static_cast<u16>(value);
    if (offset == kConfigVector) registers_.config_vector = checked_vector(value);
    if (offset == kQueueVector && selected < registers_.queue_vectors.size())
      registers_.queue_vectors[selected] = checked_vector(value);
  }
  switch (offset) {
    case kDriverFeatures:
      return device_.set_legacy_features(value);
    case kQueuePage:
      return device_.set_legacy_queue(selected, value);
    case kNotifyQueue:
      return notify_legacy(static_cast<u16>(value));
    case kDeviceStatus:
      device_.set_legacy_status(static_cast<u8>(value));
      if (value == 0) reset_registers();
      if ((value & kDriverOk) != 0) set_early(false);
      return;
    default:
      return;
  }
}

// §3.1.2: drivers have used devices before they said that they are ready. The device starts then, and its
// status does not show it.
void PciTransport::notify_legacy(u16 queue) {
  if ((device_.status() & kDriverOk) == 0) {
    if (!device_.queue_registers(queue).ready) return;
    set_early(true);
    device_.set_legacy_status(kDriverOk);
  }
  device_.notify(queue);
}

void PciTransport::set_early(bool early) {
  std::scoped_lock lock(registers_mutex_);
  registers_.early = early;
}

u64 PciTransport::LegacyPorts::read(u64 offset, unsigned size) {
  const u64 config = transport_.legacy_config();
  if (offset >= config) return transport_.device_.read_config(offset - config, std::min(size, 4u));
  // A part of a field is cut out of it.
  for (const Field& field : kFields)
    if (offset >= field.offset && offset < field.offset + field.size)
      return transport_.read_legacy_field(field.offset) >> (8 * (offset - field.offset)) & low_mask(8 * size);
  return 0;
}

void PciTransport::LegacyPorts::write(u64 offset, unsigned size, u64 value) {
  const u64 config = transport_.legacy_config();
  if (offset >= config)
    return transport_.device_.write_config(offset - config, std::min(size, 4u), static_cast<u32>(value));
  for (const Field& field : kFields)
    if (offset == field.offset && size >= field.size)
      return transport_.write_legacy_field(offset, static_cast<u32>(value & low_mask(8 * field.size)));
}

}  // namespace vellum::virtio
