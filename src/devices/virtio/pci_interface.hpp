// Which drivers a virtio device over PCI shows itself to (virtio 1.2 §1.3.1, §4.1.2.1).
#pragma once

#include "base/int.hpp"

namespace vellum::virtio {

enum class PciInterface : u8 {
  kModern,        ///< those of virtio 1.0 and later
  kTransitional,  ///< those of before, too
  kLegacy         ///< only those
};

/// The PCI device id of a type's transitional devices; 0: there are none, only modern ones.
u16 transitional_id(u16 type);

}  // namespace vellum::virtio
