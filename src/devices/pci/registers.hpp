// PCI configuration registers (PCI Local Bus Specification 3.0, ch. 6).
#pragma once

#include "base/int.hpp"

namespace vellum::pci {

inline constexpr unsigned kVendorId = 0x00, kDeviceId = 0x02, kCommand = 0x04, kStatus = 0x06,
                          kRevision = 0x08, kClassCode = 0x09, kHeaderType = 0x0e, kBar0 = 0x10,
                          kSubsystemVendorId = 0x2c, kSubsystemId = 0x2e, kRomBar = 0x30,
                          kCapabilities = 0x34, kInterruptLine = 0x3c, kInterruptPin = 0x3d;
inline constexpr unsigned kConfigSize = 256, kBars = 6;

// Command and status (§6.2.2, §6.2.3).
inline constexpr u16 kIoEnable = 1 << 0, kMemoryEnable = 1 << 1, kMasterEnable = 1 << 2,
                     kParityResponse = 1 << 6, kSerrEnable = 1 << 8, kInterruptDisable = 1 << 10;
inline constexpr u32 kRomEnable = 1;  ///< in the expansion ROM's address register
inline constexpr u16 kInterruptStatus = 1 << 3, kCapabilityList = 1 << 4, kDevselMedium = 1 << 9,
                     kErrorBits = 0xf900;  ///< write 1 to clear

// Capability ids.
inline constexpr u8 kCapVendor = 0x09, kCapMsix = 0x11;

/// What names a function to drivers.
struct Identity {
  u16 vendor = 0xffff, device = 0xffff;
  u8 revision = 0;
  u32 class_code = 0;  ///< base class, sub-class, programming interface: 24 bits
  u16 subsystem_vendor = 0, subsystem = 0;
  u8 interrupt_pin = 0;  ///< 1 to 4: INTA# to INTD#; 0: none
  bool multifunction = false;
};

/// Device and function number: bits 7..3 and 2..0.
constexpr u8 devfn(unsigned device, unsigned function) {
  return static_cast<u8>(device << 3 | function);
}

}  // namespace vellum::pci
