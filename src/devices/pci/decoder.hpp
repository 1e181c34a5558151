// Where the functions' base address registers point: the part of an address space that the guest arranges.
//
// Threads: windows are added while the board is built; they move on any vCPU's thread at any time, and
// look-ups take no lock: they read the table under a sequence number and start again when it changed. A
// window's device lives as long as the table, so that an access that began before a move may end after it.
#pragma once

#include <array>
#include <atomic>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/stats.hpp"
#include "memory/bus.hpp"
#include "memory/doorbell.hpp"

namespace vellum::pci {

class Decoder final : public BusFallback, public StatSource {
 public:
  static constexpr unsigned kMaxWindows = 256;

  /// `limit`: addresses at and above it do not exist in this space.
  Decoder(std::string name, u64 limit) : name_(std::move(name)), limit_(limit) {}

  /// Returns the window's number; it answers nowhere yet.
  unsigned add(BusDevice& device, u64 size, std::string device_name);
  /// GUEST-CONTROLLED: `start`. The window answers at `start`, or nowhere. One that would end beyond the
  /// space answers nowhere. Where windows overlap, the one added first answers.
  void move(unsigned window, std::optional<u64> start);

  /// Doorbells that are added from now on are offered to `taker`, which outlives this. While the board is
  /// built.
  void offer_doorbells(DoorbellTaker& taker) { taker_ = &taker; }
  /// Writes of `size` bytes at `offset` in a window mean no more than `ring`, as the window's device does too
  /// when it sees one. It is where the window answers, and nowhere where another hides it.
  void add_doorbell(unsigned window, u64 offset, unsigned size, std::function<void()> ring);

  std::optional<u64> read(u64 address, unsigned size) override;
  bool write(u64 address, unsigned size, u64 value) override;
  void stats(std::vector<StatRow>& rows) const override;

 private:
  static constexpr u64 kNowhere = ~u64{0};
  struct Window {
    BusDevice* device = nullptr;
    u64 size = 0;
    std::atomic<u64> start{kNowhere};
    std::string name;
    SharedCounter reads, writes;
  };
  struct Hit {
    Window* window = nullptr;
    u64 offset = 0;
    bool straddles = false;
  };
  struct Bell {
    unsigned window = 0;
    u64 offset = 0;
    unsigned size = 0;
    unsigned number = 0;  ///< the taker's
    std::optional<DoorbellPlace> place;
  };
  void move_doorbells();
  std::optional<DoorbellPlace> place_of(const Bell& bell);
  Hit find(u64 address, unsigned size);
  Hit search(u64 address, unsigned size);

  const std::string name_;
  const u64 limit_;
  std::mutex mutex_;              // of move() and the doorbells; before the taker's
  std::atomic<u32> sequence_{0};  // odd while a move is under way
  std::atomic<unsigned> count_{0};
  std::array<Window, kMaxWindows> windows_;
  DoorbellTaker* taker_ = nullptr;
  std::vector<Bell> bells_;
};

}  // namespace vellum::pci
