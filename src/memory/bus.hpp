// The bus: which device answers at which address. A device sees (offset, size) and never its own address.
//
// One class serves both address spaces: memory-mapped I/O (guest-physical addresses) and ports (0 to 0xffff).
// Threads: the map is changed only while the vCPUs are stopped; look-ups take no lock. Devices guard
// themselves. Devices whose addresses the guest moves are behind a BusFallback.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/int.hpp"
#include "base/result.hpp"
#include "base/stats.hpp"

namespace vellum {

class BusDevice {
 public:
  virtual ~BusDevice() = default;
  /// A read of `size` bytes (1, 2, 4 or 8) at `offset` within the device's range. Called from any vCPU
  /// thread. The value's upper bytes must be zero.
  virtual u64 read(u64 offset, unsigned size) = 0;
  /// GUEST-CONTROLLED: `value` has `size` bytes (1, 2, 4 or 8), its upper bytes zero.
  virtual void write(u64 offset, unsigned size, u64 value) = 0;
};

/// What answers where no device of the map does: a bus behind this one whose devices move (PCI). Sees
/// addresses, not offsets. Any thread.
class BusFallback {
 public:
  virtual ~BusFallback() = default;
  /// Sizes and values as BusDevice's. Nothing: nobody answers at `address`.
  virtual std::optional<u64> read(u64 address, unsigned size) = 0;
  /// False: nobody answers.
  virtual bool write(u64 address, unsigned size, u64 value) = 0;
};

class Bus : public StatSource {
 public:
  explicit Bus(std::string name) : name_(std::move(name)) {}

  /// Maps `device` at [start, start + size). `device` must outlive the bus. Fails (our configuration's bug or
  /// a user's conflicting options) if the range overlaps another.
  Result<> add(u64 start, u64 size, BusDevice& device, std::string device_name);

  /// `fallback` outlives the bus.
  void set_fallback(BusFallback& fallback) { fallback_ = &fallback; }

  /// An access nothing answers reads all ones and drops writes, as on a PC; it is counted. An access that
  /// straddles two ranges is split into bytes.
  u64 read(u64 address, unsigned size);
  void write(u64 address, unsigned size, u64 value);

  void stats(std::vector<StatRow>& rows) const override;

 private:
  struct Range {
    u64 start, size;
    BusDevice* device;
    std::string name;
    std::unique_ptr<SharedCounter> reads, writes;
  };
  Range* find(u64 address, unsigned size, bool& straddles);

  std::string name_;
  std::vector<Range> ranges_;  // ascending, disjoint
  BusFallback* fallback_ = nullptr;
  SharedCounter unclaimed_;
};

}  // namespace vellum
