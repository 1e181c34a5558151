// The card's transceiver, an 88E1000 for copper (SDM §13.3 ff.; IEEE 802.3 clause 22). The other end of the
// cable is a switch that does everything; negotiating takes no time.
//
// No lock: the controller's guards it.
#pragma once

#include <array>

#include "base/int.hpp"

namespace vellum::e1000 {

class Phy {
 public:
  static constexpr unsigned kRegisters = 32, kAddress = 1;
  using State = std::array<u16, kRegisters>;

  /// `cable`: something is at its other end.
  explicit Phy(bool cable) : cable_(cable) { reset(); }

  void reset();
  bool link() const { return cable_ && (s_[0] & kPowerDown) == 0; }
  /// What is sent comes back.
  bool loopback() const { return (s_[0] & kLoopback) != 0; }

  /// GUEST-CONTROLLED: both. `n` below kRegisters.
  u16 read(unsigned n);
  /// Whether the link has been negotiated anew.
  bool write(unsigned n, u16 value);

  const State& state() const { return s_; }
  /// Untrusted.
  void restore(const State& state);

 private:
  static constexpr u16 kPhyReset = 1 << 15, kLoopback = 1 << 14, kPowerDown = 1 << 11, kRestart = 1 << 9;

  const bool cable_;
  State s_{};
};

}  // namespace vellum::e1000
