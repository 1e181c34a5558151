// The ACPI description of virtio devices over MMIO (virtio 1.2 §4.2.1 leaves that to the platform): a device
// each with _HID LNRO0005, the id that Linux's virtio_mmio takes, its registers and its interrupt.
#pragma once

#include <vector>

#include "base/int.hpp"

namespace vellum {

/// AML for the body of a definition block: \_SB.VR00, VR01 and so on, `count` of them, at most
/// layout::kVirtioMmioSlots. They lie where layout::virtio_mmio_*() say.
std::vector<u8> build_virtio_mmio_aml(unsigned count);

}  // namespace vellum
