// Message-signalled interrupts on their way to the local APICs.
#pragma once

#include <memory>
#include <optional>

#include "irq/apic_message.hpp"
#include "irq/line.hpp"

namespace vellum {

/// What an MSI means (SDM vol. 3A §11.11); nothing: it is none, or has nothing to deliver.
/// GUEST-CONTROLLED: address and data.
std::optional<ApicMessage> apic_message_of(const MsiMessage& message);

/// A device sends the same message again and again from each of its vectors. A port of a vector's own lets
/// whoever carries messages keep what it worked out for the last one.
class MsiPorts {
 public:
  virtual ~MsiPorts() = default;
  /// One caller at a time. This outlives the port; while the board is built.
  virtual std::unique_ptr<MsiSink> add_port() = 0;
};

}  // namespace vellum
