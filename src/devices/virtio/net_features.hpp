// Feature bits of virtio-net (virtio 1.2 §5.1.3).
#pragma once

#include "base/int.hpp"

namespace vellum::virtio::net_feature {

inline constexpr u64 kChecksum = 1 << 0, kGuestChecksum = 1 << 1, kGuestOffloads = 1 << 2, kMac = 1 << 5,
                     kGuestTso4 = 1 << 7, kGuestTso6 = 1 << 8, kGuestEcn = 1 << 9, kHostTso4 = 1 << 11,
                     kHostTso6 = 1 << 12, kHostEcn = 1 << 13, kMergeable = 1 << 15, kStatus = 1 << 16,
                     kControl = 1 << 17, kReceiveModes = 1 << 18, kMoreReceiveModes = 1 << 20,
                     kMultiQueue = 1 << 22, kSetMac = 1 << 23;
inline constexpr u64 kAllGuestOffloads = kGuestChecksum | kGuestTso4 | kGuestTso6 | kGuestEcn;

}  // namespace vellum::virtio::net_feature
