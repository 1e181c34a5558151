// Which frames the card takes (SDM §3.2.1, §10): exact addresses, the multicast table, modes, VLANs.
#pragma once

#include "devices/e1000/register_file.hpp"

namespace vellum::e1000 {

enum class Verdict : u8 {
  kRefused,
  kExact,   ///< it is certainly ours
  kInexact  ///< software has to look
};

/// `frame`: 14 bytes at least, not guest memory.
Verdict judge(const RegisterFile& registers, std::span<const u8> frame);

/// Whether it has a VLAN tag, by the card's idea of one; 18 bytes at least, then.
bool has_tag(const RegisterFile& registers, std::span<const u8> frame);

}  // namespace vellum::e1000
