#include "irq/msi.hpp"

#include "base/bits.hpp"

namespace vellum {

std::optional<ApicMessage> apic_message_of(const MsiMessage& message) {
  // Address (§11.11.1):  31    20 19       12 11   4  3   2  1 0
  //                     | 0xfee  | destination|      |RH |DM |   |
  if (bits(message.address, 63, 20) != 0xfee) return std::nullopt;
  ApicMessage out;
  out.destination = static_cast<u32>(bits(message.address, 19, 12));
  // The SDM has DM ignored without RH. Chipsets do not: Linux sends DM without RH in flat logical mode.
  out.logical = (message.address & bit(2)) != 0;
  out.vector = static_cast<u8>(message.data);
  out.mode = static_cast<DeliveryMode>(bits(message.data, 10, 8));
  out.level_triggered = (message.data & bit(15)) != 0;
  if (out.level_triggered && (message.data & bit(14)) == 0)
    return std::nullopt;  // a level's de-assertion delivers nothing
  return out;
}

}  // namespace vellum
