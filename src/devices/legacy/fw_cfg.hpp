// QEMU's firmware configuration device (QEMU docs/specs/fw_cfg): by which SeaBIOS and OVMF ask what machine
// they are on. Named files and numbered items, all read-only.
//
// Offsets on the bus:   0   selector, 16 bits, write only         (port 0x510)
//                       1   data, a byte after another            (port 0x511)
//                       4   address of a DMA request, big-endian: (ports 0x514 to 0x51b)
//                           written from the high to the low half, which starts it; reads as "QEMU CFG"
//
// Threads: any vCPU. The lock is held while guest memory is read and written.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "base/snapshot.hpp"
#include "memory/address_space.hpp"

namespace vellum {

/// What firmware can ask for.
class FwCfgItems {
 public:
  enum Key : u16 {
    kSignature = 0x00,
    kId = 0x01,
    kRamSize = 0x03,
    kNoGraphic = 0x04,
    kCpuCount = 0x05,
    kBootMenu = 0x0e,
    kMostCpus = 0x0f,
    kDirectory = 0x19,
    kFirstFile = 0x20,
    kIrq0Override = 0x8002,
  };
  static constexpr unsigned kMaxFiles = 0x3fe0, kMaxName = 55;

  FwCfgItems();
  void add(u16 key, std::vector<u8> bytes) { items_[key] = std::move(bytes); }
  template <class T>
  void add_number(u16 key, T value) {
    add(key, little_endian(value));
  }
  /// `name`: at most kMaxName characters, not used before.
  void add_file(std::string name, std::vector<u8> bytes);
  template <class T>
  void add_file_number(std::string name, T value) {
    add_file(std::move(name), little_endian(value));
  }

  /// Brings a file that tells what firmware may have changed up to date, before each access to it. It only
  /// depends on what devices save, so that a restored machine goes on with the same bytes; the size stays. It
  /// runs with the device's lock held.
  using Refresh = std::function<void(std::vector<u8>& bytes)>;
  void set_refresh(const std::string& name, Refresh refresh);

  /// As find(), brought up to date.
  const std::vector<u8>* fresh(u16 key);
  /// GUEST-CONTROLLED: `key`. nullptr: there is no such item.
  const std::vector<u8>* find(u16 key) const;
  /// The file's number; there must be such a file.
  u16 key_of(const std::string& name) const { return files_.at(name); }
  const std::vector<u8>* find_file(const std::string& name) const;

 private:
  template <class T>
  static std::vector<u8> little_endian(T value) {
    std::vector<u8> bytes;
    for (unsigned i = 0; i < sizeof(T); ++i) bytes.push_back(static_cast<u8>(value >> (8 * i)));
    return bytes;
  }
  void write_directory();

  std::map<u16, std::vector<u8>> items_;
  std::map<u16, Refresh> refresh_;
  std::map<std::string, u16> files_;  // sorted by name, as firmware may rely on
};

class FwCfg final : public BusDevice, public Snapshottable {
 public:
  static constexpr u64 kPort = 0x510, kPortCount = 12;
  struct State {
    static constexpr std::string_view kKind = "fw-cfg";
    static constexpr u32 kVersion = 1;
    u16 key = 0;
    u32 offset = 0;    ///< within the item; may be past its end
    u32 dma_high = 0;  ///< the upper half of the next DMA request's address
    State() {}
    template <class V>
    void visit(V& v) {
      v(key), v(offset), v(dma_high);
    }
  };

  /// `space` outlives this.
  FwCfg(AddressSpace& space, FwCfgItems items, const State& state = State())
      : space_(space), items_(std::move(items)), state_(state) {}

  u64 read(u64 offset, unsigned size) override;
  void write(u64 offset, unsigned size, u64 value) override;
  SavedState save() const override;

 private:
  // All with mutex_ held.
  void select(u16 key);
  u8 next_byte();
  void run_dma(GuestPhys request);
  bool transfer(u32 control, u32 length, GuestPhys to);

  AddressSpace& space_;
  mutable std::mutex mutex_;
  FwCfgItems items_;
  State state_;
};

}  // namespace vellum
